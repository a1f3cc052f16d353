// Mark the wording that an answer shares with one proposal, or with all proposals.

import { byId, h } from "./dom.js";

/** @import { Received, RunModel } from "./run_model.js" */
/** @import { Session } from "./session.js" */
/** @import { Stage } from "./stage.js" */

const ALL = "*";

export class Influence {
  /**
   * @param {RunModel} model
   * @param {Session} session
   * @param {Stage} stage
   */
  constructor(model, session, stage) {
    this.model = model;
    this.session = session;
    this.stage = stage;
  }

  /**
   * Mark the wording that the answer shares with a proposal.
   * @param {string | null} node `*` for all
   * @param {string[] | null} answer the answer's blocks with marks
   */
  tint(node, answer) {
    this.model.marked = node ? answer : null;
    this.stage.place.hold(() => this.mark(node));
    this.stage.drawFoot(this.model);
  }

  /** @param {string | null} node `*` for all */
  mark(node) {
    this.stage.drawAnswer(this.model);
    const marks = [...byId("answer-text").querySelectorAll("mark")];
    for (const [index, mark] of marks.entries()) {
      const who = (mark.getAttribute("data-who") ?? "").split(" ");
      mark.classList.toggle("on", node === ALL || who.includes(node ?? ""));
      this.name(mark, who);
      if (goesOn(mark, marks[index + 1])) delete mark.dataset.note; // only the last of adjacent marks has numbers
    }
    if (node === ALL) byId("answer").append(h("p", { class: "small dim marks" }, this.legend()));
  }

  /**
   * Name the proposals of a mark with small numbers, because colour alone is not accessible.
   * @param {HTMLElement} mark
   * @param {string[]} who nodes
   */
  name(mark, who) {
    const cells = who.flatMap((node) => this.model.cells.get(node) ?? []);
    mark.dataset.note = cells.map((cell) => numberOf(cell, this.model)).join(" ");
    mark.title = cells.map((cell) => cell.agent).join(", ");
  }

  /** Return the legend of the numbers. */
  legend() {
    const names = this.compared.map((cell) => `${numberOf(cell, this.model)} ${cell.agent}`);
    return `Tinted: wording shared with the proposals ${names.join(", ")}. Shared wording does not prove a cause.`;
  }

  /** The proposals that the aggregator read. */
  get compared() {
    const last = this.model.proposers.findLast((cell) => cell.status === "answered");
    return last ? this.model.layer(last.layer).filter((cell) => cell.status === "answered") : [];
  }

  /**
   * Mark the wording shared with the proposals of the last layer, or remove the marks.
   * @param {boolean} shown
   */
  async show(shown) {
    const [last] = this.compared;
    const found = shown && last ? await this.session.proposal(last.node) : null;
    if (shown && !found?.answer) throw new Error("The proposals cannot be compared with this answer.");
    this.tint(found ? ALL : null, found?.answer ?? null);
  }
}

/**
 * Return the number of a proposal in its layer.
 * @param {Received} cell
 * @param {RunModel} model
 */
const numberOf = (cell, model) => model.layer(cell.layer).findIndex(({ node }) => node === cell.node) + 1;

/**
 * Return whether the next mark continues a mark, which emphasis and formulas split.
 * @param {HTMLElement} mark
 * @param {HTMLElement | undefined} next
 */
function goesOn(mark, next) {
  if (!next || mark.dataset.who !== next.dataset.who || blockOf(mark) !== blockOf(next)) return false;
  const between = document.createRange();
  between.setStartAfter(mark);
  between.setEndBefore(next);
  return !between.toString().trim();
}

/** @param {Element} element */
const blockOf = (element) => element.closest("p, li, td, th, h3, h4, h5, h6, .formula.display");
