// The start: sign in if need be, wait until the service is ready, and show the page that the address names.
"use strict";

import { api, send, wait } from "./api.js";
import { byId, notice, trying } from "./dom.js";
import { showGaps } from "./gaps.js";
import { showHistory, showModels } from "./past.js";
import { startPeople } from "./people.js";
import { offerSliders } from "./sliders.js";
import { begin, designFor, offerCategories, startStudio } from "./studio.js";
import { startTailoring } from "./tailor.js";

const canDesign = document.body.dataset.canDesign === "yes";
const PAGES = {
  "#/history": ["page-history", showHistory],
  "#/gaps": ["page-gaps", () => showGaps(canDesign ? designFor : null)],
  "#/models": ["page-models", showModels],
};

async function ready() {
  for (;;) {
    try {
      return await api("v1/categories");
    } catch (error) {
      if (error.status !== 503) throw error;
      notice(error);
      await wait(1000 * (error.retryAfter || 2));
    }
  }
}

async function showPage() {
  const [shown, fill] = PAGES[location.hash] ?? ["page-shop", () => {}];
  for (const page of document.querySelectorAll(".page")) page.hidden = page.id !== shown;
  for (const link of document.querySelectorAll("nav a")) {
    if (`page-${link.dataset.page}` === shown) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  await fill();
}

async function offerEdits(categories) {
  const { sliders, inverter } = await api("v1/editing");
  offerSliders(sliders);
  if (inverter) startTailoring(categories, begin);
}

async function start() {
  const { categories, model } = await ready();
  notice(null);
  byId("sign-in").hidden = true;
  const digests = Object.entries(model).filter(([, digest]) => digest);
  byId("version").textContent = "Versions: " + digests.map(([part, digest]) => `${part} ${digest.slice(0, 12)}`).join(" · ");
  await showPage();
  if (canDesign) {
    offerCategories(categories);
    await offerEdits(categories);
  }
  await startPeople(categories);
  if (canDesign) await startStudio();
}

byId("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  trying(async () => {
    await send("sign-in", { key: byId("key").value });
    byId("key").value = "";
    byId("sign-out").hidden = false;
    await start();
  })();
});
byId("sign-out").addEventListener("click", trying(async () => {
  await send("sign-out", {});
  location.reload();
}));
// By itself the link would change the address, and with it the page that is shown.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("main").focus();
});
addEventListener("hashchange", trying(showPage));
start().catch(notice);
