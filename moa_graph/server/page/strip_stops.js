// Stops of the strip: the question, each layer and the answer. A stop opens its step, if it has one.

import { h } from "./dom.js";
import { nameOfLayer } from "./picture_columns.js";
import { countOf } from "./strip_folds.js";

/** @import { RunModel } from "./run_model.js" */

/**
 * Draw the stops of a run, and highlight the current stop.
 * @param {HTMLElement} root
 * @param {RunModel} model
 * @param {(step: string) => void} goTo
 */
export function drawStops(root, model, goTo) {
  const places = [...root.querySelectorAll(".stop")];
  for (const place of places) {
    const [from, to] = [Number(place.getAttribute("data-from")), Number(place.getAttribute("data-to"))];
    const step = model.running ? undefined : model.stepAt(to);
    const current = model.stop >= from && model.stop <= to;
    const folded = place.parentElement?.classList.contains("fold") ?? false; // its tile shows the number of answers
    const text = nameOf(from, to, model);
    const answers = folded ? "" : countOf(from, to, model);
    const key = JSON.stringify([step?.id, current, text, answers, model.stop > to]);
    if (place.getAttribute("data-key") === key) continue;
    place.setAttribute("data-key", key);
    const had = place.querySelector(".at");
    const hadFocus = had === document.activeElement;
    const at = stopButton(step?.id, current, model.stop > to, [text, answers], goTo);
    had?.replaceWith(at);
    if (hadFocus) at.focus();
  }
}

/**
 * @param {string | undefined} step
 * @param {boolean} current
 * @param {boolean} past
 * @param {string[]} texts its name, and the number of answers
 * @param {(step: string) => void} goTo
 */
function stopButton(step, current, past, [name, answers], goTo) {
  const properties = {
    class: past ? "at past" : "at", "aria-current": current ? "step" : null, "data-step": step ?? null,
  };
  const [, word, number] = /^(Layers? )(.+)$/.exec(name) ?? [null, "", name];
  const children = [h("b", {}, word ? h("span", { class: "word" }, word) : null, number),
    answers ? h("span", {}, answers) : null];
  if (!step) return h("span", properties, ...children);
  const onclick = () => goTo(step);
  return h("button", { ...properties, type: "button", tabindex: current ? 0 : -1, onclick }, ...children);
}

/**
 * @param {number} from
 * @param {number} [to]
 */
export const stop = (from, to = from) =>
  h("div", { class: "stop", "data-from": from, "data-to": to }, h("span", { class: "at" }));

/**
 * @param {number} from
 * @param {number} to
 * @param {RunModel} model
 */
function nameOf(from, to, model) {
  if (to === 0) return "Question";
  if (from === model.last) return "Answer";
  if (from !== to) return `Layers ${from}–${to}`;
  return nameOfLayer(from, model);
}
