// Designs: asked for, followed while they are made, shown and judged.
"use strict";

import { api, download, local, ProblemAnswer, send, wait } from "./api.js";
import { button, byId, make, notice, picture, remember, trying } from "./dom.js";
import { editable, editButtons, origins } from "./edits.js";
import { isSomebody, someone } from "./people.js";
import { keepSliders, showMoved } from "./sliders.js";
import { tailoredFacts } from "./tailor.js";

const STEPS = { "scoring samples": "Trying first ideas", climbing: "Improving the best of them", judging: "Looking at what lies on the way", descending: "Looking for it among what can be drawn" };
const MADE = {
  like: " like the one below", mix: " from the one below to the other", slide: " moved from the one below", tailor: " tailored from the one below",
};
const NEAR_COPY = 0.05; // closer than this, a design shows what is there already
const state = { design: null, stream: null };
export const whose = ({ user_id: user, liked, photos, users, cohort }) =>
  user ?? (cohort !== null ? `cohort ${cohort}` : users.length ? `${users.length} users` : photos.length ? "the one with the photos" : `somebody who likes ${liked.join(", ")}`);

// A mix is no matter of chance: what counts is how far a design lies on the way.
const told = ({ seed, settings: { edit } }) => (edit?.verb === "mix" ? `${Math.round(100 * edit.share)}% of the way` : `seed ${seed}`);

function near(item) {
  return make("li", {},
    make("figure", {},
      picture(item.image_url, `Real item ${item.item_id}, at distance ${item.distance.toFixed(2)}`),
      make("figcaption", { textContent: item.distance.toFixed(2), title: item.item_id })));
}

function card(design, one) {
  const share = Math.floor(one.percentile * 10) / 10;
  const copied = one.nearest.find((item) => item.distance < NEAR_COPY);
  const say = (said) => trying(async () => showDesigns(await send(`${local(design.url)}/${one.index}`, said, "PATCH")));
  const decide = (verdict) => say({ verdict: one.verdict === verdict ? "undecided" : verdict });
  return make("li", {},
    make("figure", {},
      picture(one.image_url, `Design ${one.index + 1}, ${one.category}: it does not exist yet`),
      make("figcaption", {}, `${told(one)} · `, make("a", { href: local(one.settings_url), textContent: "settings" }))),
    make("div", {},
      make("p", {}, make("span", { className: "big", textContent: `${share}%` }),
        `of the real items in “${one.category}” score lower for ${whose(design.request)}`),
      ...tailoredFacts(one),
      copied ? make("p", { className: "warn", textContent: `Nearly a copy of item ${copied.item_id}.` }) : null,
      make("div", { className: "acts" },
        button(one.starred ? "★ Starred" : "☆ Star", say({ starred: !one.starred }), { pressed: one.starred }),
        button("Approve", decide("approved"), { pressed: one.verdict === "approved" }),
        button("Reject", decide("rejected"), { pressed: one.verdict === "rejected" }),
        ...editButtons(design, one, begin)),
      editable(one) ? null : make("p", { textContent: "It lies between two categories, so nothing more can be made of it." })),
    make("div", { className: "beside" },
      make("p", { textContent: "The real items that look most like it (0: the same look; 1: nothing in common)" }),
      make("ul", { className: "near" }, ...one.nearest.slice(0, 5).map(near))));
}

function showProgress(design) {
  const bar = byId("progress");
  bar.hidden = false;
  const { progress } = design;
  if (design.state === "queued" || !progress || !progress.total) bar.removeAttribute("value");
  else bar.value = progress.done / progress.total;
  if (design.state === "queued") byId("step").textContent = design.ahead ? `Waiting: ${design.ahead} before it` : "Waiting";
  else if (design.cancel_requested) byId("step").textContent = "Stopping";
  else byId("step").textContent = progress ? `${STEPS[progress.step] ?? progress.step} (${progress.note || "…"})` : "Starting";
}

// A design while it is climbed.
function showGrowing({ index, png }) {
  let item = document.querySelector(`#designs > li[data-index="${index}"]`);
  if (!item) {
    item = make("li", {}, make("figure", {}, make("img", { className: "picture" })), make("p", { textContent: "It is still being improved." }));
    item.dataset.index = index;
    byId("designs").append(item);
  }
  const image = item.querySelector("img");
  image.src = `data:image/png;base64,${png}`;
  image.alt = `Design ${index + 1}, as it is now`;
}

// Resolves when the design has ended. Without a stream (a proxy may not let it through) it is asked for now and then.
async function ended(design) {
  const url = local(design.url);
  let wake = () => {};
  const stream = new EventSource(`${url}/events`);
  state.stream = stream;
  stream.addEventListener("progress", (event) => {
    design = { ...design, state: "running", progress: JSON.parse(event.data) };
    showProgress(design);
  });
  stream.addEventListener("picture", (event) => showGrowing(JSON.parse(event.data)));
  stream.addEventListener("state", () => wake());
  stream.addEventListener("error", () => wake());
  try {
    while (design.state === "queued" || design.state === "running") {
      showProgress(design);
      await Promise.race([wait(2000), new Promise((resolve) => { wake = resolve; })]);
      design = await api(url);
    }
  } finally {
    stream.close();
  }
  return design;
}

export async function follow(design) {
  state.design = design;
  keepSliders(design);
  byId("make").disabled = true;
  byId("working").hidden = false;
  byId("cancel").hidden = false;
  byId("after").hidden = true;
  byId("origins").replaceChildren();
  byId("designs").replaceChildren();
  remember({ design: design.id }); // so that a reload loses nothing
  try {
    showDesigns(await ended(design));
  } catch (error) {
    byId("working").hidden = true;
    notice(error);
  } finally {
    state.design = null;
    byId("make").disabled = false;
    byId("cancel").hidden = true;
  }
}

function showDesigns(design) {
  byId("progress").hidden = true;
  byId("working").hidden = false;
  byId("designs").replaceChildren(...design.results.map((one) => card(design, one)));
  showMoved(design);
  const count = design.results.length === 1 ? "1 design" : `${design.results.length} designs`;
  const ends = {
    succeeded: `${count}${MADE[design.request.edit?.kind] ?? ""} for ${whose(design.request)}`,
    failed: `It failed: ${design.problem?.detail}`,
    cancelled: "Cancelled",
    interrupted: "Interrupted: the worker was stopped",
  };
  byId("step").textContent = ends[design.state];
  byId("origins").replaceChildren(...origins(design, open));
  const after = byId("after");
  after.hidden = false;
  if (design.state === "succeeded") {
    const zip = () => download(`${local(design.url)}/all.zip`, `designs-${design.id}.zip`);
    after.replaceChildren(button("Download all, with their settings", trying(zip)));
    if (byId("lock").checked) byId("seed").value = design.request.seed;
  } else {
    after.replaceChildren(button("Try again", trying(async () => follow(await send(`${local(design.url)}/retry`, {})))));
  }
}

async function designForUser() {
  if (!isSomebody()) throw new Error("Choose a user first, or show photos.");
  const wanted = {
    ...someone(), category: byId("category").value, n: Number(byId("count").value), realism: Number(byId("realism").value),
  };
  await ask(wanted);
}

// Makes something of designs, items or photos: for whom `more` names, or else for whom the first design was made.
export async function begin(edit, { count = Number(byId("count").value), focus = true, ...more } = {}) {
  await ask({ ...more, edit, n: count }, focus ? toStudio : () => {});
}

// New designs of whom and of what `wanted` says, asked for on another page.
export async function designFor(wanted) {
  const realism = Number(byId("realism").value);
  await ask({ ...wanted, n: Number(byId("count").value), realism }, toStudio);
}

function toStudio() {
  const title = () => byId("design-title").focus();
  if (!byId("page-shop").hidden) return title();
  addEventListener("hashchange", title, { once: true }); // what is hidden takes no focus
  location.hash = "#/";
}

async function ask(wanted, taken = () => {}) {
  if (byId("make").disabled) throw new Error("Other designs are being made: wait for them, or cancel them.");
  if (byId("seed").value !== "") wanted.seed = Number(byId("seed").value);
  byId("make").disabled = true;
  try {
    const design = await send("v1/designs", wanted);
    taken();
    await follow(design);
  } finally {
    byId("make").disabled = false;
  }
}

async function cancelDesign() {
  if (!state.design) return;
  byId("step").textContent = "Stopping";
  try {
    await send(`${local(state.design.url)}/cancel`, {});
  } catch (error) {
    if (!(error instanceof ProblemAnswer && error.status === 409)) throw error; // 409: it has just finished
  }
}

export function offerCategories(categories) {
  byId("category").replaceChildren(
    ...categories.filter((category) => category.designable).map(({ name }) => make("option", { value: name, textContent: name })));
}

export async function startStudio() {
  const earlier = new URLSearchParams(location.search).get("design");
  if (earlier) await open(earlier);
}

export async function open(id) {
  const design = await api(`v1/designs/${encodeURIComponent(id)}`).catch(() => null); // kept no longer
  if (design) await follow(design);
  else remember({ design: null });
}

byId("design").addEventListener("submit", (event) => {
  event.preventDefault();
  trying(designForUser)();
});
byId("cancel").addEventListener("click", trying(cancelDesign));
byId("realism").addEventListener("input", () => { byId("realism-value").textContent = byId("realism").value; });
