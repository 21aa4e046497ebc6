// Elements are made here. What comes from the catalogue is only ever set as text.
"use strict";

export const byId = (id) => document.getElementById(id);
export const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`;

export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children.filter((child) => child !== null));
  return element;
}

export function button(text, act, { pressed, quiet = true } = {}) {
  const element = make("button", { type: "button", textContent: text, className: quiet ? "quiet small" : "small" });
  if (pressed !== undefined) element.setAttribute("aria-pressed", String(pressed));
  element.addEventListener("click", act);
  return element;
}

export function picture(url, alt) {
  if (!url) return make("div", { className: "picture none", textContent: "no picture" });
  return make("img", { className: "picture", src: url.replace(/^\//, ""), alt, loading: "lazy", decoding: "async" });
}

export function notice(error) {
  const line = byId("notice");
  line.hidden = !error;
  line.textContent = error ? error.message : "";
  if (error) line.scrollIntoView({ block: "nearest" });
}

// Runs what a click asks for; what goes wrong is told.
export const trying = (act) => async (...given) => {
  notice(null);
  try {
    await act(...given);
  } catch (error) {
    notice(error);
  }
};

export function remember(values) {
  const url = new URL(location.href);
  for (const [name, value] of Object.entries(values)) {
    if (value === null) url.searchParams.delete(name);
    else url.searchParams.set(name, value);
  }
  history.replaceState(null, "", url);
}
