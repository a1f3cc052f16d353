// The dock: ask, stop, resume, or continue from an earlier step.

import { Attachments } from "./attachments.js";
import { askedFrom, costOf, knownCosts, writeCost } from "./cost_of_change.js";
import { byId, h, show } from "./dom.js";
import { Mixtures } from "./mixtures.js";
import { changes } from "./summary.js";

/** @import { RunModel } from "./run_model.js" */
/** @import { Attachment } from "./types.js" */

const DRAFT = "moa-question"; // where a reload finds the question that is not sent yet

/**
 * @typedef {object} DockActions
 * @property {(question: string, mixture: string | null, attachments: Attachment[]) => Promise<void>} ask
 * @property {() => void} stop
 * @property {() => void} resume
 * @property {() => void} goOn continue from the current step
 * @property {() => void} back show the newest step
 */

export class Dock {
  /** @param {DockActions} actions */
  constructor(actions) {
    this.actions = actions;
    this.running = false;
    this.asking = false; // until the server accepts the question
    this.mixtures = new Mixtures();
    this.attachments = new Attachments((problem) => this.say(problem));
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.ask();
    });
    byId("question").addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.ask();
    });
    byId("question").value = sessionStorage.getItem(DRAFT) ?? "";
    window.addEventListener("pagehide", () => sessionStorage.setItem(DRAFT, byId("question").value));
    const { back, goOn, resume, stop } = actions;
    const clicks = { stop, "resume-too": resume, "go-on": goOn, discard: back };
    for (const [id, action] of Object.entries(clicks)) byId(id).addEventListener("click", action);
  }

  /** Send the question, unless a run is active. */
  async ask() {
    const question = byId("question").value.trim();
    if (this.running) this.say("A run is active. Esc stops it. Then you can ask this question.");
    if (!question || this.running || this.asking) return;
    const { chosen } = this.mixtures;
    this.asking = true; // a second Enter must not start a second run
    try {
      await this.actions.ask(question, chosen, this.attachments.files);
    } finally {
      this.asking = false;
    }
  }

  /** Clear the question and its files. */
  clear() {
    byId("question").value = "";
    this.attachments.clear();
  }

  /** @param {string} text */
  say(text) {
    byId("note").textContent = text;
  }

  /** @param {RunModel} model */
  draw(model) {
    if (this.running && !model.running) this.say("");
    this.running = model.running;
    const earlier = model.isEarlier || model.edits.size > 0;
    const focused = byId("dock").contains(document.activeElement);
    show(byId("continue"), earlier);
    show(byId("composer"), !earlier);
    show(byId("stop"), model.running);
    show(byId("ask"), !model.running);
    show(byId("resume-too"), model.isUnfinished && !earlier);
    byId("question").placeholder = model.running ? "Write the next question"
      : model.view ? "Ask a further question" : "Ask a question";
    knownCosts.learn(model.thread, model.cells.values());
    if (earlier) this.drawStep(model);
    if (focused && !document.activeElement?.checkVisibility()) byId(earlier ? "go-on" : "question").focus();
  }

  /**
   * Show the current step, and the cost of continuing from it.
   * @param {RunModel} model
   */
  drawStep(model) {
    const answer = model.step?.label === "Answer";
    show(byId("go-on"), !answer);
    byId("discard").textContent = model.edits.size ? "Discard" : "Back to the newest";
    const text = answer ? "An earlier answer." : changes(model, model.edits);
    byId("changes").replaceChildren(h("strong", {}, text), answer ? "" : ` ${this.price(model)}`);
  }

  /** @param {RunModel} model */
  price(model) {
    const all = [...model.cells.values()];
    const most = model.layout?.early_stop ? "at most " : "";
    const layer = model.step ? model.stopOf(model.step) : 0;
    return `Continuing makes ${most}${writeCost(costOf(askedFrom(layer, all, model.edits), all, knownCosts))}.`;
  }
}
