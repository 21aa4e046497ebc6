// More of finished designs: one that others shall be like, one that is moved, and two that are mixed.
"use strict";

import { button, byId, make, picture, trying } from "./dom.js";
import { slideButton } from "./sliders.js";

const MIXED = 5; // the two, and three on the way
const state = { first: null }; // the design that is to be mixed with another

const same = (one, other) => one.design === other.design && one.index === other.index;
const named = (design, one) => ({ design: design.id, index: one.index });
// What lies between two categories is of neither, so nothing can be made of it.
export const editable = (one) => !one.settings.edit?.weights;

// `begin(edit, more)` asks for an edit; without a count, for as many as the form says.
export function editButtons(design, one, begin) {
  if (!editable(one)) return [];
  const more = trying(() => begin({ kind: "like", of: [named(design, one)] }));
  return [button("More like this", more), slideButton(design, one, begin), mixButton(design, one, begin)];
}

export function mixButton(design, one, begin) {
  const own = named(design, one);
  const pressed = async () => {
    const first = state.first;
    if (first && !same(first, own)) {
      await choose(null);
      await begin({ kind: "mix", of: [{ design: first.design, index: first.index }, own] }, { count: MIXED });
    } else {
      await choose(first ? null : { ...own, category: one.category, image_url: one.image_url });
    }
  };
  const element = button("", trying(pressed));
  element.classList.add("mix");
  Object.assign(element.dataset, own);
  label(element);
  return element;
}

function label(element) {
  const { first } = state;
  const own = { design: element.dataset.design, index: Number(element.dataset.index) };
  const chosen = first !== null && same(first, own);
  element.textContent = first === null || chosen ? "Mix with…" : "Mix with this";
  element.setAttribute("aria-pressed", String(chosen));
}

// The buttons stay where they are, and so does the focus.
function choose(first) {
  state.first = first;
  for (const element of document.querySelectorAll("button.mix")) label(element);
  byId("main").classList.toggle("choosing", first !== null);
  byId("mixing").hidden = first === null;
  byId("mixing-told").textContent = first === null ? ""
    : "Mixed with which? Press “Mix with this” there, on this page or under “Designs so far”.";
  byId("mixing-picture").replaceChildren(...(first === null ? []
    : [picture(first.image_url, `Design ${first.index + 1}, ${first.category}, the first of the two`)]));
}

// What designs were made of, with a way back.
export function origins(design, open) {
  return design.origins.map((one, place) => {
    const role = place ? "which the way ends with" : "which they were made of";
    const shown = one.design !== null ? picture(one.image_url, `Design ${one.index + 1}, ${role}`)
      : one.item_id !== null ? picture(one.image_url, `Item ${one.item_id}, ${role}`)
        : picture(`data:image/webp;base64,${design.request.edit.of[place].photo}`, `The photo, ${role}`);
    shown.addEventListener("error", () => shown.replaceWith(make("div", { className: "picture none", textContent: "deleted" })));
    const told = one.design !== null ? button("Open", trying(() => open(one.design))) : one.item_id ?? "your photo";
    return make("li", {}, make("figure", {}, shown, make("figcaption", {}, told)));
  });
}

byId("mixing-stop").addEventListener("click", () => choose(null));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && state.first !== null) choose(null);
});
