// The header: the title of the thread, and the tokens, cost and time of its run.

import { byId, h, seconds, show } from "./dom.js";
import { totals } from "./summary.js";

/** @import { RunModel } from "./run_model.js" */
/** @import { View } from "./types.js" */

/**
 * Draw the title of the thread, and the tokens, cost and time of its run.
 * @param {RunModel} model
 */
export function drawHeader(model) {
  const { layout, view } = model;
  const title = view ? titleOf(view) : "New thread";
  byId("title").textContent = title;
  const sign = model.running ? "● " : model.failure ? "! " : "";
  document.title = view ? `${sign}${title.slice(0, 80)}` : "Mixture-of-Agents";
  show(byId("report"), Boolean(view?.step) && !model.running);
  const degraded = view?.outcome === "degraded" && !model.running ? h("span", { class: "warn" }, "degraded · ") : "";
  if (layout) byId("totals").replaceChildren(degraded, h("span", { id: "clock" }), " · ", totals(model, model.running));
  else byId("totals").textContent = view ? "" : "No question yet";
  drawClock(model);
}

/** @param {View} view */
const titleOf = ({ messages, title }) =>
  (title || messages.find(({ role }) => role === "human")?.question || "Thread").slice(0, 200);

/**
 * Update the clock.
 * @param {RunModel} model
 */
export function drawClock(model) {
  const clock = document.getElementById("clock");
  if (clock) clock.textContent = seconds(model.seconds());
}
