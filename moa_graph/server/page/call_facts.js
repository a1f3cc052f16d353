// Facts about a call: its name, state, time, tokens and cost.

import { count, dollars, h, seconds } from "./dom.js";
import { icon } from "./icons.js";
import { AGGREGATOR } from "./run_model.js";

/** @import { CellState, Received, RunModel } from "./run_model.js" */
/** @import { Edit } from "./types.js" */

/**
 * Name a call: `cedar, layer 2`, `vote of cedar`.
 * @param {Pick<Received, "node" | "agent" | "layer">} cell
 * @param {RunModel} model
 */
export function nameOf(cell, model) {
  if (cell.node === AGGREGATOR) return cell.agent;
  if (model.isHelper(cell)) return cell.agent.replace(/^vote_/, "vote of ").replace("_", " ");
  return `${cell.agent}, layer ${cell.layer}`;
}

/**
 * List the state, time, tokens, cost and special events of a call.
 * @param {Received} cell
 * @param {RunModel} model
 */
export function factsOf(cell, model) {
  const passed = seconds(model.elapsed(cell));
  const edit = model.edits.get(cell.node);
  const state = edit ? cell.status : model.stateOf(cell);
  return [
    cell.model,
    passed ? `${state} ${LASTED[state] ?? "in"} ${passed}` : state,
    edit ? CHANGED[edit.action] : "",
    ...specialFacts(cell),
    tokens(cell),
    cell.cost === null || cell.status === "running" ? "" : dollars(cell.cost).replace("~", "about "),
  ].filter(Boolean);
}

/** @type {Record<Edit["action"], string>} */
const CHANGED = { edit: "its text is edited", drop: "to be dropped", again: "to be asked again" };
/** @type {Partial<Record<CellState, string>>} */
const LASTED = { running: "for", retrying: "for", failed: "after", "cut off": "after" };

/** @param {Received} cell */
const isStoppedPart = ({ stopped, text }) => Boolean(stopped && text);

/** @param {Received} cell */
function specialFacts(cell) {
  const attempts = cell.attempts ?? 1;
  return [
    cell.fallback ? `served by its fallback ${cell.fallback}` : "",
    isOtherwiseNamed(cell) ? `reported by its provider as ${cell.served_model}` : "",
    cell.hedged ? "hedged: a second request was sent because the first was slow" : "",
    cell.cached ? "from the cache" : "",
    cell.reused ? "reused from an earlier run" : "",
    attempts > 1 ? `${attempts} requests` : "",
    cell.ending_note ?? "",
    isStoppedPart(cell) ? "stopped by a person: this part is not stored" : "",
    cell.retrying ? "asked again after a failure" : "",
    cell.critical ? "waited for" : "",
  ];
}

/**
 * Return whether the provider reports a model other than the requested model.
 * @param {Received} cell
 */
const isOtherwiseNamed = ({ model, served_model: served }) =>
  Boolean(served) && served !== model && !model.endsWith(`:${served}`);

/** @param {Received} cell */
function tokens(cell) {
  if (cell.written === null) return "";
  const about = cell.status === "running" ? "about " : "";
  const wrote = `wrote ${about}${count(cell.written)} tokens`;
  return cell.read === null ? wrote : `read ${count(cell.read)}, ${wrote}`;
}

/**
 * Explain why a call has no complete text.
 * @param {Received} cell
 * @param {RunModel} model
 */
export function failureBox(cell, model) {
  const cut = cell.status === "cut off";
  const [first, ...rest] = (cell.error ?? "").split("\n");
  return h("div", { class: `box ${cut ? "warn" : "bad"}`, role: "note" },
    h("h3", {}, icon(cut ? "cut" : "bad"), cut ? "Cut off" : "Failed"),
    h("p", {}, first),
    ...rest.filter(Boolean).map((line) => h("p", {}, line)),
    consequence(cell, model));
}

/**
 * Explain the effect of a failed call on its layer.
 * @param {Received} cell
 * @param {RunModel} model
 */
function consequence(cell, model) {
  const rule = model.layout?.layers[cell.layer - 1];
  if (!rule || cell.node === AGGREGATOR) return null;
  const layer = model.layer(cell.layer);
  const answered = layer.filter((each) => each.status === "answered").length;
  const numbers = `${answered} of ${layer.length} answered, ${rule.needed} needed.`;
  if (answered >= rule.needed) return h("p", {}, `The layer went on without it: ${numbers}`);
  return h("p", {}, `The layer missed its quorum: ${numbers}`);
}
