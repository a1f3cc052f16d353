// Runs as the page holds them.

import { RunModel } from "#page/run_model.js";

import { makeCell, makeCells, makeLayout } from "./cells.js";

/** @import { Cell, View } from "#page/types.js" */

const STEPS = ["Question", "Layer 1 answered", "Layer 1 gathered", "Layer 2 answered", "Layer 2 gathered", "Answer"];

/** The steps of a turn of two layers. */
export const steps = STEPS.map((label, index) => ({
  ...{ id: `s${index}`, label, when: "2026-01-01T00:00:00Z", turn: 1 },
  layer: label.endsWith("answered") ? Number(label[6]) : null,
}));

/**
 * Make a run of two layers that has ended, by default with an answer of all.
 * @param {Partial<Cell>[]} known cells that differ, by layer and agent
 * @param {Partial<View>} view
 */
export function makeModel(known = [], view = {}, agents = ["a", "b"]) {
  const model = new RunModel();
  const cells = makeCells(agents, 2).map((cell) => {
    const own = known.find((each) => each.agent === cell.agent && (each.layer ?? cell.layer) === cell.layer);
    const text = `${cell.agent} said ${cell.layer}`;
    const took = { seconds: 1, read: 100, written: 10, cost: 0.01 };
    const { layer } = cell;
    return makeCell({ ...cell, status: "answered", text, html: [`<p>${text}</p>`], ...took, ...own, layer });
  });
  const shown = {
    ...{ id: "t", mixture: "mixture", finished: true, running: false, newest: true, steps, branches: [] },
    ...{ step: "s5", messages: [{ role: "human", text: "why?" }], layout: makeLayout(agents, 2), cells, seconds: 3 },
  };
  model.load({ ...shown, ...view }, view.newest === false, 0);
  return model;
}

/**
 * Find a button by what it says.
 * @param {ParentNode} root
 * @param {string} label
 */
export const button = (root, label) =>
  /** @type {HTMLButtonElement | undefined} */ ([...root.querySelectorAll("button")].find((each) =>
    each.textContent === label || each.getAttribute("aria-label") === label));
