// One design is moved along directions of the generator's space; it stays chosen, so that one can try and try again.
"use strict";

import { local } from "./api.js";
import { button, byId, make, picture, trying } from "./dom.js";

const STEP = 0.25;
const state = { sliders: [], subject: null, begin: null };

export function offerSliders(sliders) {
  state.sliders = sliders.filter(({ low, high }) => low < high);
  byId("sliders").replaceChildren(...state.sliders.map(slider));
}

// Null where the service has no sliders.
export function slideButton(design, one, begin) {
  if (!state.sliders.length) return null;
  return button("Move…", trying(() => choose({ design: design.id, index: one.index }, one, begin)));
}

function slider({ direction, name, low, high, share, image_url: sheet }) {
  const id = `slider-${direction}`, called = name || `slider ${direction + 1}`;
  const range = make("input", { id, type: "range", min: low, max: high, step: STEP, value: 0 });
  const value = make("output", { textContent: "0" });
  value.htmlFor = id;
  range.dataset.direction = direction;
  range.addEventListener("input", () => told(range));
  const shown = make("details", {}, make("summary", { textContent: "What it changes" }));
  // The sheet is large: it is fetched when somebody wants to see it.
  shown.addEventListener("toggle", () => {
    if (shown.open && !shown.querySelector("img")) shown.append(make("img", {
      className: "sheet", src: local(sheet), alt: `Samples moved along ${called}, from ${low} on the left to ${high} on the right`,
    }));
  });
  return make("li", {},
    make("label", { htmlFor: id, textContent: called[0].toUpperCase() + called.slice(1), title: `${Math.round(100 * share)}% of what differs between pictures` }),
    range, value, shown);
}

const ranges = () => [...byId("sliders").querySelectorAll("input")];
const told = (range) => {
  const units = Number(range.value);
  range.nextElementSibling.textContent = units > 0 ? `+${units}` : String(units).replace("-", "−");
};

function choose(subject, one, begin) {
  Object.assign(state, { subject, begin });
  reset();
  byId("sliding-picture").replaceChildren(picture(one.image_url, `Design ${one.index + 1}, ${one.category}, which is moved`));
  byId("sliding-moved").replaceChildren();
  byId("sliding").hidden = false;
  byId("sliding-title").focus();
}

function reset() {
  for (const range of ranges()) {
    range.value = 0;
    told(range);
  }
}

export function closeSliders() {
  state.subject = null;
  byId("sliding").hidden = true;
}

function movedFrom(design) {
  const edit = design.request.edit;
  return edit?.kind === "slide" && state.subject !== null
    && edit.of[0].design === state.subject.design && edit.of[0].index === state.subject.index;
}

// Of other designs than those that came of moving them the sliders know nothing.
export function keepSliders(design) {
  if (!movedFrom(design)) closeSliders();
}

// What came of it is shown beside what was moved, too: on a phone the rest is far below.
export function showMoved(design) {
  const [one] = design.results;
  if (!one || !movedFrom(design)) return;
  byId("sliding-moved").replaceChildren(picture(one.image_url, "The design as it was moved last"));
}

async function move() {
  const moves = ranges().map((range) => ({ direction: Number(range.dataset.direction), units: Number(range.value) }))
    .filter(({ units }) => units !== 0);
  if (!moves.length) throw new Error("Move a slider first.");
  await state.begin({ kind: "slide", of: [state.subject], moves }, { count: 1, focus: false });
}

byId("sliding").addEventListener("submit", (event) => {
  event.preventDefault();
  trying(move)();
});
byId("sliding-reset").addEventListener("click", reset);
byId("sliding-close").addEventListener("click", closeSliders);
