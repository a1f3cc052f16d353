// Turns of a conversation: questions, attached files, and earlier answers.

import { h } from "./dom.js";
import { icon } from "./icons.js";
import { fillText } from "./text.js";

/** @import { Message } from "./types.js" */

const LONG = 240; // maximum characters of a question that is shown completely

/** @param {Message} message */
export function turn(message) {
  const question = message.question ?? message.text;
  const title = h("h2", {}, question);
  const files = attached(message);
  const article = h("article", { class: "turn" }, h("div", { class: "q" }, title),
    files.length ? h("ul", { class: "attached", "aria-label": "Attached files" }, files) : null);
  foldQuestion(title, question);
  return article;
}

/**
 * List the files attached to a question.
 * @param {Message | undefined} message
 */
export const attached = (message) => (message?.attachments ?? []).map((name) => h("li", {}, icon("clip"), name));

/** @param {Message} message */
export function answerOf(message) {
  const body = h("div", { class: "text" });
  fillText(body, message.text, message.html);
  return body;
}

/**
 * Show the beginning of a long question; a click shows the rest.
 * @param {HTMLElement} title
 * @param {string} text
 */
export function foldQuestion(title, text) {
  title.parentElement?.querySelector(".whole")?.remove();
  const long = text.length > LONG || text.split("\n").length > 3;
  title.classList.toggle("long", long);
  if (!long) return;
  const whole = h("button", { type: "button", class: "quiet whole", "aria-expanded": "false", onclick: () => {
    const folded = title.classList.toggle("long");
    whole.setAttribute("aria-expanded", String(!folded));
    whole.textContent = folded ? "More" : "Less";
  } }, "More");
  title.after(whole);
}
