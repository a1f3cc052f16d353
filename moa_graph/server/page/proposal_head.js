// The head of a proposal: its name, and buttons to the proposals next to it.

import { nameOf } from "./call_facts.js";
import { h } from "./dom.js";
import { icon } from "./icons.js";

/** @import { Received, RunModel } from "./run_model.js" */

/**
 * @param {RunModel} model
 * @param {Received} cell
 * @param {(node: string) => void} select show another proposal
 */
export function proposalHead(model, cell, select) {
  const row = model.layer(cell.layer);
  const at = row.findIndex((each) => each.node === cell.node);
  /** @type {(label: string, name: "left" | "right", step: number) => HTMLElement} */
  const way = (label, name, step) => h("button", {
    type: "button", class: "icon quiet", "aria-label": label, "data-go": step,
    onclick: (event) => go(event, () => select(row[(at + step + row.length) % row.length].node)),
  }, icon(name));
  const ways = row.length > 1 ? [way("Proposal before", "left", -1), way("Next proposal", "right", 1)] : [];
  return h("div", { class: "head" }, h("h2", {}, nameOf(cell, model)), ways);
}

/**
 * Show the next or previous proposal, and keep the focus on the same button.
 * @param {Event} event
 * @param {() => void} select
 */
function go(event, select) {
  const step = /** @type {HTMLElement} */ (event.currentTarget).dataset.go;
  const pane = /** @type {HTMLElement} */ (event.currentTarget).closest(".pane");
  select();
  /** @type {HTMLElement | null | undefined} */
  const button = pane?.querySelector(`[data-go="${step}"]`);
  button?.focus();
}
