// The agreement pane: the agreement figure, disputes, and positions of the proposers.

import { h, setHtml } from "./dom.js";
import { AGGREGATOR } from "./run_model.js";

/** @import { RunModel } from "./run_model.js" */
/** @import { Kind, Places } from "./side.js" */
/** @import { Agreement, Analysis } from "./types.js" */

export class AgreementPane {
  /** @param {(kind: Kind, node: string) => void} open */
  constructor(open) {
    this.open = open;
    this.key = ""; // of the drawn content
  }

  /**
   * @param {Places} places
   * @param {RunModel} model
   */
  draw({ pane, acts }, model) {
    const agreement = model.view?.agreement ?? null;
    const key = JSON.stringify([model.thread, model.view?.step, model.running, agreement]);
    if (key === this.key && pane.hasChildNodes()) return;
    this.key = key;
    acts.replaceChildren();
    pane.replaceChildren(...(agreement && !model.running ? this.all(agreement, model) : none(model)));
  }

  /**
   * @param {Agreement} agreement
   * @param {RunModel} model
   */
  all(agreement, model) {
    return [
      ...figure(agreement),
      ...this.disputes(agreement, model),
      ...(agreement.analysis ? this.analysis(agreement.analysis, agreement, model) : [unread(agreement)]),
    ];
  }

  /**
   * @param {Agreement} agreement
   * @param {RunModel} model
   */
  disputes({ dissent, html }, model) {
    if (!dissent.length) return [];
    const rows = dissent.map((each) => h("tr", {},
      h("th", { scope: "row" }, claim(each.claim, html)),
      h("td", {}, this.chips(each.for, model)), h("td", {}, this.chips(each.against, model))));
    const head = ["Answer", "For", "Against"].map((word) => h("th", { scope: "col" }, word));
    return [h("h3", {}, `Different answers: ${dissent.length}`),
      h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Different answers" },
        h("table", { class: "data" }, h("thead", {}, h("tr", {}, head)), h("tbody", {}, rows)))];
  }

  /**
   * @param {Analysis} analysis
   * @param {Agreement} agreement
   * @param {RunModel} model
   */
  analysis({ consensus, contradictions, unique, blind_spots: blind }, { html }, model) {
    const positions = (/** @type {Analysis["contradictions"][number]} */ each) => [
      h("h4", {}, claim(each.issue, html)),
      h("ul", { class: "positions" }, each.positions.map((position) =>
        h("li", {}, claim(position.stance, html), " ", this.chips(position.held_by, model)))),
    ];
    const single = unique.map(({ point, held_by: node }) =>
      h("li", {}, ...(node ? this.chips([node], model) : []), " ", claim(point, html)));
    return [
      h("h3", {}, `Disputed: ${contradictions.length || "nothing"}`), ...contradictions.flatMap(positions),
      ...list("Agreed by all", consensus.map((each) => h("li", {}, claim(each, html)))),
      ...list("Said by one only", single),
      ...list("Said by none", blind.map((each) => h("li", {}, claim(each, html)))),
      h("p", { class: "small dim" }, "A model analysed the proposals. Its analysis can be wrong."),
    ];
  }

  /**
   * Draw the holders of a position as buttons that open their proposals.
   * @param {string[]} holders nodes or agents
   * @param {RunModel} model
   */
  chips(holders, model) {
    const readBy = model.proposers.filter((cell) => cell.status === "answered");
    return holders.map((holder) => {
      const cell = model.cells.get(holder) ?? readBy.findLast((each) => each.agent === holder);
      if (!cell || cell.node === AGGREGATOR) return h("span", { class: "chip" }, holder);
      const look = () => this.open("proposal", cell.node);
      return h("button", { type: "button", class: "chip", onclick: look }, cell.agent);
    });
  }
}

/**
 * Show a text of a model as the server has rendered it.
 * @param {string} text
 * @param {Agreement["html"]} html
 */
function claim(text, html) {
  const laid = h("span", {}, text);
  if (html?.[text]) setHtml(laid, html[text]);
  return laid;
}

/** @param {Agreement} agreement */
function figure({ figure: value, method }) {
  if (value === null) return [h("h2", {}, "Agreement")];
  const bar = h("div");
  bar.style.setProperty("--part", String(value));
  const number = value.toFixed(2);
  return [
    h("h2", {}, `Agreement ${number}`),
    h("div", { class: "meter", role: "img", "aria-label": `Agreement ${number} of 1` }, bar),
    h("p", { class: "small dim" }, METHODS[method ?? ""] ?? METHODS[""]),
  ];
}

/** @type {Record<string, string>} */
const METHODS = {
  vote: "The share of proposals with the most frequent answer, among the proposals that the aggregator read.",
  wording: "The share of words that two proposals have in common, over all pairs of proposals that the aggregator "
    + "read. It is at most the share of common numbers, because texts with different numbers disagree. It measures "
    + "wording, not meaning: good answers in different words rarely exceed 0.6.",
  "": "From 0 to 1, over the proposals that the aggregator read.",
};

/**
 * Explain why there is no analysis.
 * @param {Agreement} agreement
 */
function unread({ dissent }) {
  return h("p", { class: "small dim" }, dissent.length ? "The answers are compared exactly, without a model."
    : "Disputed claims are unknown, because no model compared the proposals. ", dissent.length ? null
    : h("code", {}, "analysis = true"), dissent.length ? null : " in the mixture’s file turns on the comparison.");
}

/** @param {RunModel} model */
function none(model) {
  const why = model.running ? "It is measured after the answer is complete."
    : "Not known: fewer than two proposals were read, or there is no answer at this step.";
  return [h("h2", {}, "Agreement"), h("p", { class: "dim small" }, why)];
}

/**
 * @param {string} title
 * @param {HTMLElement[]} items
 */
const list = (title, items) => (items.length ? [h("h3", {}, title), h("ul", { class: "plain" }, items)] : []);
