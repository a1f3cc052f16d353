// Mixtures and their cells, as the server sends them.

/** @import { Cell, Layout } from "#page/types.js" */

/**
 * Make a cell: one that waits, in the first layer, until more is known.
 * @param {Partial<Cell>} known
 * @returns {Cell}
 */
export function makeCell(known = {}) {
  const { layer = 1, agent = "a" } = known;
  const result = { error: null, seconds: null, read: null, written: null, cost: null };
  const node = agent === "aggregator" ? agent : `layer_${layer}_${agent}`;
  return { node, layer, agent, model: "m", status: "waiting", ...result, critical: false, text: "", ...known };
}

/**
 * Make the cells of layers that have the same agents, and of the aggregator.
 * @param {string[]} agents
 * @param {number} layers
 */
export function makeCells(agents, layers) {
  const numbers = Array.from({ length: layers }, (_, index) => index + 1);
  const proposers = numbers.flatMap((layer) => agents.map((agent) => makeCell({ layer, agent })));
  return [...proposers, makeCell({ layer: layers + 1, agent: "aggregator" })];
}

/**
 * Make the layout of such layers.
 * @param {string[]} agents
 * @param {number} layers
 * @returns {Layout}
 */
export const makeLayout = (agents, layers) => ({
  name: "mixture",
  layers: Array.from({ length: layers }, () => ({ asked: agents.length, needed: 1 })),
  aggregator: "m",
});
