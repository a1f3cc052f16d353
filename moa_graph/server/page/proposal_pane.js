// The proposal pane: the text of a call, compared with the answer and with the previous layer, and
// buttons that change it.

import { factsOf, failureBox } from "./call_facts.js";
import { ChangeButtons } from "./change_buttons.js";
import { h, setHtml } from "./dom.js";
import { proposalHead } from "./proposal_head.js";
import { AGGREGATOR } from "./run_model.js";
import { fillText, furnish, levelHeadings } from "./text.js";
import { diffText } from "./word_diff.js";

/** @import { Received, RunModel } from "./run_model.js" */
/** @import { Kind, Places, SideActions } from "./side.js" */
/** @import { Proposal } from "./types.js" */
/** @typedef {"text" | "answer" | "since"} Mode */

export class ProposalPane {
  /**
   * @param {SideActions} actions
   * @param {(kind: Kind, node: string) => void} open
   */
  constructor(actions, open) {
    this.actions = actions;
    this.open = open;
    this.buttons = new ChangeButtons(actions, open);
    /** @type {Mode} */
    this.mode = "answer";
    /** @type {Map<string, Proposal | Error>} */
    this.compared = new Map(); // by thread, step and node
    this.asked = ""; // key of the pending comparison
    /** @type {string | null} */
    this.node = null; // the drawn call
    this.key = ""; // of the drawn content
    this.facts = h("ul", { class: "facts small dim num" });
    this.text = h("div", { class: "text" });
  }

  /**
   * @param {Places} places
   * @param {RunModel} model
   * @param {string | null} node
   */
  draw(places, model, node) {
    const cell = model.cells.get(node ?? "");
    if (!cell) {
      places.pane.replaceChildren(h("p", { class: "dim small" }, "Choose a call in the strip above."));
      places.acts.replaceChildren();
      return;
    }
    const found = this.compare(places, model, cell);
    const key = JSON.stringify([model.thread, model.view?.step, cell.node, model.stateOf(cell), cell.status,
      model.changeable(cell), [...model.edits], this.mode, found !== undefined, model.running]);
    if (key !== this.key || !places.pane.contains(this.text)) {
      this.key = key;
      this.build(places, model, cell, found);
    }
    this.facts.replaceChildren(...factsOf(cell, model).map((fact) => h("li", {}, fact)));
    const isCompared = found && !(found instanceof Error);
    if (!isCompared && model.edits.get(cell.node)?.action !== "edit") this.fill(cell);
  }

  /** Remove the marks from the answer. */
  left() {
    this.key = "";
    this.actions.tint(null, null);
  }

  /**
   * Compare a proposal with the complete answer, and redraw the pane with the result.
   * @param {Places} places
   * @param {RunModel} model
   * @param {Received} cell
   * @returns {Proposal | Error | undefined}
   */
  compare(places, model, cell) {
    const isWhole = cell.status === "answered" && cell.node !== AGGREGATOR;
    if (model.running || !model.view?.step || !isWhole) return undefined;
    const place = JSON.stringify([model.thread, model.view.step, cell.node]);
    const found = this.compared.get(place);
    if (found) return found;
    const node = cell.node;
    const keep = (/** @type {Proposal | Error} */ result) => {
      this.compared.set(place, result);
      if (places.pane.contains(this.text) && this.node === node) this.draw(places, model, node);
    };
    if (this.asked !== place) {
      this.asked = place;
      this.actions.proposal(node).then(keep, keep);
    }
    this.node = node;
    return undefined;
  }

  /**
   * @param {Places} places
   * @param {RunModel} model
   * @param {Received} cell
   * @param {Proposal | Error | undefined} found
   */
  build({ pane, acts }, model, cell, found) {
    const scroll = pane.scrollTop;
    this.node = cell.node;
    this.text = h("div", { class: "text" });
    const head = proposalHead(model, cell, this.actions.select);
    pane.replaceChildren(head, this.facts, ...this.body({ pane, acts }, model, cell, found));
    pane.scrollTop = scroll;
    acts.replaceChildren(...this.buttons.draw(model, cell));
  }

  /**
   * @param {Places} places
   * @param {RunModel} model
   * @param {Received} cell
   * @param {Proposal | Error | undefined} found
   * @returns {HTMLElement[]}
   */
  body(places, model, cell, found) {
    const edit = model.edits.get(cell.node);
    if (edit?.action === "edit") return this.edited(cell, edit.text ?? "");
    this.text.classList.toggle("struck", edit?.action === "drop");
    if (found instanceof Error) return [this.text, this.note(`Not compared with the answer: ${found.message}`)];
    if (found) return this.comparison(places, model, cell, found);
    const failed = cell.error ? [failureBox(cell, model)] : [];
    return [...failed, this.text];
  }

  /**
   * Show the user's edit of the text.
   * @param {Received} cell
   * @param {string} text
   */
  edited(cell, text) {
    this.text.classList.add("diff");
    this.text.replaceChildren(...diffText(cell.text, text));
    return [h("h3", {}, "Your change, not sent yet"), this.text];
  }

  /**
   * @param {Places} places
   * @param {RunModel} model
   * @param {Received} cell
   * @param {Proposal} found
   */
  comparison(places, model, cell, found) {
    /** @type {[Mode, string][]} */
    const modes = [["text", "Text"]];
    if (found.in_answer !== null && found.share !== null) {
      modes.push(["answer", `In the answer: ${Math.round(100 * found.share)} %`]);
    }
    if (found.since !== null) modes.push(["since", `Since layer ${cell.layer - 1}`]);
    const mode = modes.some(([name]) => name === this.mode) ? this.mode : "text";
    const html = { text: found.html, answer: found.in_answer ?? "", since: found.since ?? "" }[mode];
    setHtml(this.text, html);
    for (const block of this.text.children) furnish(/** @type {HTMLElement} */ (block));
    levelHeadings(this.text);
    for (const mark of this.text.querySelectorAll("mark")) mark.classList.add("on");
    this.actions.tint(mode === "answer" ? cell.node : null, mode === "answer" ? found.answer : null);
    const choose = (/** @type {Mode} */ name) => {
      this.mode = name;
      this.draw(places, model, cell.node);
      /** @type {HTMLElement | null} */
      const button = places.pane.querySelector(`[data-mode="${name}"]`);
      button?.focus();
    };
    const row = modes.map(([name, label]) => h("button", {
      type: "button", "data-mode": name, "aria-pressed": String(name === mode), onclick: () => choose(name),
    }, label));
    const segments = h("div", { class: "seg", role: "group", "aria-label": "Show" }, row);
    return [...(modes.length > 1 ? [segments] : []), this.text, ...NOTES[mode].map((text) => this.note(text))];
  }

  /** @param {string} text */
  note(text) {
    return h("p", { class: "small dim" }, text);
  }

  /**
   * Show a growing text, or a text without a comparison.
   * @param {Received} cell
   */
  fill(cell) {
    if (cell.text) fillText(this.text, cell.text, cell.html);
    else if (cell.error) this.text.replaceChildren();
    else this.text.replaceChildren(h("p", { class: "dim small" },
      cell.stopped ? "Stopped before it wrote anything." : NOTHING[cell.status] ?? "It wrote nothing."));
  }
}

/** @type {Record<Mode, string[]>} */
const NOTES = {
  text: [],
  answer: ["Tinted, here and in the answer: shared wording. Wording that several proposals share counts "
    + "partly for each. Shared wording does not prove a cause."],
  since: ["Underlined: new. Struck through: removed."],
};

/** @type {Partial<Record<Received["status"], string>>} */
const NOTHING = {
  waiting: "Not asked yet.",
  running: "No output yet.",
  dropped: "A person dropped this proposal, so the next layer did not read it.",
  skipped: "Not asked: the turn ended before its layer.",
};
