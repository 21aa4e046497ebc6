// Models' figures over time: a plot a figure, a point a model.
"use strict";

import { byId } from "./dom.js";

const FIGURES = [
  { unit: "AUC", title: "AUC on the validation part (0.5: by chance, 1: perfect)", of: (metrics) => metrics.validation_auc },
  { unit: "NDCG@20", title: "NDCG@20 on the validation part (1: perfect)", of: (metrics) => metrics.validation_ndcg },
  { unit: "AUC + NDCG@20", title: "AUC + NDCG@20 on the validation part (2: perfect)", of: (metrics) => metrics.validation_both },
  { unit: "NDCG@20", title: "NDCG@20 on what users took next, at retraining (1: perfect)", note: "; the bar: of the model that served until then",
    of: (metrics) => metrics.gate?.challenger, before: (metrics) => metrics.gate?.champion },
];
const [LEFT, RIGHT, TOP, BOTTOM] = [58, 348, 22, 172]; // of the axes, as in the template
const LABEL = 12; // between a point and what is written over it

// Nothing is drawn of what has nothing to be compared with: another model's figure, or that of the one before.
export function plots(models) {
  return FIGURES.flatMap((figure) => {
    const points = models.map((model) => pointOf(model, figure)).filter(({ value }) => Number.isFinite(value));
    return points.length > 1 || points.some(({ before }) => before !== undefined) ? [plot(figure, points.sort((one, other) => one.time - other.time))] : [];
  });
}

function pointOf({ id, active, facts, metrics, registered_at: at }, figure) {
  const before = figure.before?.(metrics);
  return { name: `${facts.recommender} ${id}`, active, time: Date.parse(at), value: figure.of(metrics),
    before: Number.isFinite(before) ? before : undefined };
}

function plot({ unit, title, note = "" }, points) {
  const figure = byId("plot").content.firstElementChild.cloneNode(true);
  const svg = figure.querySelector("svg");
  const add = (tag, attributes, text = "", within = svg) => {
    const element = document.createElementNS(svg.namespaceURI, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.textContent = text;
    within.append(element);
    return element;
  };
  const [first, last] = [points[0].time, points.at(-1).time];
  const { marks, digits } = scale(points.flatMap(({ value, before = value }) => [value, before]));
  const x = (time) => LEFT + 12 + (RIGHT - LEFT - 24) * (first === last ? 0.5 : (time - first) / (last - first));
  const y = (value) => BOTTOM - (BOTTOM - TOP) * (value - marks[0]) / (marks.at(-1) - marks[0]);

  for (const mark of marks) {
    add("line", { class: "mark", x1: LEFT, x2: RIGHT, y1: y(mark), y2: y(mark) });
    add("text", { x: LEFT - 6, y: y(mark) + 4, "text-anchor": "end" }, mark.toFixed(digits));
  }
  add("text", { x: LEFT, y: BOTTOM + 18 }, when(first, last - first));
  if (first !== last) add("text", { x: RIGHT, y: BOTTOM + 18, "text-anchor": "end" }, when(last, last - first));
  add("polyline", { class: "way", points: points.map(({ time, value }) => `${x(time)},${y(value)}`).join(" ") });
  const told = ({ name, time, value, before }) => `${name}, ${when(time, 0)}: ${value.toFixed(digits + 2)}`
    + (before === undefined ? "" : `, the one before ${before.toFixed(digits + 2)}`);
  for (const point of points) {
    const { active } = point;
    const [across, down] = [x(point.time), y(point.value)];
    if (point.before !== undefined) {
      const before = y(point.before);
      add("path", { class: "before", d: `M${across - 9} ${before}h18M${across} ${before}V${down}` });
    }
    const dot = add("circle", { class: active ? "dot active" : "dot", cx: across, cy: down, r: active ? 6 : 4 });
    add("title", {}, told(point), dot);
    const anchor = across > (LEFT + RIGHT) / 2 ? "end" : "start";
    if (active) add("text", { class: "active", x: across, y: down - LABEL, "text-anchor": anchor }, "active");
  }
  const active = points.find((point) => point.active);
  figure.querySelector(".unit").textContent = unit;
  figure.querySelector("figcaption").textContent = title + note;
  const of = points.length > 1
    ? `${points.length} models. The first: ${told(points[0])}. The last: ${told(points.at(-1))}.${active ? ` Active: ${told(active)}.` : ""}`
    : `1 model: ${told(points[0])}${active ? ", active" : ""}.`;
  svg.setAttribute("aria-label", `${title}, of ${of}`);
  return figure;
}

// Round marks around the values, and how many digits tell them apart.
function scale(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const rough = (high - low || Math.abs(high) / 10 || 1) / 3;
  const power = Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * 10 ** power).find((one) => one >= rough);
  const [bottom, top] = [Math.floor(low / step), Math.ceil(high / step)];
  const count = Math.max(top - bottom, 1);
  return { marks: Array.from({ length: count + 1 }, (_, place) => (bottom + place) * step), digits: Math.max(0, -power) };
}

const DAY = 86400000;
// A day, and the hour, too, within a few days.
const when = (time, span) => new Date(time).toLocaleString([], { dateStyle: "short", ...(span < 3 * DAY ? { timeStyle: "short" } : {}) });
