// One agent's text in full, and what can be done about it.

import { count, dollars, h, seconds, show } from "./dom.js";
import { render } from "./markdown.js";

export class Detail {
  /** `actions`: `edit(node, edit)` notes a change, `undo(node)` forgets it, `goTo(node)` steps back. */
  constructor(root, actions) {
    this.root = root;
    this.actions = actions;
    this.drafts = new Map(); // texts that are being written, by node
  }

  /** Show a cell; `change` is `"here"`, `"before"` (at an earlier step) or `null`. */
  draw(cell, change, edit) {
    show(this.root, Boolean(cell));
    if (!cell) return;
    const writing = change === "here" && this.drafts.has(cell.node);
    if (writing && this.field?.isConnected && this.field.dataset.of === cell.node) return;
    const text = h("div", { class: "text" });
    const key = JSON.stringify([cell.node, change, edit]);
    if (this.key === key && this.root.contains(this.text)) { // only the text has grown
      this.meta.textContent = describe(cell);
      this.fill(this.text, cell, edit);
      return;
    }
    Object.assign(this, { key, text, meta: h("p", { class: "meta" }, describe(cell)) });
    const title = h("h2", {}, `${place(cell)}: ${cell.agent}`);
    this.root.replaceChildren(title, this.meta, this.text, this.buttons(cell, change, edit));
    if (writing) this.write(cell, edit);
    else this.fill(text, cell, edit);
  }

  fill(text, cell, edit) {
    if (edit?.action === "edit") render(text, edit.text);
    else if (cell.error) text.replaceChildren(h("p", { class: "error" }, cell.error));
    else if (cell.text) render(text, cell.text);
    else text.replaceChildren(h("p", { class: "meta" }, NOTHING[cell.status] ?? ""));
  }

  buttons(cell, change, edit) {
    const button = (label, action) => h("button", { type: "button", onclick: action }, label);
    const write = () => { this.write(cell, edit); this.field.focus(); };
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

  /** Put a text field in the place of the text. */
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
    Object.assign(this, { field, key: null });
    this.text.replaceChildren(field);
    this.root.querySelector(".actions").replaceChildren(
      h("button", { type: "button", class: "primary", onclick: save }, "Save the change"),
      h("button", { type: "button", onclick: cancel }, "Cancel"));
  }
}

const NOTHING = {
  waiting: "Not asked yet.",
  running: "No token has come yet.",
  dropped: "This proposal was dropped.",
};

const place = (cell) => (cell.agent === cell.node ? "Final answer" : `Layer ${cell.layer}`);

function describe(cell) {
  const tokens = cell.read === null ? "" : `read ${count(cell.read)}, wrote ${count(cell.written)} tokens`;
  const cost = cell.cost === null ? "" : dollars(cell.cost);
  return [cell.model, cell.status, seconds(cell.seconds), tokens, cost].filter(Boolean).join(" · ");
}
