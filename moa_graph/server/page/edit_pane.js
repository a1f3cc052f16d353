// The editor of a proposal.

import { ChangeButtons } from "./change_buttons.js";
import { h } from "./dom.js";
import { icon } from "./icons.js";
import { proposalHead } from "./proposal_head.js";
import { diffText } from "./word_diff.js";

/** @import { Received, RunModel } from "./run_model.js" */
/** @import { Kind, Places, SideActions } from "./side.js" */

export class EditPane {
  /**
   * @param {SideActions} actions
   * @param {(kind: Kind, node: string) => void} open
   */
  constructor(actions, open) {
    this.actions = actions;
    this.open = open;
    this.buttons = new ChangeButtons(actions, open);
    /** @type {Map<string, string>} */
    this.drafts = new Map(); // unsaved texts, by node
    /** @type {HTMLTextAreaElement | null} */
    this.field = null;
    /** @type {Map<string, string> | null} */
    this.shown = null; // the drafts of the step that the field belongs to
    this.warning = h("p", { class: "small warn", role: "status" });
  }

  /**
   * @param {Places} places
   * @param {RunModel} model
   * @param {string | null} node
   */
  draw(places, model, node) {
    const cell = model.cells.get(node ?? "");
    if (!cell || model.changeable(cell) !== "here") {
      this.drafts.delete(node ?? "");
      this.open("proposal", node ?? "");
      return;
    }
    const isShown = this.field?.dataset.of === cell.node && this.shown === this.drafts;
    if (isShown && places.pane.contains(this.field)) return; // keep the field and its cursor
    this.build(places, model, cell);
  }

  /**
   * @param {Places} places
   * @param {RunModel} model
   * @param {Received} cell
   */
  build({ pane, acts }, model, cell) {
    const field = h("textarea", { id: "edit", rows: 10, "data-of": cell.node, dir: "auto" });
    field.value = this.drafts.get(cell.node) ?? model.edits.get(cell.node)?.text ?? cell.text;
    const changed = h("div", { class: "text diff" });
    const drawChange = () => changed.replaceChildren(...diffText(cell.text, field.value));
    field.addEventListener("input", () => {
      this.drafts.set(cell.node, field.value);
      this.warning.textContent = "";
      drawChange();
    });
    field.addEventListener("keydown", (event) => this.press(event, cell));
    drawChange();
    [this.field, this.shown, this.warning.textContent] = [field, this.drafts, ""];
    pane.replaceChildren(
      proposalHead(model, cell, this.actions.select),
      h("label", { for: "edit", class: "small" }, h("strong", {}, "Text for the next layer")), field,
      this.warning, h("h3", {}, "Your change"), changed);
    const { others, price } = this.buttons.insteadOfText(model, cell, () => this.cancel(cell));
    acts.replaceChildren(price,
      h("button", { type: "button", class: "primary", onclick: () => this.save(cell) }, icon("ok"), "Keep"),
      h("button", { type: "button", onclick: () => this.cancel(cell) }, "Cancel"), ...others);
  }

  /**
   * @param {KeyboardEvent} event
   * @param {Received} cell
   */
  press(event, cell) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.save(cell);
    if (event.key !== "Escape") return;
    event.stopPropagation(); // do not close the panel
    if (!this.drafts.has(cell.node) || this.warning.textContent) this.cancel(cell);
    else this.warning.textContent = "Not kept yet. Press Esc again to discard your text, or Ctrl and Enter to keep it.";
  }

  /** @param {Received} cell */
  save(cell) {
    const text = this.field?.value ?? "";
    this.drafts.delete(cell.node);
    this.open("proposal", cell.node);
    if (text.trim()) this.actions.edit(cell.node, { action: "edit", text });
    else this.actions.edit(cell.node, { action: "drop" });
  }

  /** @param {Received} cell */
  cancel(cell) {
    this.drafts.delete(cell.node);
    this.open("proposal", cell.node);
  }
}
