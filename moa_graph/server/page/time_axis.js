// The start and end of each call of a run, and the ticks of the time axis.

/** @import { Received, RunModel } from "./run_model.js" */

/**
 * @typedef {object} Span
 * @property {Received} cell
 * @property {number} begin seconds since the run began
 * @property {number} end
 * @property {boolean} guessed whether the start is unknown, and assumed to be the end of the previous layer
 */

const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600];
const MARKS = 5; // maximum number of ticks after 0

/**
 * Return the spans of the calls that have begun.
 * @param {RunModel} model
 * @returns {Span[]}
 */
export function spansOf(model) {
  /** @type {Span[]} */
  const spans = [];
  const layers = [...new Set([...model.cells.values()].map((cell) => cell.layer))];
  for (const layer of layers) {
    const before = Math.max(0, ...spans.map((span) => span.end));
    const read = spans.filter(({ cell }) => cell.status === "answered").map((span) => span.end);
    const earliest = Math.max(0, ...read); // the start of a reused call belongs to another run
    for (const cell of model.layer(layer)) {
      const took = model.elapsed(cell);
      if (took === null || ["waiting", "skipped", "dropped"].includes(cell.status)) continue;
      const begin = Math.max(cell.began ?? before, earliest);
      spans.push({ cell, begin, end: begin + took, guessed: cell.began === undefined || cell.began === null });
    }
  }
  return spans;
}

/**
 * Choose round ticks for an axis.
 * @param {number} end
 */
export function ticks(end) {
  const step = STEPS.find((each) => end / each <= MARKS) ?? end;
  const number = Math.floor(end / step + 1e-9);
  return Array.from({ length: number + 1 }, (_, index) => Number((index * step).toFixed(1)));
}
