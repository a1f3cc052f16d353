// Summaries of a run: totals, progress and outcome.

import { count, dollars } from "./dom.js";
import { AGGREGATOR } from "./run_model.js";

/** @import { Received, RunModel } from "./run_model.js" */
/** @import { Edit, Step, View } from "./types.js" */
/** @typedef {Pick<RunModel, "cells" | "last" | "layer" | "proposers">} Cells */

const AND = new Intl.ListFormat("en-GB");
const NAMED = 3; // maximum number of named agents
const SILENCE = 30_000; // milliseconds without output after which an agent is reported as silent

/**
 * Return the tokens and the cost of all calls so far.
 * @param {Cells} picture
 * @param {boolean} running
 */
export function totals(picture, running) {
  const cells = [...picture.cells.values()];
  const tokens = cells.reduce((sum, cell) => sum + (cell.read ?? 0) + (cell.written ?? 0), 0);
  const known = cells.filter((cell) => cell.cost !== null);
  const cost = known.reduce((sum, cell) => sum + (cell.cost ?? 0), 0);
  const unknown = cells.some((cell) => cell.status === "answered" && cell.cost === null);
  const parts = [`${running ? "~" : ""}${count(tokens)} tokens`];
  if (known.length) parts.push(`${unknown ? "at least " : ""}${dollars(cost)}`);
  else if (unknown) parts.push("cost not known");
  return parts.join(" · ");
}

/**
 * Describe the progress of a run, and name the running agents.
 * @param {Cells} picture
 * @param {number} [now] by this page's clock
 */
export function progress(picture, now = performance.now()) {
  const active = [...picture.cells.values()].filter((cell) => cell.status === "running");
  if (!active.length) return "Running.";
  const { layer, node } = active[0];
  const silent = active.filter((cell) => silentFor(cell, now) >= SILENCE);
  if (node === AGGREGATOR) {
    if (silent.length) return `Still waiting for the aggregator (silent for ${silence(silent[0], now)}).`;
    return active[0].text ? "The answer is coming." : "Waiting for the aggregator.";
  }
  const cells = picture.layer(layer);
  const answered = cells.filter((cell) => cell.status === "answered").length;
  const waited = silent.length ? silent : active;
  const names = waited.slice(0, NAMED)
    .map((cell) => (silent.length ? `${cell.agent} (silent for ${silence(cell, now)})` : cell.agent));
  const more = waited.length > NAMED ? [`${waited.length - NAMED} more`] : [];
  const waiting = silent.length ? "still waiting" : "waiting";
  return `Layer ${layer}: ${answered} of ${cells.length} answered, ${waiting} for ${AND.format([...names, ...more])}.`;
}

/**
 * Return the milliseconds since the last output of a running agent, or since its call.
 * @param {Received} cell
 * @param {number} now
 */
const silentFor = (cell, now) => now - cell.at + (cell.text ? 0 : (cell.seconds ?? 0) * 1000);

/**
 * Format the silence in steps of half a minute, so that screen readers rarely announce a change.
 * @param {Received} cell
 * @param {number} now
 */
const silence = (cell, now) => `${Math.floor(silentFor(cell, now) / SILENCE) * (SILENCE / 1000)} s`;

/**
 * Describe the outcome of a run, or the shown step.
 * @param {Cells} picture
 * @param {Pick<View, "finished" | "newest" | "error">} view
 * @param {Step | undefined} step
 */
export function outcome(picture, view, step) {
  if (step && !view.newest) return `Step: ${step.label}.`;
  const aggregator = picture.cells.get(AGGREGATOR);
  if (aggregator?.status === "failed" || (!view.finished && view.error)) return "Not answered.";
  if (!view.finished) return "Not finished.";
  const { proposers } = picture;
  if (isOffline(picture)) return "Quoted from your text. No language model was asked.";
  const asked = proposers.filter((cell) => cell.status !== "skipped").length;
  const answered = proposers.filter((cell) => cell.status === "answered").length;
  if (asked < 2) return "Answered.";
  return `Answered by ${answered < asked ? `${answered} of` : "all"} ${asked} proposers.`;
}

/**
 * Return whether no agent is a language model.
 * @param {Cells} picture
 */
export function isOffline(picture) {
  const cells = [...picture.cells.values()];
  return cells.length > 0 && cells.every((cell) => cell.model.startsWith("offline:"));
}

/**
 * Describe the unsent changes, or the shown step.
 * @param {Pick<RunModel, "cells" | "step">} model
 * @param {Map<string, Edit>} edits
 */
export function changes({ cells, step }, edits) {
  const words = { edit: "edited", drop: "dropped", again: "to be asked again" };
  const all = [...edits].map(([node, edit]) => `${cells.get(node)?.agent} ${words[edit.action]}`);
  return all.length ? `${step?.layer ? `Layer ${step.layer}` : "Changed"}: ${all.join(", ")}.`
    : `An earlier step: ${step?.label.toLowerCase() ?? "of this thread"}.`;
}
