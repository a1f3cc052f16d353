// Buttons that change a call, with the estimated cost of each change.

import { askedFrom, costOf, knownCosts, writeCost } from "./cost_of_change.js";
import { copyButton } from "./copy.js";
import { h } from "./dom.js";
import { icon } from "./icons.js";
import { AGGREGATOR } from "./run_model.js";

/** @import { IconName } from "./icons.js" */
/** @import { Received, RunModel } from "./run_model.js" */
/** @import { Kind, SideActions } from "./side.js" */
/** @import { Edit } from "./types.js" */

export class ChangeButtons {
  /**
   * @param {SideActions} actions
   * @param {(kind: Kind, node: string) => void} open
   */
  constructor(actions, open) {
    this.actions = actions;
    this.open = open;
  }

  /**
   * @param {RunModel} model
   * @param {Received} cell
   * @returns {HTMLElement[]}
   */
  draw(model, cell) {
    knownCosts.learn(model.thread, model.cells.values());
    const copy = cell.text ? [copyButton(() => cell.text)] : [];
    if (cell.node === AGGREGATOR) return [...this.again(model), ...copy];
    if (!model.changeable(cell)) return copy;
    const edit = model.edits.get(cell.node);
    return [this.price(model, cell), ...this.changes(model, cell, edit), ...copy];
  }

  /**
   * Return the alternatives to an edit: a drop or a new call, and their cost.
   * @param {RunModel} model
   * @param {Received} cell
   * @param {() => void} leave closes the editor
   * @returns {{ price: HTMLElement, others: HTMLElement[] }}
   */
  insteadOfText(model, cell, leave) {
    const price = this.price(model, cell);
    const change = (/** @type {"drop" | "again"} */ action) => () => {
      leave();
      this.actions.edit(cell.node, { action });
    };
    const others = [button("Drop", "drop", change("drop"), "danger"), button("Ask again", "again", change("again"))];
    return { price, others: cell.text ? others : others.slice(1) };
  }

  /**
   * @param {RunModel} model
   * @param {Received} cell
   * @param {Edit | undefined} edit
   */
  changes(model, cell, edit) {
    const { node } = cell;
    const isHere = () => model.changeable(model.cells.get(node) ?? cell) === "here";
    /** @type {(action: () => void) => () => Promise<void>} */
    const there = (action) => async () => {
      if (!isHere()) await this.actions.goTo(node);
      if (isHere()) action(); // otherwise the page shows why the step could not be loaded
    };
    /** @type {(action: Edit["action"]) => () => Promise<void>} */
    const note = (action) => there(() => this.actions.edit(node, { action }));
    const written = cell.text ? "Edit" : "Write it yourself";
    const all = [
      edit ? button("Undo", "left", () => this.actions.undo(node)) : null,
      button(written, "edit", there(() => this.open("edit", node))),
      edit?.action === "drop" || !cell.text ? null : button("Drop", "drop", note("drop"), "danger"),
      edit?.action === "again" ? null : button("Ask again", "again", note("again")),
    ];
    return all.filter((each) => each !== null);
  }

  /**
   * Estimate the calls that a change causes. The calls are made when the run continues.
   * @param {RunModel} model
   * @param {Received} cell
   */
  price(model, cell) {
    const all = [...model.cells.values()];
    const later = askedFrom(cell.layer, all);
    const change = costOf(later, all, knownCosts);
    const again = costOf([cell, ...later], all, knownCosts);
    const most = model.layout?.early_stop ? "at most " : "";
    return h("p", { class: "small dim" }, "When you continue, an edit or a drop makes ",
      h("strong", {}, `${most}${writeCost(change)}`), "; asking again makes ",
      h("strong", {}, `${most}${writeCost(again)}`), ".");
  }

  /**
   * Return the button that calls the aggregator again, with its cost.
   * @param {RunModel} model
   */
  again(model) {
    const cell = model.aggregator;
    const isAfterLayers = model.steps.some((step) => step.label.endsWith("gathered"));
    if (!cell || model.running || !isAfterLayers || cell.status === "waiting") return [];
    const cost = costOf([cell], [...model.cells.values()], knownCosts);
    return [
      h("p", { class: "small dim" }, "Writing it again makes ", h("strong", {}, writeCost(cost)),
        ", and adds a branch."),
      button("Write it again", "again", () => this.actions.writeAgain()),
    ];
  }
}

/**
 * @param {string} label
 * @param {IconName} name
 * @param {() => void} onclick
 * @param {string | null} tone
 */
function button(label, name, onclick, tone = null) {
  return h("button", { type: "button", class: tone, onclick }, icon(name), label);
}
