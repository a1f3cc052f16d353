// Summaries of several proposers in the strip: a layer, a folded layer, or calls without a tile.

import { seconds } from "./dom.js";
import { setIcon } from "./icons.js";
import { ICONS, setText } from "./tile.js";

/** @import { CellState, Received, RunModel } from "./run_model.js" */

/**
 * Return the number of answers of a layer, or why it has none.
 * @param {number} from
 * @param {number} to
 * @param {RunModel} model
 */
export function countOf(from, to, model) {
  if (from === 0 || from === model.last || from !== to) return "";
  const cells = model.layer(from);
  const states = new Set(cells.map((cell) => model.stateOf(cell)));
  if (states.size === 1 && states.has("skipped")) return "skipped";
  if (states.size === 1 && states.has("runs again")) return "again";
  if (states.size === 1 && states.has("waiting")) return "";
  return `${answered(cells, model)}/${cells.length}`;
}

/**
 * Count the proposals that the next layer reads.
 * @param {Received[]} cells
 * @param {RunModel} model
 */
const answered = (cells, { edits }) =>
  cells.filter(({ node, status }) => status === "answered" && edits.get(node)?.action !== "drop").length;

/** States of several calls, in order of priority. @type {CellState[]} */
const TELLING = ["running", "retrying", "failed", "cut off", "stopped", "answered", "runs again", "waiting"];

/**
 * @param {Element} fold
 * @param {RunModel} model
 */
export function drawFold(fold, model) {
  const [from, to] = [Number(fold.getAttribute("data-from")), Number(fold.getAttribute("data-to"))];
  const cells = [...model.cells.values()].filter(({ layer }) => layer >= from && layer <= to);
  const tile = /** @type {HTMLElement} */ (fold.querySelector(".tile"));
  const states = cells.map((cell) => model.stateOf(cell));
  const state = TELLING.find((each) => states.includes(each)) ?? states[0];
  tile.dataset.state = state;
  setIcon(/** @type {SVGElement} */ (tile.querySelector("svg")), ICONS[state]);
  const time = Math.max(0, ...cells.map((cell) => model.elapsed(cell) ?? 0));
  const texts = { b: `${answered(cells, model)}/${cells.length}`, ".about": time ? seconds(time) : "",
    ".model": state === "answered" ? "" : state };
  for (const [part, text] of Object.entries(texts)) {
    setText(/** @type {HTMLElement} */ (tile.querySelector(part)), text);
  }
}

/**
 * @param {Element} rest
 * @param {RunModel} model
 */
export function drawRest(rest, model) {
  /** @type {string[]} */
  const nodes = JSON.parse(rest.getAttribute("data-nodes") ?? "[]");
  const cells = nodes.flatMap((node) => model.cells.get(node) ?? []);
  const states = cells.map((cell) => model.stateOf(cell));
  const state = TELLING.find((each) => states.includes(each)) ?? states[0];
  /** @type {HTMLElement} */ (rest).dataset.state = state;
  const same = states.filter((each) => each === state).length;
  setText(/** @type {HTMLElement} */ (rest.querySelector("span")), `${same} ${state}`);
}
