// The side panel: a proposal, the agreement of the proposals, or the cost of the run.

import { AgreementPane } from "./agreement_pane.js";
import { CostPane } from "./cost_pane.js";
import { h, show } from "./dom.js";
import { EditPane } from "./edit_pane.js";
import { icon } from "./icons.js";
import { ProposalPane } from "./proposal_pane.js";

/** @import { RunModel } from "./run_model.js" */
/** @import { Edit, Proposal } from "./types.js" */
/** @typedef {"proposal" | "edit" | "agreement" | "cost"} Kind */

/**
 * The actions of the panel.
 * @typedef {object} SideActions
 * @property {(node: string) => void} select select another call
 * @property {(node: string) => Promise<unknown>} goTo show the step where a proposal can be changed
 * @property {(node: string, edit: Edit) => void} edit store a change, which is sent when the run continues
 * @property {(node: string) => void} undo
 * @property {() => void} writeAgain call the aggregator again
 * @property {(node: string) => Promise<Proposal>} proposal compare a proposal with the answer
 * @property {(node: string | null, answer: string[] | null) => void} tint mark the wording that the
 *   answer shares with a proposal; `null` removes the marks
 * @property {() => void} closed
 */

/**
 * A pane, which draws its content into the panel and its buttons into the panel's foot. `left` is called
 * when another pane replaces it.
 * @typedef {object} Pane
 * @property {(places: Places, model: RunModel, node: string | null) => void} draw
 * @property {() => void} [left]
 */

/** @typedef {{ pane: HTMLElement, acts: HTMLElement }} Places */

/** @type {["proposal" | "agreement" | "cost", string][]} */
const TABS = [["proposal", "Proposal"], ["agreement", "Agreement"], ["cost", "Cost"]];
/** @type {Record<string, number>} */
const WAYS = { ArrowLeft: -1, ArrowRight: 1 };

export class Side {
  /**
   * @param {HTMLElement} root
   * @param {SideActions} actions
   */
  constructor(root, actions) {
    this.root = root;
    this.actions = actions;
    /** @type {Kind | null} */
    this.kind = null; // the open pane
    /** @type {string | null} */
    this.node = null; // the shown call
    /** @type {RunModel | null} */
    this.model = null;
    /** @type {Element | null} */
    this.opener = null; // the element that had the focus before
    const open = (/** @type {Kind} */ kind, /** @type {string} */ node) => this.open(kind, node);
    this.edits = new EditPane(actions, open);
    /** @type {Record<Kind, Pane>} */
    this.panes = {
      proposal: new ProposalPane(actions, open),
      edit: this.edits,
      agreement: new AgreementPane(open),
      cost: new CostPane(),
    };
    this.build();
  }

  /** Unsaved texts of proposals, by node. */
  get drafts() {
    return this.edits.drafts;
  }

  set drafts(drafts) {
    this.edits.drafts = drafts;
  }

  /** The last shown call, or the aggregator. */
  get looked() {
    return this.node ?? this.model?.selected ?? "aggregator";
  }

  get isOpen() {
    return this.kind !== null;
  }

  build() {
    this.tabs = TABS.map(([kind, label]) => h("button", {
      type: "button", role: "tab", id: `tab-${kind}`, "aria-controls": "pane", onclick: () => this.open(kind),
    }, label));
    const list = h("div", { role: "tablist", "aria-label": "Details" }, this.tabs);
    list.addEventListener("keydown", (event) => this.walk(event));
    this.pane = h("div", { id: "pane", class: "pane", role: "tabpanel", tabindex: 0 });
    this.acts = h("div", { class: "acts" });
    const shut = h("button", {
      type: "button", id: "shut", class: "icon quiet", "aria-label": "Close details", onclick: () => this.close(),
    }, icon("bad"));
    this.root.replaceChildren(h("div", { class: "tabs" }, list, shut), this.pane, this.acts);
    this.root.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation(); // do not stop the run
      this.close();
    });
    show(this.root, false);
  }

  /**
   * Open a pane.
   * @param {Kind} kind
   * @param {string} [node] the call to show
   */
  open(kind, node = this.looked) {
    if (!this.isOpen) this.opener = document.activeElement;
    const inside = this.root.contains(document.activeElement);
    const shown = kind === "proposal" && this.drafts.has(node) ? "edit" : kind; // it has an unsaved text
    if (this.kind !== shown || this.node !== node) this.leave();
    [this.kind, this.node] = [shown, node];
    show(this.root, true);
    if (this.model) this.draw(this.model);
    this.focus(inside);
  }

  /**
   * Focus the editor, or the pane if the focused element is gone.
   * @param {boolean} inside whether the panel had the focus
   */
  focus(inside) {
    if (this.kind === "edit") this.edits.field?.focus();
    else if (inside && !this.root.contains(document.activeElement)) this.pane?.focus();
  }

  /** Close the panel, and focus the tile of the shown call or the element that had the focus before. */
  close() {
    if (!this.isOpen) return;
    const inside = this.root.contains(document.activeElement);
    const tile = this.kind === "proposal" || this.kind === "edit"
      ? document.querySelector(`#strip [data-node="${CSS.escape(this.node ?? "")}"]`) : null;
    this.leave();
    this.kind = null;
    show(this.root, false);
    this.actions.closed();
    const back = [tile, this.opener].find((each) => each?.isConnected);
    if (inside && back instanceof HTMLElement) back.focus();
  }

  /** Call `left` of the open pane. */
  leave() {
    if (this.kind) this.panes[this.kind].left?.();
    this.pane?.replaceChildren();
    this.acts?.replaceChildren();
  }

  /**
   * Draw the changes.
   * @param {RunModel} model
   */
  draw(model) {
    this.model = model;
    if (!this.kind || !this.pane || !this.acts) return;
    if (!model.layout) {
      this.close();
      return;
    }
    if (this.kind === "proposal" && this.drafts.has(this.node ?? "")) { // the step has an unsaved text
      this.leave();
      this.kind = "edit";
    }
    const shown = this.kind === "edit" ? "proposal" : this.kind;
    for (const tab of this.tabs ?? []) {
      const selected = tab.id === `tab-${shown}`;
      tab.setAttribute("aria-selected", String(selected));
      tab.tabIndex = selected ? 0 : -1;
    }
    this.pane.setAttribute("aria-labelledby", `tab-${shown}`);
    this.panes[this.kind].draw({ pane: this.pane, acts: this.acts }, model, this.node);
  }

  /**
   * Select another tab with the arrow keys.
   * @param {KeyboardEvent} event
   */
  walk(event) {
    const way = WAYS[event.key];
    const tabs = this.tabs ?? [];
    if (!way || !tabs.length) return;
    event.preventDefault();
    const at = tabs.findIndex((tab) => tab.getAttribute("aria-selected") === "true");
    const next = tabs[(at + way + tabs.length) % tabs.length];
    next.click();
    next.focus();
  }
}
