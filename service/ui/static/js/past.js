// Designs so far, and the models that serve.
"use strict";

import { api, local, send } from "./api.js";
import { button, byId, make, picture, trying } from "./dom.js";
import { editable, mixButton } from "./edits.js";
import { plots } from "./plots.js";
import { begin, open, whose } from "./studio.js";

const MADE = { like: "More of ", mix: "A mix of ", slide: "Moved: ", tailor: "Tailored: " };
const state = { cursor: null };

export async function showHistory(more = false) {
  const query = new URLSearchParams({ limit: "20" });
  if (byId("starred-only").checked) query.set("starred", "true");
  if (more && state.cursor) query.set("cursor", state.cursor);
  const page = await api(`v1/designs?${query}`);
  const entries = page.designs.map(entry);
  if (more) byId("history").append(...entries);
  else byId("history").replaceChildren(...entries);
  if (!more && !entries.length) byId("history").append(make("li", { textContent: "There are none yet." }));
  state.cursor = page.next_cursor;
  byId("older").hidden = !page.next_cursor;
}

function entry(design) {
  const { request } = design;
  const who = whose(request);
  const opened = trying(async () => {
    location.hash = "#/";
    await open(design.id);
  });
  const gone = trying(async () => {
    await api(local(design.url), { method: "DELETE" });
    await showHistory();
  });
  return make("li", {},
    make("p", {}, make("strong", { textContent: `${MADE[request.edit?.kind] ?? ""}${request.category} for ${who}` }),
      ` · ${design.state} · ${new Date(design.submitted_at).toLocaleString()}`),
    make("ul", { className: "near" }, ...design.results.slice(0, 8).map((one) =>
      make("li", {},
        make("figure", {},
          picture(one.image_url, `Design ${one.index + 1}, ${one.category}`),
          make("figcaption", { textContent: [one.starred ? "★" : "", one.verdict ?? ""].join(" ").trim() })),
        editable(one) ? mixButton(design, one, begin) : null))),
    make("div", { className: "acts" }, button("Open", opened), button("Delete", gone)));
}

export async function showModels() {
  const { models, history } = await api("v1/models");
  const drawn = plots(models);
  byId("plots").replaceChildren(...drawn);
  byId("plots-none").hidden = drawn.length > 0;
  byId("models").replaceChildren(...models.map(model));
  byId("served").replaceChildren(...history.map((step) =>
    make("li", { textContent: `${new Date(step.at).toLocaleString()}: ${step.model} (${step.reason})` })));
}

const FEW = 4;

// A list of many is opened by who wants it.
function shown(value) {
  if (typeof value === "number") return value.toLocaleString([], Number.isInteger(value) ? {} : { maximumSignificantDigits: 4 });
  if (!Array.isArray(value)) return String(value);
  const list = value.join(", ");
  return value.length <= FEW ? list
    : make("details", {}, make("summary", { textContent: `${value.length.toLocaleString()} entries` }), list);
}

function flat(values, before = "") {
  return Object.entries(values).flatMap(([name, value]) =>
    value && typeof value === "object" && !Array.isArray(value)
      ? flat(value, `${before}${name} · `)
      : [[before + name, shown(value)]]);
}

function model(one) {
  const status = one.problem ? `cannot be served: ${one.problem}`
    : one.serving ? "serves now" : one.active ? "is being loaded" : "does not serve";
  const activate = trying(async () => {
    await send(`v1/models/${one.id}/activate`, {});
    await showModels();
  });
  return make("li", {},
    make("p", {}, make("strong", { textContent: `${one.facts.recommender} ${one.id}` }), ` · ${status} · ${one.source}`),
    make("table", {}, make("tbody", {}, ...[...flat(one.facts), ...flat(one.metrics)].map(([name, value]) =>
      make("tr", {}, make("th", { scope: "row", textContent: name }), make("td", {}, value))))),
    one.active ? null : button("Let it serve", activate));
}

byId("older").addEventListener("click", trying(() => showHistory(true)));
byId("starred-only").addEventListener("change", trying(() => showHistory()));
byId("roll-back").addEventListener("click", trying(async () => {
  await send("v1/models/rollback", {});
  await showModels();
}));
