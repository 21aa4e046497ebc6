// The page talks to the same public API as any other client.
"use strict";

import { byId } from "./dom.js";

// Where the API tells a programmer what to call, the page tells what to press.
const TOLD = {
  "urn:recgan:problem:unknown-user": "There is no user of this id. Choose one from the list, or press Surprise me.",
  "urn:recgan:problem:no-key": "This service asks for an API key. Its operator has one for you.",
  "urn:recgan:problem:no-eye": "This recommender does not look at pictures, so photos tell it nothing.",
};

export class ProblemAnswer extends Error {
  constructor(problem, retryAfter) {
    super(TOLD[problem.type] ?? problem.detail);
    this.status = problem.status;
    this.retryAfter = retryAfter;
  }
}

async function asked(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The service does not answer. Is it still running?");
  }
  if (answer.ok) return answer;
  if (answer.status === 401) byId("sign-in").hidden = false;
  throw new ProblemAnswer(await answer.json(), Number(answer.headers.get("Retry-After")));
}

export async function api(path, options = {}) {
  const answer = await asked(path, { headers: { "Content-Type": "application/json" }, ...options });
  return answer.status === 204 ? null : answer.json();
}

// Saves a file of the API; what refuses it is told, where a plain link would leave the page for it.
export async function download(path, name) {
  const url = URL.createObjectURL(await (await asked(path)).blob());
  Object.assign(document.createElement("a"), { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}

export const send = (path, body, method = "POST") => api(path, { method, body: JSON.stringify(body) });
export const local = (path) => path.replace(/^\//, ""); // relative, so that the page works under a proxy's prefix
export const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
