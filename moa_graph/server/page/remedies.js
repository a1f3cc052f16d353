// Remedies of a turn that failed or ended too early, other than to resume it as it is, with their cost.

import { askedFrom, costOf, knownCosts, writeCost } from "./cost_of_change.js";
import { count, h } from "./dom.js";
import { icon } from "./icons.js";

/** @import { RunModel } from "./run_model.js" */
/** @import { Resumption } from "./types.js" */

/**
 * @typedef {object} RemedyActions
 * @property {(how?: Resumption) => void} resume
 * @property {(limit: number) => void} writeLonger call the aggregator again with a larger limit of tokens
 */

/**
 * Offer the other models of the mixture in place of a failed aggregator.
 * @param {RunModel} model
 * @param {RemedyActions} actions
 */
export function otherAggregators(model, { resume }) {
  const models = model.view?.failure?.aggregators ?? [];
  if (!models.length) return null;
  const items = models.map((name) => h("li", {},
    h("button", { type: "button", onclick: () => resume({ aggregator: name }) }, name),
    h("span", { class: "small" }, writeCost(costOfAggregator(model, name)))));
  const summary = h("summary", {}, "Another aggregator…");
  const choice = h("details", { class: "choice" }, summary, h("ul", {}, items));
  choice.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !choice.open) return;
    event.stopPropagation();
    choice.open = false;
    summary.focus();
  });
  return choice;
}

/**
 * Estimate an answer of another model by its proposals.
 * @param {RunModel} model
 * @param {string} name
 */
function costOfAggregator({ aggregator, cells, last }, name) {
  const all = [...cells.values()].filter((cell) => cell !== aggregator);
  const agent = all.find((cell) => cell.model === name)?.agent ?? name;
  const call = { node: `aggregator ${name}`, layer: last, agent, status: /** @type {const} */ ("waiting"), cost: null };
  return costOf([call], all, knownCosts);
}

/**
 * Offer to go on with the answers of a layer that lacks its quorum.
 * @param {RunModel} model
 * @param {RemedyActions} actions
 */
export function goOnWithout(model, { resume }) {
  const answers = model.view?.failure?.answers;
  if (!answers) return null;
  return h("button", { type: "button", onclick: () => resume({ lower_quorum: true }) }, `Go on with ${count(answers)}`);
}

/**
 * Describe what it costs to go on with the answers of a layer that lacks its quorum.
 * @param {RunModel} model
 * @param {string} most the words before a number of calls that may be smaller
 */
export function priceWithout({ cells, view }, most) {
  const { answers, asks = [] } = view?.failure ?? {};
  const layer = cells.get(asks[0] ?? "")?.layer;
  if (!answers || !layer) return "";
  const all = [...cells.values()];
  return `Going on with ${count(answers)} makes ${most}${writeCost(costOf(askedFrom(layer, all), all, knownCosts))}, `
    + "and the answer is degraded.";
}

/**
 * Offer to write an answer again that ended at its limit. It cannot be continued, as an answer is a single call.
 * @param {RunModel} model
 * @param {RemedyActions} actions
 */
export function writeLonger(model, actions) {
  const limit = model.view?.larger_limit;
  const cell = model.aggregator;
  if (!limit || !cell || model.running) return null;
  knownCosts.learn(model.thread, model.cells.values());
  const cost = costOf([cell], [...model.cells.values()], knownCosts);
  const price = writeCost({ ...cost, complete: cost.cost === 0 }); // a longer answer costs more
  return h("div", { class: "row" },
    h("button", { type: "button", onclick: () => actions.writeLonger(limit) },
      icon("again"), `Write it again with up to ${count(limit)} tokens`),
    h("span", { class: "small" }, price));
}
