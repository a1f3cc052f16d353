// Estimates of changes: the number of calls, and their approximate cost.

import { count } from "./dom.js";

/** @import { RunModel } from "./run_model.js" */
/** @import { Cell, Edit, Layout } from "./types.js" */
/** @typedef {Pick<Cell, "node" | "layer" | "agent" | "status" | "cost">} Call */

/**
 * @typedef {object} Cost
 * @property {number} calls
 * @property {number | null} cost estimated US dollars; `null` if no price is known
 * @property {boolean} complete whether the price of each call is known
 */

/** Costs of the calls of the current thread, including calls that its earlier steps do not contain. */
export class KnownCosts {
  constructor() {
    /** @type {Map<string, number>} */
    this.byNode = new Map();
    /** @type {string | null} */
    this.thread = null;
  }

  /**
   * Store the costs of calls of a thread; costs of another thread are deleted.
   * @param {string | null} thread
   * @param {Iterable<Call>} calls
   */
  learn(thread, calls) {
    if (thread !== this.thread) this.byNode.clear();
    this.thread = thread;
    for (const { node, cost } of calls) if (cost !== null) this.byNode.set(node, cost);
  }

  /**
   * Estimate the cost of a call: its previous cost, the mean cost of the same agent, or the mean cost of
   * all calls.
   * @param {Call} call
   * @param {Call[]} all calls of the run
   */
  estimate(call, all) {
    const own = call.cost ?? this.byNode.get(call.node);
    if (own !== undefined) return own;
    const known = all.flatMap((each) => {
      const cost = each.cost ?? this.byNode.get(each.node);
      return cost === undefined ? [] : [{ ...each, cost }];
    });
    const same = known.filter((each) => each.agent === call.agent);
    return mean((same.length ? same : known).map((each) => each.cost));
  }
}

export const knownCosts = new KnownCosts();

/**
 * List the calls of a run that continues from a layer: its agents marked for a new call, and all calls of
 * later layers.
 * @template {Call} C
 * @param {number} layer
 * @param {Iterable<C>} calls
 * @param {Map<string, Edit>} edits
 * @returns {C[]}
 */
export function askedFrom(layer, calls, edits = new Map()) {
  return [...calls].filter((call) => call.layer > layer
    || (call.layer === layer && edits.get(call.node)?.action === "again"));
}

/**
 * List the calls of a resumed run: the waiting calls, and the failed calls of a layer that missed its
 * quorum.
 * @template {Call} C
 * @param {Iterable<C>} calls
 * @param {Pick<Layout, "layers">} layout
 * @returns {C[]}
 */
export function askedByResume(calls, layout) {
  const all = [...calls];
  const reached = Math.max(1, ...all.filter((call) => call.status !== "waiting").map((call) => call.layer));
  const front = all.filter((call) => call.layer === reached);
  const hoped = front.filter((call) => call.status === "answered" || call.status === "waiting").length;
  const isLost = hoped < (layout.layers[reached - 1]?.needed ?? 1);
  return all.filter((call) => call.status === "waiting"
    || (isLost && call.layer === reached && (call.status === "failed" || call.status === "cut off")));
}

/**
 * Sum up the estimated costs of calls.
 * @param {Call[]} asked
 * @param {Call[]} all
 * @param {KnownCosts} known
 * @returns {Cost}
 */
export function costOf(asked, all, known) {
  const costs = asked.map((call) => known.estimate(call, all));
  const priced = costs.filter((cost) => cost !== null);
  const cost = priced.length ? priced.reduce((sum, each) => sum + each, 0) : null;
  return { calls: asked.length, cost, complete: priced.length === asked.length };
}

/**
 * Estimate the cost of continuing from the current step with its changes.
 * @param {RunModel} model
 */
export function costOfChange(model) {
  const all = [...model.cells.values()];
  knownCosts.learn(model.thread, all);
  return costOf(askedFrom(model.step ? model.stopOf(model.step) : 0, all, model.edits), all, knownCosts);
}

/**
 * Format a cost: `7 calls, about $0.016`.
 * @param {Cost} cost
 */
export function writeCost({ calls, cost, complete }) {
  const number = `${count(calls)} ${calls === 1 ? "call" : "calls"}`;
  if (!calls) return "no call";
  if (cost === null) return `${number}, of unknown cost`;
  if (cost === 0 && complete) return `${number}, free`;
  return `${number}, ${complete ? "about" : "at least"} ${writeDollars(cost)}`;
}

/** @param {number} value */
function writeDollars(value) {
  if (value < 0.0001) return "$0.0001";
  return `$${value < 0.1 ? value.toFixed(value < 0.01 ? 4 : 3) : value.toFixed(2)}`;
}

/** @param {number[]} values */
const mean = (values) => (values.length ? values.reduce((sum, each) => sum + each, 0) / values.length : null);
