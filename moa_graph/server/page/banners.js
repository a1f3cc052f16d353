// Banners above an answer: why a run has no answer, why an answer is degraded, which step is shown.

import { askedByResume, costOf, knownCosts, writeCost } from "./cost_of_change.js";
import { h, seconds } from "./dom.js";
import { icon } from "./icons.js";
import { goOnWithout, otherAggregators, priceWithout, writeLonger } from "./remedies.js";

/** @import { Received, RunModel } from "./run_model.js" */
/** @import { Child } from "./dom.js" */
/** @import { RemedyActions } from "./remedies.js" */

/** @typedef {RemedyActions & { select: (node: string) => void }} BannerActions */

/**
 * Return the banners of a run.
 * @param {RunModel} model
 * @param {BannerActions} actions
 */
export function banners(model, actions) {
  const boxes = [];
  if (model.isBroken) boxes.push(unfinished(model, actions));
  const lacks = degradations(model);
  if (lacks.length && !model.failure) boxes.push(degraded(lacks, model, actions));
  if (model.isEarlier && model.stale) boxes.push(earlier());
  return boxes;
}

/**
 * Explain why there is no answer, what is stored, and how to resume.
 * @param {RunModel} model
 * @param {BannerActions} actions
 */
function unfinished(model, actions) {
  const { failure } = model;
  const [title, causes] = explain(model);
  const kept = model.view?.failure?.kept ?? "the answers so far; Resume does not repeat them";
  const first = model.proposers.find((cell) => cell.status === "answered");
  const look = () => first && actions.select(first.node);
  const read = first && h("button", { type: "button", onclick: look }, "Read the proposals");
  return box(failure ? "bad" : "info", failure ? "alert" : "note", icon(failure ? "bad" : "wait"), title,
    causes.length > 1 ? h("ul", {}, causes.map((cause) => h("li", {}, cause))) : null,
    causes.length === 1 ? h("p", {}, causes[0]) : null,
    h("p", {}, `Kept: ${kept}. ${price(model)}`),
    h("div", { class: "row" },
      h("button", { type: "button", id: "resume", class: "primary", onclick: () => actions.resume() },
        icon("again"), remedy(model)),
      otherAggregators(model, actions), goOnWithout(model, actions), read ?? null));
}

/**
 * Estimate the calls and the cost of resuming.
 * @param {RunModel} model
 */
function price(model) {
  const { cells, layout, thread } = model;
  if (!layout) return "";
  const all = [...cells.values()];
  knownCosts.learn(thread, all);
  const most = layout.early_stop || layout.router ? "at most " : "";
  const resuming = `Resuming makes ${most}${writeCost(costOf(askedByResume(all, layout), all, knownCosts))}.`;
  return [resuming, priceWithout(model, most)].filter(Boolean).join(" ");
}

/**
 * Describe the failure, with each cause once.
 * @param {RunModel} model
 * @returns {[title: string, causes: string[]]}
 */
function explain(model) {
  const { aggregator, failure } = model;
  if (!failure) return [model.hasAnswer ? "Stopped while writing the answer" : "Stopped before the answer", []];
  if (aggregator?.status === "failed") {
    const cause = (aggregator.error ?? failure).replace(/^no final answer: aggregator: /, "");
    return ["The aggregator failed", [`${aggregator.model}: ${cause}`]];
  }
  const lost = lostCalls(model);
  const rule = model.layout?.layers[(lost[0]?.layer ?? 0) - 1];
  if (!rule) return ["There is no answer", failure.split("\n")];
  const layer = model.layer(lost[0].layer);
  const answered = layer.filter((cell) => cell.status === "answered").length;
  return [`Layer ${lost[0].layer}: ${answered} of ${layer.length} answered, ${rule.needed} needed`, byCause(lost)];
}

/**
 * List the failed calls that resuming repeats.
 * @param {RunModel} model
 */
function lostCalls(model) {
  const asked = (model.view?.failure?.asks ?? []).flatMap((node) => model.cells.get(node) ?? []);
  const failed = model.proposers.filter((cell) => ["failed", "cut off"].includes(cell.status));
  return asked.length ? asked : failed.filter((cell) => cell.layer === failed.at(-1)?.layer);
}

/**
 * Name the agents that failed, grouped by cause.
 * @param {Received[]} cells
 */
function byCause(cells) {
  const causes = new Set(cells.map((cell) => cell.error ?? "unknown cause"));
  return [...causes].map((cause) => {
    const whose = cells.filter((cell) => (cell.error ?? "unknown cause") === cause);
    return `${whose.map((cell) => cell.agent).join(", ")}: ${cause}`;
  });
}

/**
 * Return the label of the resume button.
 * @param {RunModel} model
 */
export function remedy(model) {
  if (model.aggregator?.status === "failed") return "Resume: ask the aggregator again";
  const lost = lostCalls(model);
  if (!model.failure || !lost.length) return "Resume";
  return lost.length === 1 ? `Resume: ask ${lost[0].agent} again` : `Resume: ask ${lost.length} agents again`;
}

/**
 * List the causes of a degraded answer, agent by agent.
 * @param {RunModel} model
 * @returns {string[]}
 */
export function degradations(model) {
  const failed = group(model.proposers.filter((cell) => cell.status === "failed"));
  const cut = model.proposers.filter((cell) => cell.status === "cut off").map((cell) => {
    const time = cell.seconds === null ? "" : ` after ${seconds(cell.seconds)}`;
    const part = cell.text ? "its partial text was not used" : "it had written no text";
    return `${cell.agent} was cut off${time} in layer ${cell.layer}; ${part}.`;
  });
  const served = [...model.cells.values()].filter((cell) => cell.fallback)
    .map((cell) => `${cell.agent} was served by its fallback ${cell.fallback}${placeOf(cell)}.`);
  const partial = model.proposers.filter((cell) => cell.status === "answered" && cell.ending_note)
    .map((cell) => `${cell.agent}${placeOf(cell)}: ${cell.ending_note}.`);
  const note = model.running ? null : model.aggregator?.ending_note;
  const ending = note && model.hasAnswer ? [`The answer is ${note}.`] : [];
  const lacks = [...ending, ...failed, ...cut, ...served, ...partial];
  return lacks.length || model.running ? lacks : model.view?.degraded ?? [];
}

/**
 * Describe the failures of each agent in one sentence, also for several layers.
 * @param {Received[]} cells
 */
function group(cells) {
  const agents = new Set(cells.map((cell) => cell.agent));
  return [...agents].map((agent) => {
    const each = cells.filter((cell) => cell.agent === agent);
    const layers = each.map((cell) => cell.layer);
    const where = layers.length > 1 ? `layers ${layers.join(" and ")}` : `layer ${layers[0]}`;
    return `${each[0].agent} failed in ${where}: ${each.at(-1)?.error ?? "unknown cause"}`;
  });
}

/** @param {Received} cell */
const placeOf = (cell) => (cell.node === "aggregator" ? "" : ` in layer ${cell.layer}`);

const ROOM = "(min-width: 46rem) and (min-height: 44rem)"; // a window where open causes leave room for the answer
const OPEN = 4; // maximum number of causes that are shown without a click

/**
 * @param {string[]} lacks
 * @param {RunModel} model
 * @param {BannerActions} actions
 */
function degraded(lacks, model, actions) {
  const title = model.running ? "The answer will be degraded" : "This answer is degraded";
  const open = lacks.length <= OPEN && matchMedia(ROOM).matches;
  return h("details", { class: "box warn", open },
    h("summary", {}, icon("warn"), `${title}: ${lacks.length} ${lacks.length === 1 ? "cause" : "causes"}`),
    h("ul", {}, ...lacks.map((lack) => h("li", {}, lack))), writeLonger(model, actions));
}

const earlier = () => h("div", { class: "box info" },
  h("p", {}, "This is the answer of the newest step. It stays on its branch. Continuing from here writes a new one."));

/**
 * @param {"bad" | "warn" | "info"} kind
 * @param {string} role
 * @param {SVGElement} sign
 * @param {string} title
 * @param {Child[]} children
 */
const box = (kind, role, sign, title, ...children) =>
  h("div", { class: `box ${kind}`, role }, h("h3", {}, sign, title), ...children);
