// What is said of a run as a whole.

import { count, dollars } from "./dom.js";

/** @import { Picture, Received } from "./picture.js" */
/** @import { Edit, Step, View } from "./types.js" */
/** @typedef {Pick<Picture, "cells" | "last" | "layer">} Cells */

const NAMED = 3; // agents that are waited for
const SILENCE = 30_000; // milliseconds after which an agent that says nothing is told to be waited for still

/**
 * Tell tokens and cost of all calls so far.
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
 * Say what a run is waiting for.
 * @param {Cells} picture
 * @param {number} [now] by this page's clock
 */
export function progress(picture, now = performance.now()) {
  const active = [...picture.cells.values()].filter((cell) => cell.status === "running");
  if (!active.length) return "Running.";
  const { layer } = active[0];
  const silent = active.filter((cell) => silentFor(cell, now) >= SILENCE);
  if (layer === picture.last) {
    if (silent.length) return `Still waiting for the aggregator (silent for ${silence(silent[0], now)}).`;
    return active[0].text ? "The answer is coming." : "The aggregator is asked.";
  }
  const cells = picture.layer(layer);
  const answered = cells.filter((cell) => cell.status === "answered").length;
  const waited = silent.length ? silent : active;
  const names = waited.slice(0, NAMED)
    .map((cell) => (silent.length ? `${cell.agent} (silent for ${silence(cell, now)})` : cell.agent)).join(", ");
  const more = waited.length > NAMED ? ` and ${waited.length - NAMED} more` : "";
  const waiting = silent.length ? "still waiting" : "waiting";
  return `Layer ${layer}: ${answered} of ${cells.length} answered, ${waiting} for ${names}${more}.`;
}

/**
 * Give the milliseconds since a running agent last wrote something, or was asked.
 * @param {Received} cell
 * @param {number} now
 */
const silentFor = (cell, now) => now - cell.at + (cell.text ? 0 : (cell.seconds ?? 0) * 1000);

/**
 * Tell that in half minutes: what is read aloud changes seldom.
 * @param {Received} cell
 * @param {number} now
 */
const silence = (cell, now) => `${Math.floor(silentFor(cell, now) / SILENCE) * (SILENCE / 1000)} s`;

/**
 * Say how a run ended, or which of its steps is shown.
 * @param {Cells} picture
 * @param {Pick<View, "finished" | "newest" | "error">} view
 * @param {Step | undefined} step
 */
export function outcome(picture, view, step) {
  if (step && !view.newest) return `Step: ${step.label}.`;
  const aggregator = picture.cells.get("aggregator");
  if (aggregator?.status === "failed") return "The aggregator failed. The proposals are kept; Resume asks it again.";
  if (!view.finished && view.error) return "Failed, as told below. What was answered is kept; Resume asks the rest.";
  if (!view.finished) return "Not finished. What was answered is kept; Resume asks for the rest.";
  const proposers = [...picture.cells.values()].filter((cell) => cell.layer < picture.last);
  const missing = proposers.filter((cell) => ["failed", "cut off"].includes(cell.status)).length;
  if (isOffline(picture)) return "Quoted from your text. No language model was asked.";
  return missing ? `Answered without ${missing} of ${proposers.length} proposals.` : "Answered.";
}

/**
 * Head the place of the answer: what stands there, and how it is to look.
 * @param {Cells} picture
 * @param {boolean} running
 * @param {string | null} failure why there is no answer
 * @returns {[kind: string, title: string]}
 */
export function answerTitle(picture, running, failure) {
  const text = picture.cells.get("aggregator")?.text;
  if (failure && !text && !running) return ["failed", "No answer"];
  if (!text && !running) return ["missing", "No answer yet"];
  return isOffline(picture) ? ["quoted", "Quotes"] : ["answered", "Answer"];
}

/**
 * Whether no agent is a language model.
 * @param {Cells} picture
 */
export function isOffline(picture) {
  const cells = [...picture.cells.values()];
  return cells.length > 0 && cells.every((cell) => cell.model.startsWith("offline:"));
}

/**
 * Say which proposals were changed, and what follows of it.
 * @param {Cells} picture
 * @param {Map<string, Edit>} edits
 */
export function changes(picture, edits) {
  const words = { edit: "edited", drop: "dropped", again: "asked again" };
  const all = [...edits].map(([node, edit]) => `${picture.cells.get(node)?.agent} ${words[edit.action]}`);
  return all.length ? `Changed: ${all.join(", ")}. What came after is asked anew.`
    : "An earlier step. Going on from here asks anew what came after.";
}
