// The tile of a call. An icon, a word or number, and a border show its state; colour only repeats it.

import { nameOf } from "./call_facts.js";
import { count, find, h, seconds } from "./dom.js";
import { icon, setIcon } from "./icons.js";
import { cutInMiddle } from "./long_name.js";
import { AGGREGATOR } from "./run_model.js";

/** @import { IconName } from "./icons.js" */
/** @import { CellState, Received, RunModel } from "./run_model.js" */

/** @type {Record<CellState, IconName>} */
export const ICONS = {
  "answered": "ok",
  "asked again": "again",
  "runs again": "again",
  "cached": "hit",
  "cut off": "cut",
  "dropped": "drop",
  "edited": "edit",
  "failed": "bad",
  "fallback": "fallback",
  "hedged": "hedge",
  "retrying": "run",
  "reused": "reuse",
  "running": "run",
  "skipped": "skip",
  "stopped": "stop",
  "waiting": "wait",
};

/** Texts of a narrow tile, of at most five characters. @type {Partial<Record<CellState, string>>} */
const SHORT = {
  "asked again": "again", "runs again": "again", "cached": "cache", "cut off": "cut",
  "dropped": "out", "edited": "edit",
  "failed": "fail", "fallback": "other", "hedged": "hedge", "retrying": "retry", "reused": "reuse",
  "running": "runs", "skipped": "skip", "stopped": "stop",
  "waiting": "waits",
};

/** @param {string} word */
const part = (word) => h("span", { class: word });

/**
 * Create the tile of a cell; `drawTile` fills it.
 * @param {string} node
 * @param {string} agent
 * @param {(node: string) => void} onSelect
 */
export function makeTile(node, agent, onSelect) {
  const name = node === AGGREGATOR ? "aggre\u00ADgator" : agent.replace(/^vote_/, "").replace(/^window_/, "window ");
  const short = h("span", { class: "short", "aria-hidden": "true" });
  return h("button", {
    type: "button", class: "tile", "data-node": node, "aria-pressed": "false", onclick: () => onSelect(node),
  },
  icon("wait"), h("b", {}, node === AGGREGATOR ? name : cutInMiddle(name)), part("model"),
  h("span", { class: "about" }, part("word"), short, part("time"), part("tokens")),
  h("span", { class: "unseen where" }), h("span", { class: "bar" }));
}

/**
 * Draw the state of a cell.
 * @param {HTMLElement} tile
 * @param {Received} cell
 * @param {RunModel} model
 */
export function drawTile(tile, cell, model) {
  const state = model.stateOf(cell);
  const written = cell.written !== null && cell.status === "answered" ? `${count(cell.written)} tok` : "";
  const texts = {
    model: cell.model, word: state, short: SHORT[state] ?? state, tokens: written, where: where(cell, model),
  };
  for (const [name, text] of Object.entries(texts)) setText(find(tile, `.${name}`), text);
  tile.dataset.status = cell.status;
  tile.dataset.state = state;
  tile.classList.toggle("critical", cell.critical);
  tile.setAttribute("aria-pressed", String(model.selected === cell.node));
  setIcon(/** @type {SVGElement} */ (tile.querySelector("svg")), ICONS[state]);
  tile.title = [`${cell.agent}: ${cell.model}`, state, cell.error].filter(Boolean).join(", ");
}

/**
 * Set a text only if it differs, because screen readers announce every change.
 * @param {HTMLElement} place
 * @param {string} text
 */
export function setText(place, text) {
  if (place.textContent !== text) place.textContent = text;
}

/**
 * @param {Received} cell
 * @param {RunModel} model
 */
function where(cell, model) {
  const place = model.isHelper(cell) ? nameOf(cell, model) : `layer ${cell.layer}`;
  const parts = cell.node === AGGREGATOR ? [] : [place];
  if (cell.ending_note) parts.push("incomplete");
  if (cell.critical) parts.push("waited for");
  return parts.map((each) => `, ${each}`).join("");
}

/**
 * Draw the seconds of a cell, and a bar relative to the slowest cell.
 * @param {HTMLElement} tile
 * @param {number | null} passed
 * @param {number} slowest
 */
export function drawTime(tile, passed, slowest) {
  setText(find(tile, ".time"), seconds(passed));
  tile.style.setProperty("--part", passed === null ? "0" : Math.min(passed / slowest, 1).toFixed(3));
}
