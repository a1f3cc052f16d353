// The cost pane: the calls of a run on a time axis, and a table of tokens and cost.

import { count, dollars, h, seconds } from "./dom.js";
import { cutInMiddle } from "./long_name.js";
import { spansOf, ticks } from "./time_axis.js";

/** @import { Received, RunModel } from "./run_model.js" */
/** @import { Places } from "./side.js" */
/** @import { Span } from "./time_axis.js" */

export class CostPane {
  constructor() {
    this.key = ""; // of the drawn content
  }

  /**
   * @param {Places} places
   * @param {RunModel} model
   */
  draw({ pane, acts }, model) {
    const passed = Math.round(model.seconds() * 2) / 2; // half seconds are precise enough for a growing axis
    const key = JSON.stringify([model.thread, model.view?.step, passed,
      [...model.cells.values()].map(({ node, status, seconds: took, written }) => [node, status, took, written])]);
    if (key === this.key && pane.hasChildNodes()) return;
    this.key = key;
    acts.replaceChildren();
    const scroll = pane.scrollTop;
    pane.replaceChildren(...time(model), ...table(model));
    pane.scrollTop = scroll;
  }
}

/** @param {RunModel} model */
function time(model) {
  const spans = spansOf(model);
  const end = Math.max(model.seconds(), ...spans.map((span) => span.end), 0.1);
  const title = h("h2", {}, `Time: ${seconds(model.seconds())}`);
  if (!spans.length) return [title, h("p", { class: "dim small" }, "No agent was asked yet.")];
  const rows = spans.flatMap((span, index) => [
    ...(span.cell.layer === spans[index - 1]?.cell.layer ? [] : [layerRow(span.cell, model)]), row(span, end, model),
  ]);
  const marks = spans.some(({ cell }) => cell.critical) ? "Underlined: what the run waited for." : null;
  return [title, h("ol", { class: "gantt" }, rows, axis(end)), h("p", { class: "small dim" }, marks)];
}

/**
 * @param {Received} cell
 * @param {RunModel} model
 */
function layerRow(cell, model) {
  const name = cell.layer >= model.last ? "Answer" : `Layer ${cell.layer}`;
  return h("li", { class: "layer" }, name);
}

/**
 * @param {Span} span
 * @param {number} end seconds of the whole axis
 * @param {RunModel} model
 */
function row({ cell, begin, end: over, guessed }, end, model) {
  const state = model.stateOf(cell);
  const bar = h("i", { "data-look": LOOKS[cell.status] ?? "ok", class: cell.critical ? "critical" : null });
  bar.style.setProperty("--from", String(begin / end));
  bar.style.setProperty("--part", String((over - begin) / end));
  const prefix = cell.status === "answered" ? "" : `${state} `;
  const unseen = `, ${state}${guessed ? "" : ` from ${begin.toFixed(1)} s on`}${cell.critical ? ", waited for" : ""}`;
  return h("li", { title: `${cell.agent}, ${state}` },
    h("span", { class: "name" }, cutInMiddle(cell.agent)),
    h("span", { class: "way", "aria-hidden": "true" }, bar),
    h("span", { class: "r" }, cell.cached ? "cached" : `${prefix}${seconds(model.elapsed(cell))}`,
      h("span", { class: "unseen" }, unseen)));
}

/** @type {Partial<Record<Received["status"], string>>} */
const LOOKS = { failed: "bad", "cut off": "cut", running: "run" };

const NONE = "–"; // of calls without reported tokens

/** @param {number} end */
function axis(end) {
  const marks = ticks(end).map((tick) => {
    const mark = h("span", {}, `${tick} s`);
    mark.style.setProperty("--at", String(tick / end));
    return mark;
  });
  return h("li", { class: "axis", "aria-hidden": "true" }, h("span"), h("span", { class: "way" }, marks), h("span"));
}

/**
 * Sum up the tokens and the cost of each agent over all layers.
 * @param {RunModel} model
 */
function table(model) {
  const called = [...model.cells.values()].filter((cell) => !["waiting", "skipped", "dropped"].includes(cell.status));
  const agents = [...new Set(called.map((cell) => cell.agent))];
  const rows = agents.map((agent) => tableRow(agent, called.filter((cell) => cell.agent === agent)));
  const head = ["Agent", "Calls", "Read", "Written", "Cost"].map((word, index) =>
    h("th", { scope: "col", class: index ? "r" : null }, word));
  return [
    h("h2", {}, "Tokens and cost"),
    h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Tokens and cost" },
      h("table", { class: "data" }, h("thead", {}, h("tr", {}, head)), h("tbody", {}, rows),
        h("tfoot", {}, tableRow("All", called)))),
    h("p", { class: "small dim" }, estimate(called), beside(called, model)),
  ];
}

/**
 * @param {string} name
 * @param {Received[]} cells
 */
function tableRow(name, cells) {
  /** @param {"read" | "written" | "cost"} field */
  const sum = (field) => cells.reduce((all, cell) => all + (cell[field] ?? 0), 0);
  const hasTokens = cells.some((cell) => cell.written !== null);
  const priced = cells.some((cell) => cell.cost !== null);
  const cost = priced ? dollars(sum("cost")).replace("~", "") : hasTokens ? "not known" : NONE;
  const tokens = hasTokens ? [count(sum("read")), count(sum("written"))] : [NONE, NONE];
  const texts = [count(cells.length), ...tokens, cost];
  return h("tr", {}, h("th", { scope: "row" }, name), texts.map((text) => h("td", { class: "r" }, text)));
}

/**
 * Describe the cost of routers, early stops and failed aggregators.
 * @param {Received[]} called
 * @param {RunModel} model
 */
function beside(called, { running, view }) {
  const sum = called.reduce((all, cell) => all + (cell.cost ?? 0), 0);
  const cost = view?.cost ?? 0;
  if (running || cost - sum < 0.000_05) return "";
  const all = dollars(cost).replace("~", "about ");
  return ` Including routers, early stops and failed aggregators: ${all}.`;
}

/** @param {Received[]} called */
function estimate(called) {
  const unknown = called.filter((cell) => cell.status === "answered" && cell.cost === null);
  const models = [...new Set(unknown.map((cell) => cell.model))];
  if (!called.length) return "No agent was asked yet.";
  const isOffline = called.every((cell) => cell.model.startsWith("offline:"));
  if (isOffline) return "No language model was asked: it cost nothing.";
  if (!models.length) return "Costs are estimated from list prices.";
  return `Costs are estimated from list prices. The sum excludes unknown prices: ${models.join(", ")}. `
    + "Set them under [prices] in the mixture’s file.";
}
