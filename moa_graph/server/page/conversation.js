// What was said before, and the question that is being answered.

import { byId, h, show } from "./dom.js";
import { render } from "./markdown.js";

/** @import { Message } from "./types.js" */

/**
 * @param {Message[]} messages
 * @param {string | null} [notice] what is to be known of them
 */
export function drawConversation(messages, notice) {
  const open = messages.findLastIndex((message) => message.role === "human");
  const said = messages.slice(0, open + 1).map((message, index) =>
    message.role === "human" ? question(message.text, index === open) : earlier(message.text));
  const notices = notice ? [h("p", { class: "meta notice" }, notice)] : [];
  byId("conversation").replaceChildren(...notices, ...said);
  show(byId("conversation"), said.length > 0);
}

/**
 * @param {string} text
 * @param {boolean} open whether it is being answered
 */
function question(text, open) {
  return h("div", { class: open ? "question open" : "question", tabindex: text.length > 500 ? 0 : null }, text);
}

/** @param {string} text */
function earlier(text) {
  const body = h("div", { class: "text" });
  render(body, text);
  return h("details", { class: "earlier" }, h("summary", {}, text.slice(0, 120)), body);
}
