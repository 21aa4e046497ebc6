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

export async function api(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { headers: { "Content-Type": "application/json" }, ...options });
  } catch {
    throw new Error("The service does not answer. Is it still running?");
  }
  if (answer.status === 204) return null;
  const body = await answer.json();
  if (!answer.ok) {
    if (answer.status === 401) byId("sign-in").hidden = false;
    throw new ProblemAnswer(body, Number(answer.headers.get("Retry-After")));
  }
  return body;
}

export const send = (path, body, method = "POST") => api(path, { method, body: JSON.stringify(body) });
export const local = (path) => path.replace(/^\//, ""); // relative, so that the page works under a proxy's prefix
export const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
