// The stage: earlier turns, the current question, and its answer.

import { banners } from "./banners.js";
import { copyButton } from "./copy.js";
import { byId, h, show } from "./dom.js";
import { Follow } from "./follow.js";
import { icon } from "./icons.js";
import { drawPeek } from "./peek.js";
import { ReadingPlace } from "./reading_place.js";
import { writeLonger } from "./remedies.js";
import { isOffline, outcome, progress } from "./summary.js";
import { fillText } from "./text.js";
import { setText } from "./tile.js";
import { answerOf, attached, foldQuestion, turn } from "./turns.js";

/** @import { BannerActions } from "./banners.js" */
/** @import { RunModel } from "./run_model.js" */
/** @import { Message } from "./types.js" */

const PART = "This part is not stored. The page shows it until the run continues or the server stops.";

/**
 * @typedef {object} OwnActions
 * @property {(step: string) => void} goTo
 * @property {() => void} change edit the question
 * @property {(kind: "agreement" | "cost") => void} open
 * @property {(shown: boolean) => void} showInfluence
 */

/** @typedef {BannerActions & OwnActions} StageActions */

export class Stage {
  /** @param {StageActions} actions */
  constructor(actions) {
    this.actions = actions;
    this.follow = new Follow(byId("talk"), byId("newest"), byId("answer"));
    this.place = new ReadingPlace(this.follow);
    this.earlier = ""; // key of the drawn turns
    this.banner = "";
    byId("change").append(icon("edit"));
    byId("change").addEventListener("click", actions.change);
    byId("branch").addEventListener("change", () => actions.goTo(byId("branch").value));
  }

  /**
   * Draw a thread, or none.
   * @param {RunModel} model
   */
  draw(model) {
    const { view } = model;
    show(byId("welcome"), !view);
    show(byId("turn"), Boolean(view));
    const messages = view?.messages ?? [];
    const asked = messages.findLastIndex((message) => message.role === "human");
    this.follow.hold(byId("turn"), () => this.drawEarlier(model, messages.slice(0, Math.max(asked, 0))));
    this.drawQuestion(messages[asked]);
    this.drawBranches(model);
    this.update(model);
  }

  /** Scroll the newest question to the top, so that its answer begins in view. */
  toTop() {
    this.follow.start();
    this.follow.top(byId("turn"));
  }

  /**
   * Draw the changes of a run, and keep the position of the text being read.
   * @param {RunModel} model
   */
  update(model) {
    const reads = !byId("answer").hidden && byId("talk").scrollTop > 0;
    if (reads) this.follow.hold(byId("answer"), () => this.drawAbove(model));
    else this.drawAbove(model);
    this.drawAnswer(model);
    this.drawFoot(model);
    this.follow.grows(model.running && model.hasAnswer);
    if (model.running) this.follow.grew();
  }

  /** @param {RunModel} model */
  drawAbove(model) {
    this.say(model);
    const notice = model.view?.notice;
    const boxes = model.view?.layout ? banners(model, this.actions) : [];
    if (notice) boxes.unshift(h("p", { class: "small dim notice" }, notice));
    const drawn = boxes.map((box) => box.textContent).join("\n");
    if (drawn !== this.banner) byId("banner").replaceChildren(...boxes); // otherwise a screen reader would repeat it
    this.banner = drawn;
    drawPeek(byId("peek"), model, this.actions.select);
  }

  /**
   * Show the state of the run.
   * @param {RunModel} model
   */
  say(model) {
    setText(byId("status"), stateOfRun(model));
  }

  /**
   * @param {RunModel} model
   * @param {Message[]} messages
   */
  drawEarlier(model, messages) {
    const steps = model.running ? [] : model.view?.steps ?? [];
    const ends = steps.filter((step) => step.label === "Answer");
    const key = JSON.stringify([messages, ends.map((step) => step.id)]);
    if (key === this.earlier) return;
    this.earlier = key;
    const turns = [];
    for (const message of messages) {
      if (message.role === "human") turns.push(turn(message));
      else turns.at(-1)?.append(answerOf(message));
    }
    turns.forEach((each, index) => {
      const step = ends.find((end) => end.turn === index + 1);
      if (step) each.append(h("div", { class: "said" }, h("button", {
        type: "button", class: "quiet", onclick: () => this.actions.goTo(step.id),
      }, "Show this run")));
    });
    byId("earlier").replaceChildren(...turns);
  }

  /** @param {Message | undefined} message */
  drawQuestion(message) {
    const text = message?.question ?? message?.text ?? "";
    byId("attached").replaceChildren(...attached(message));
    show(byId("attached"), Boolean(message?.attachments?.length));
    if (byId("asked").textContent === text) return;
    byId("asked").textContent = text;
    foldQuestion(byId("asked"), text);
  }

  /** @param {RunModel} model */
  drawBranches({ running, view }) {
    const branches = running ? [] : view?.branches ?? [];
    show(byId("branch-label"), branches.length > 1);
    const end = view?.steps.at(-1)?.id;
    byId("branch").replaceChildren(...branches.map((branch, index) => {
      const newest = index === branches.length - 1 ? ", newest" : "";
      const time = new Date(branch.when).toLocaleTimeString();
      return h("option", { value: branch.id, selected: branch.id === end },
        `${index + 1} of ${branches.length}${newest}: ${branch.label.toLowerCase()}, ${time}`);
    }));
  }

  /** @param {RunModel} model */
  drawAnswer(model) {
    const shown = model.hasAnswer ? model.aggregator : model.stale;
    const [answer, text] = [byId("answer"), byId("answer-text")];
    show(answer, Boolean(shown));
    answer.classList.toggle("stale", !model.hasAnswer);
    answer.setAttribute("aria-label", isOffline(model) ? "Quotes" : "Answer");
    answer.setAttribute("aria-busy", String(model.running));
    answer.querySelector(".marks")?.remove();
    if (!shown) {
      text.replaceChildren();
      return;
    }
    fillText(text, shown.text, model.marked ?? shown.html);
    answer.querySelector(".ending")?.remove();
    const ending = model.running ? null : endingOf(model);
    const tone = model.failure ? "bad" : "warn";
    if (ending) answer.append(h("div", { class: "ending" },
      h("p", { class: `small ${tone}` }, icon("cut"), ending), writeLonger(model, this.actions)));
  }

  /** @param {RunModel} model */
  drawFoot(model) {
    const foot = byId("foot");
    const done = model.hasAnswer && !model.running;
    show(foot, done);
    if (!done) return;
    const { isPart, marked, thread, view } = model;
    const isMixed = model.proposers.some(({ status }) => status === "answered"); // a router may skip the layers
    const key = JSON.stringify([thread, view?.step, isPart, isMixed, marked !== null, agreementOf(model)]);
    if (foot.dataset.key === key) return;
    foot.dataset.key = key;
    const copy = copyButton(() => model.aggregator?.text ?? "");
    if (isPart) {
      foot.replaceChildren(copy);
      return;
    }
    const { open, showInfluence } = this.actions;
    /** @type {(text: string, action: () => void) => HTMLElement} */
    const button = (text, action) => h("button", { type: "button", class: "quiet", onclick: action }, text);
    const influence = button("Show influence", () => showInfluence(model.marked === null));
    influence.setAttribute("aria-pressed", String(model.marked !== null));
    foot.replaceChildren(copy,
      ...isMixed ? [influence, button(agreementOf(model), () => open("agreement"))] : [],
      button("Cost and time", () => open("cost")));
  }
}

/**
 * Explain why an answer is incomplete.
 * @param {RunModel} model
 */
function endingOf(model) {
  const { aggregator } = model;
  if (!model.hasAnswer || !aggregator) return null;
  if (aggregator.stopped) return `Stopped here. ${PART}`;
  if (model.isPart) return `Failed here. ${PART}`;
  return aggregator.ending_note ? `The answer is ${aggregator.ending_note}.` : null;
}

/** @param {RunModel} model */
function stateOfRun(model) {
  const { view } = model;
  if (!view?.layout) return "";
  if (model.isLost) return "The connection is lost; trying again. The run continues while the server runs.";
  if (model.waits) return "Waiting for other runs of this server to end.";
  return model.running ? progress(model) : outcome(model, view, model.step);
}

/** @param {RunModel} model */
function agreementOf({ view }) {
  const { figure = null, dissent = [] } = view?.agreement ?? {};
  const disputed = dissent.length ? `, ${dissent.length} disputed` : "";
  return figure === null ? "Agreement" : `Agreement ${figure.toFixed(2)}${disputed}`;
}
