// The columns of the picture: layers of proposers, helpers of the aggregator, and the aggregator.

import { AGGREGATOR } from "./run_model.js";

/** @import { Received, RunModel } from "./run_model.js" */

/**
 * @typedef {object} Column
 * @property {number} number number of the layer
 * @property {string} name
 * @property {Received[]} cells
 * @property {boolean} gathers whether a layer aggregator gathers its answers
 * @property {number} needed required number of answers
 */

/** @type {[RegExp, string][]} names of those who help the aggregator, by their nodes */
const HELPERS = [[/^window_\d+$/, "Windows"], [/^vote_/, "Votes"], [/^analysis$/, "Analysis"]];

/**
 * @param {RunModel} model
 * @returns {Column[]}
 */
export function columnsOf(model) {
  const numbers = [...new Set([...model.cells.values()].map((cell) => cell.layer))];
  return numbers.map((number) => {
    const cells = model.layer(number);
    const rule = model.layout?.layers[number - 1];
    return { number, name: nameOfLayer(number, model), cells, gathers: rule !== undefined, needed: rule?.needed ?? 1 };
  });
}

/**
 * Name a layer: `Layer 1`, `Votes`, `Aggregator`.
 * @param {number} number
 * @param {RunModel} model
 */
export function nameOfLayer(number, model) {
  return model.layout?.layers[number - 1] ? `Layer ${number}` : nameOf(model.layer(number)[0]?.node ?? "");
}

/** @param {string} node */
function nameOf(node) {
  if (node === AGGREGATOR) return "Aggregator";
  return HELPERS.find(([pattern]) => pattern.test(node))?.[1] ?? "Helpers";
}

/**
 * Explain why layers were skipped; return nothing if all layers ran.
 * @param {RunModel} model
 */
export function skippedBy(model) {
  const depth = model.view?.depth;
  if (!depth || depth.layers >= depth.of) return null;
  const proposals = `${depth.skipped} ${depth.skipped === 1 ? "call was" : "calls were"} skipped`;
  const why = depth.why ? `: ${depth.why}` : "";
  if (depth.route && depth.route !== "full") return `The router skipped the layers${why}. ${proposals}.`;
  const where = depth.layers ? `after layer ${depth.layers} of ${depth.of}` : "before the first layer";
  return `The layers ended ${where}${why}. ${proposals}.`;
}
