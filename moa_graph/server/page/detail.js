// One agent's text in full, and what can be done about it.

import { count, dollars, find, h, seconds, show } from "./dom.js";
import { render } from "./markdown.js";

/** @import { Cell, Edit } from "./types.js" */
/** @typedef {"here" | "before" | null} Changeable at the step that is shown, at an earlier one, or not */

/**
 * What can be done: note a change, forget it, step back to where it can be made.
 * @typedef {object} Actions
 * @property {(node: string, edit: Edit) => void} edit
 * @property {(node: string) => void} undo
 * @property {(cell: Cell) => void} goTo
 */

export class Detail {
  /**
   * @param {HTMLElement} root
   * @param {Actions} actions
   */
  constructor(root, actions) {
    this.root = root;
    this.actions = actions;
    /** @type {Map<string, string>} */
    this.drafts = new Map(); // texts that are being written, by node
    /** @type {string | null} */
    this.key = null; // what is drawn, but for the text
    this.meta = h("p", { class: "meta" });
    this.text = h("div", { class: "text" });
    /** @type {HTMLTextAreaElement | null} */
    this.field = null;
  }

  /**
   * Show a cell, or none.
   * @param {Cell | undefined} cell
   * @param {Changeable} change
   * @param {Edit | undefined} edit
   */
  draw(cell, change, edit) {
    show(this.root, Boolean(cell));
    if (!cell) return;
    const writing = change === "here" && this.drafts.has(cell.node);
    if (writing && this.field?.isConnected && this.field.dataset.of === cell.node) return;
    const key = JSON.stringify([cell.node, change, edit]);
    if (this.key === key && this.root.contains(this.text)) { // only the text has grown
      this.meta.textContent = describe(cell);
      this.fill(this.text, cell, edit);
      return;
    }
    this.key = key;
    this.meta = h("p", { class: "meta" }, describe(cell));
    this.text = h("div", { class: "text" });
    const title = h("h2", {}, `${place(cell)}: ${cell.agent}`);
    this.root.replaceChildren(title, this.meta, this.text, this.buttons(cell, change, edit));
    if (writing) this.write(cell, edit);
    else this.fill(this.text, cell, edit);
  }

  /**
   * @param {HTMLElement} text
   * @param {Cell} cell
   * @param {Edit | undefined} edit
   */
  fill(text, cell, edit) {
    if (edit?.action === "edit") render(text, edit.text ?? "");
    else if (cell.error) text.replaceChildren(h("p", { class: "error" }, cell.error));
    else if (cell.text) render(text, cell.text);
    else text.replaceChildren(h("p", { class: "meta" }, NOTHING[cell.status] ?? ""));
  }

  /**
   * @param {Cell} cell
   * @param {Changeable} change
   * @param {Edit | undefined} edit
   */
  buttons(cell, change, edit) {
    /** @type {(label: string, action: () => void) => HTMLElement} */
    const button = (label, action) => h("button", { type: "button", onclick: action }, label);
    const write = () => this.write(cell, edit).focus();
    /** @type {(action: Edit["action"]) => () => void} */
    const set = (action) => () => this.actions.edit(cell.node, { action });
    const row = h("div", { class: "actions" });
    if (change === "before") row.append(button("Change this proposal", () => this.actions.goTo(cell)));
    if (change !== "here") return row;
    if (edit) row.append(button("Undo the change", () => this.actions.undo(cell.node)));
    row.append(button("Edit", write));
    if (edit?.action !== "drop") row.append(button("Drop", set("drop")));
    if (edit?.action !== "again") row.append(button("Ask again", set("again")));
    return row;
  }

  /**
   * Put a text field in the place of the text.
   * @param {Cell} cell
   * @param {Edit | undefined} edit
   */
  write(cell, edit) {
    const label = `Text of ${cell.agent}`;
    const field = h("textarea", { id: "edit", rows: 10, "aria-label": label, "data-of": cell.node });
    field.value = this.drafts.get(cell.node) ?? edit?.text ?? cell.text;
    const save = () => {
      this.drafts.delete(cell.node);
      if (field.value.trim()) this.actions.edit(cell.node, { action: "edit", text: field.value });
      else this.actions.edit(cell.node, { action: "drop" });
    };
    const cancel = () => {
      this.drafts.delete(cell.node);
      this.draw(cell, "here", edit);
    };
    field.addEventListener("input", () => this.drafts.set(cell.node, field.value));
    field.addEventListener("keydown", (event) => {
      if (event.key === "Escape") { event.stopPropagation(); cancel(); }
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) save();
    });
    this.field = field;
    this.key = null;
    this.text.replaceChildren(field);
    find(this.root, ".actions").replaceChildren(
      h("button", { type: "button", class: "primary", onclick: save }, "Save the change"),
      h("button", { type: "button", onclick: cancel }, "Cancel"));
    return field;
  }
}

/** @type {Partial<Record<Cell["status"], string>>} */
const NOTHING = {
  waiting: "Not asked yet.",
  running: "No token has come yet.",
  dropped: "This proposal was dropped.",
};

/** @param {Cell} cell */
const place = (cell) => (cell.agent === cell.node ? "Final answer" : `Layer ${cell.layer}`);

/** @param {Cell} cell */
function describe(cell) {
  const tokens = cell.read === null ? "" : `read ${count(cell.read)}, wrote ${count(cell.written ?? 0)} tokens`;
  const cost = cell.cost === null ? "" : dollars(cell.cost);
  const hedged = cell.hedged ? "hedged" : "";
  const parts = [cell.model, cell.status, cell.ending_note, hedged, seconds(cell.seconds), tokens, cost];
  return parts.filter(Boolean).join(" · ");
}
