// Who is asked for: a known user, or somebody with photos; and what is recommended to them.
"use strict";

import { api, send } from "./api.js";
import { button, byId, make, notice, picture, remember, signed, trying } from "./dom.js";
import { readPhoto } from "./photos.js";

const SHOWN = 12;
const MOST_PHOTOS = 10;
const state = { users: [], user: null, photos: [], category: null, asked: 0, tailor: () => null };

// How a design request names the one who is shown.
export const someone = () => (state.photos.length ? { photos: state.photos.map(withoutHead) } : { user_id: state.user });
export const isSomebody = () => Boolean(state.user || state.photos.length);
const withoutHead = (url) => url.slice(url.indexOf(",") + 1);

// `offer(item)` gives what tailors an item, or null.
export function offerTailoring(offer) {
  state.tailor = offer;
}

export async function recommend() {
  const asked = ++state.asked; // an answer that a later question has overtaken is dropped
  const grid = byId("recommended");
  grid.setAttribute("aria-busy", "true");
  try {
    const answer = await askBest();
    if (asked !== state.asked) return;
    notice(null);
    for (const name of document.querySelectorAll(".for-whom")) name.textContent = state.photos.length ? "yourself" : state.user;
    grid.replaceChildren(...answer.items.map(card));
    suggestCategory(answer.items);
    if (!answer.items.length) grid.append(make("li", { className: "empty", textContent: "Nothing is left to recommend here." }));
  } catch (error) {
    if (asked !== state.asked) return;
    grid.replaceChildren();
    notice(error);
  } finally {
    if (asked === state.asked) grid.setAttribute("aria-busy", "false");
  }
}

// Designs are of what is recommended most, until somebody chooses.
function suggestCategory(items) {
  const select = byId("category");
  if (!select || state.category || select.dataset.chosen) return;
  const counts = new Map([...select.options].map((option) => [option.value, 0]));
  for (const { category } of items) if (counts.has(category)) counts.set(category, counts.get(category) + 1);
  const [most, count] = [...counts].reduce((best, one) => (one[1] > best[1] ? one : best), ["", 0]);
  if (count) select.value = most;
}

const forUser = (asked) => api(`v1/users/${encodeURIComponent(state.user)}/recommendations?${new URLSearchParams(asked)}`);
const forPhotos = (asked) => send("v1/sessions/recommendations", { photos: state.photos.map(withoutHead), ...asked });

function askBest() {
  const { photos, category } = state;
  if (photos.length) return forPhotos({ k: SHOWN, categories: category ? [category] : [] });
  return forUser({ k: SHOWN, ...(category ? { category } : {}) });
}

function askWhy({ item_id: item }) {
  if (state.photos.length) return forPhotos({ k: 1, candidates: [item], explain: true });
  return forUser({ k: 1, candidate: item, exclude_seen: false, explain: true });
}

function card(item, place) {
  const known = !state.photos.length;
  const why = make("div", { className: "why" });
  const tailor = item.image_url ? state.tailor(item) : null;
  return make("li", {},
    make("figure", {},
      picture(item.image_url, `${item.category}, item ${item.item_id}, number ${place + 1}`),
      make("figcaption", {}, make("strong", { textContent: item.category }), ` ${item.item_id}`)),
    make("div", { className: "acts" },
      button("More like this", trying(() => alike(item))),
      button("Why?", trying(() => explain(item, why))),
      known ? button("Has it", trying(() => tell(item, "purchase"))) : null,
      known ? button("Not for them", trying(() => tell(item, "dislike"))) : null,
      tailor ? button("Tailor it", trying(tailor)) : null),
    why);
}

async function explain(item, place) {
  const { photos } = state;
  const { items } = await askWhy(item);
  const told = items[0]?.explanation;
  if (!told) {
    place.replaceChildren(make("p", { textContent: "It came after the training: its picture alone speaks for it." }));
    return;
  }
  const parts = Object.entries(told.parts).map(([name, value]) => `${name} ${signed(value)}`);
  const carried = photos.length ? "Your photos that carry it most:"
    : told.carried_by.length ? "What the user has that carries it most:" : "Nothing that the user has carries it.";
  place.replaceChildren(
    make("p", { textContent: `Of what the score is made: ${parts.join(", ")}.` }),
    make("p", { textContent: carried }),
    make("ul", { className: "near" }, ...told.carried_by.map((one) => make("li", {}, carrier(one, photos)))));
}

function carrier({ item_id: item, photo, influence }, photos) {
  const shown = photo === null ? picture(`/v1/items/${encodeURIComponent(item)}/image`, `Item ${item}`)
    : picture(photos[photo - 1], `Your photo ${photo}`);
  const name = photo === null ? "" : `photo ${photo} `;
  return make("figure", {}, shown, make("figcaption", { textContent: name + signed(influence), title: item ?? "" }));
}

async function tell(item, event) {
  await send("v1/events", { events: [{ user_id: state.user, item_id: item.item_id, event }] });
  await recommend();
}

async function alike(item) {
  const answer = await api(`v1/items/${encodeURIComponent(item.item_id)}/similar?k=${SHOWN}`);
  byId("alike-title").textContent = `Like ${item.category} ${item.item_id}`;
  byId("alike-items").replaceChildren(...answer.items.map(card));
  byId("alike").hidden = false;
  byId("alike-title").focus();
}

export function choose(user) {
  state.user = user;
  takePhotosAway();
  byId("user").value = user;
  remember({ user });
  return recommend();
}

// ---- photos

function takePhotosAway() {
  state.photos = [];
  byId("photos").value = "";
  showPhotos();
}

function showPhotos() {
  byId("photo-list").replaceChildren(...state.photos.map((url, place) =>
    make("li", {}, make("img", { className: "picture", src: url, alt: `Your photo ${place + 1}` }))));
  byId("no-photos").hidden = !state.photos.length;
}

async function takePhotos(files) {
  const pictures = [...files].filter((file) => file.type.startsWith("image/")).slice(0, MOST_PHOTOS - state.photos.length);
  if (!pictures.length) throw new Error("Give JPEG, PNG or WebP pictures, ten at most.");
  const { photos } = state, read = [];
  for (const file of pictures) read.push(await readPhoto(file)); // one at a time: ten large ones do not fit in a phone
  if (photos !== state.photos) return; // somebody else was chosen meanwhile
  photos.push(...read.slice(0, MOST_PHOTOS - photos.length));
  showPhotos();
  await recommend();
}

// ---- the start

function chip(label, category) {
  const element = make("button", { type: "button", textContent: label });
  element.setAttribute("aria-pressed", String(state.category === category));
  element.addEventListener("click", () => {
    state.category = category;
    for (const other of byId("chips").children) other.setAttribute("aria-pressed", String(other === element));
    const select = byId("category");
    if (category && [...select.options].some((option) => option.value === category)) select.value = category;
    if (isSomebody()) recommend();
  });
  return element;
}

export async function startPeople(categories) {
  const full = categories.filter((category) => category.items > 0);
  byId("chips").replaceChildren(chip("all", null), ...full.slice(0, 30).map(({ name }) => chip(name, name)));
  state.users = (await api("v1/users?limit=200")).users;
  byId("users").replaceChildren(...state.users.map((user) => make("option", { value: user })));
  const user = new URLSearchParams(location.search).get("user") || state.users[0];
  if (isSomebody() || byId("user").value) return; // who was quick has chosen already, or is about to
  if (user) await choose(user);
  else notice(new Error("The recommender knows no users yet: show photos, or train it on a catalogue with interactions."));
}

byId("who").addEventListener("submit", (event) => {
  event.preventDefault();
  choose(byId("user").value);
});
byId("category")?.addEventListener("change", (event) => { event.target.dataset.chosen = "yes"; });
byId("another").addEventListener("click", () => {
  if (state.users.length) choose(state.users[Math.floor(Math.random() * state.users.length)]);
});
byId("photos").addEventListener("change", trying((event) => takePhotos(event.target.files)));
byId("no-photos").addEventListener("click", () => {
  takePhotosAway();
  const user = state.user ?? state.users[0];
  if (user) choose(user);
});
byId("alike-close").addEventListener("click", () => { byId("alike").hidden = true; });
const drop = byId("drop");
drop.addEventListener("dragover", (event) => {
  event.preventDefault();
  drop.classList.add("over");
});
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
drop.addEventListener("drop", trying((event) => {
  event.preventDefault();
  drop.classList.remove("over");
  return takePhotos(event.dataTransfer.files);
}));
