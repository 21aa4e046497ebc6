"use strict";
// The page talks to the same public API as any other client. What comes from the catalogue is only ever set as text.

const byId = (id) => document.getElementById(id);
const canDesign = document.body.dataset.canDesign === "yes";
const state = { users: [], user: null, category: null, asked: 0, design: null };

// Where the API tells a programmer what to call, the page tells what to press.
const TOLD = {
  "urn:recgan:problem:unknown-user": "There is no user of this id. Choose one from the list, or press Surprise me.",
};
const STEPS = { "scoring samples": "Trying first ideas", climbing: "Improving the best of them" };

class ProblemAnswer extends Error {
  constructor(problem, retryAfter) {
    super(TOLD[problem.type] ?? problem.detail);
    this.status = problem.status;
    this.retryAfter = retryAfter;
  }
}

async function api(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { headers: { "Content-Type": "application/json" }, ...options });
  } catch {
    throw new Error("The service does not answer. Is it still running?");
  }
  const body = await answer.json();
  if (!answer.ok) throw new ProblemAnswer(body, Number(answer.headers.get("Retry-After")));
  return body;
}

function notice(error) {
  const line = byId("notice");
  line.hidden = !error;
  line.textContent = error ? error.message : "";
}

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function remember(values) {
  const url = new URL(location.href);
  for (const [name, value] of Object.entries(values)) url.searchParams.set(name, value);
  history.replaceState(null, "", url);
}

const local = (path) => path.replace(/^\//, ""); // relative, so that the page works under a proxy's prefix
const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

function picture(url, alt) {
  if (!url) return make("div", { className: "picture none", textContent: "no picture" });
  return make("img", { className: "picture", src: local(url), alt, loading: "lazy", decoding: "async" });
}

// ---- recommendations

async function recommend() {
  const asked = ++state.asked; // an answer that a later question has overtaken is dropped
  const grid = byId("recommended");
  grid.setAttribute("aria-busy", "true");
  const query = new URLSearchParams({ k: "12" });
  if (state.category) query.set("category", state.category);
  try {
    const answer = await api(`v1/users/${encodeURIComponent(state.user)}/recommendations?${query}`);
    if (asked !== state.asked) return;
    notice(null);
    byId("design-for").textContent = state.user;
    grid.replaceChildren(
      ...answer.items.map((item, place) =>
        make("li", {},
          make("figure", {},
            picture(item.image_url, `${item.category}, item ${item.item_id}, number ${place + 1}`),
            make("figcaption", {}, make("strong", { textContent: item.category }), ` ${item.item_id}`)))));
    if (!answer.items.length) grid.append(make("li", { className: "empty", textContent: "Nothing is left to recommend here." }));
  } catch (error) {
    if (asked !== state.asked) return;
    grid.replaceChildren();
    notice(error);
  } finally {
    if (asked === state.asked) grid.setAttribute("aria-busy", "false");
  }
}

function choose(user) {
  state.user = user;
  byId("user").value = user;
  remember({ user });
  recommend();
}

function chip(label, category) {
  const button = make("button", { type: "button", textContent: label });
  button.setAttribute("aria-pressed", String(state.category === category));
  button.addEventListener("click", () => {
    state.category = category;
    for (const other of byId("chips").children) other.setAttribute("aria-pressed", String(other === button));
    if (category && canDesign && [...byId("category").options].some((option) => option.value === category)) {
      byId("category").value = category;
    }
    if (state.user) recommend();
  });
  return button;
}

// ---- designs

function near(item) {
  return make("li", {},
    make("figure", {},
      picture(item.image_url, `Real item ${item.item_id}, at distance ${item.distance.toFixed(2)}`),
      make("figcaption", { textContent: item.distance.toFixed(2), title: item.item_id })));
}

function designCard(design, whose) {
  const share = Math.floor(design.percentile * 10) / 10;
  return make("li", {},
    make("figure", {},
      picture(design.image_url, `Design ${design.index + 1}, ${design.category}: it does not exist yet`),
      make("figcaption", { textContent: `seed ${design.seed}` })),
    make("p", {}, make("span", { className: "big", textContent: `${share}%` }),
      `of the real items in “${design.category}” score lower for ${whose}`),
    make("div", { className: "beside" },
      make("p", { textContent: "The real items that look most like it (0: the same look; 1: nothing in common)" }),
      make("ul", { className: "near" }, ...design.nearest.map(near))));
}

function showProgress(design) {
  const bar = byId("progress");
  bar.hidden = false;
  const { progress } = design;
  if (design.state === "queued" || !progress || !progress.total) bar.removeAttribute("value");
  else bar.value = progress.done / progress.total;
  if (design.state === "queued") byId("step").textContent = design.ahead ? `Waiting: ${design.ahead} before it` : "Waiting";
  else if (design.cancel_requested) byId("step").textContent = "Stopping";
  else byId("step").textContent = progress ? STEPS[progress.step] ?? progress.step : "Starting";
}

async function follow(design) {
  state.design = design;
  byId("make").disabled = true;
  byId("working").hidden = false;
  byId("cancel").hidden = false;
  byId("designs").replaceChildren();
  remember({ design: design.id }); // so that a reload loses nothing
  try {
    while (design.state === "queued" || design.state === "running") {
      showProgress(design);
      await wait(400);
      design = await api(local(design.url));
    }
    showDesigns(design);
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
  if (design.state === "failed") throw new Error(`The design failed: ${design.problem.detail}`);
  const whose = design.request.user_id ?? "somebody who likes " + design.request.liked.join(", ");
  byId("designs").replaceChildren(...design.results.map((one) => designCard(one, whose)));
  const count = design.results.length === 1 ? "1 design" : `${design.results.length} designs`;
  byId("step").textContent = design.state === "cancelled" ? "Cancelled" : `${count} for ${whose}`;
  byId("progress").hidden = true;
}

async function designForUser() {
  notice(null);
  const wanted = { user_id: state.user, category: byId("category").value, n: Number(byId("count").value) };
  if (byId("seed").value !== "") wanted.seed = Number(byId("seed").value);
  byId("make").disabled = true;
  try {
    await follow(await api("v1/designs", { method: "POST", body: JSON.stringify(wanted) }));
  } catch (error) {
    notice(error);
  } finally {
    byId("make").disabled = false;
  }
}

async function cancelDesign() {
  if (!state.design) return;
  byId("step").textContent = "Stopping";
  try {
    await api(`${local(state.design.url)}/cancel`, { method: "POST" });
  } catch (error) {
    if (error.status !== 409) notice(error); // 409: it has just finished
  }
}

// ---- the start

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

async function start() {
  const { categories, model } = await ready();
  notice(null);
  const full = categories.filter((category) => category.items > 0);
  byId("category").replaceChildren(
    ...categories.filter((category) => category.designable).map(({ name }) => make("option", { value: name, textContent: name })));
  byId("chips").replaceChildren(chip("all", null), ...full.slice(0, 30).map(({ name }) => chip(name, name)));
  const digests = Object.entries(model).filter(([, digest]) => digest);
  byId("version").textContent = "Versions: " + digests.map(([part, digest]) => `${part} ${digest.slice(0, 12)}`).join(" · ");

  state.users = (await api("v1/users?limit=200")).users;
  byId("users").replaceChildren(...state.users.map((user) => make("option", { value: user })));
  const asked = new URLSearchParams(location.search);
  const user = asked.get("user") || state.users[0];
  if (user) choose(user);
  else notice(new Error("The recommender knows no users yet: train it on a catalogue with interactions."));
  if (asked.get("design") && canDesign) {
    const earlier = await api(`v1/designs/${encodeURIComponent(asked.get("design"))}`).catch(() => null); // kept no longer
    if (earlier) await follow(earlier);
  }
}

byId("who").addEventListener("submit", (event) => {
  event.preventDefault();
  choose(byId("user").value);
});
byId("another").addEventListener("click", () => {
  if (state.users.length) choose(state.users[Math.floor(Math.random() * state.users.length)]);
});
byId("design").addEventListener("submit", (event) => {
  event.preventDefault();
  if (state.user) designForUser();
});
byId("cancel").addEventListener("click", cancelDesign);
start().catch(notice);
