import "./document.js";

import assert from "node:assert/strict";
import { test } from "node:test";

import { drawConversation } from "#page/conversation.js";
import { byId } from "#page/dom.js";

/** @param {string[]} texts first a question, then an answer, and so on */
function draw(texts) {
  drawConversation(texts.map((text, index) => ({ role: index % 2 ? "ai" : "human", text })));
  return [...byId("conversation").children].map((each) => each.className);
}

test("what was said before is there in order, and the question that is answered stands out", () => {
  assert.deepEqual(draw(["a", "b", "c", "d"]), ["question", "earlier", "question open"]);
});

test("the answer to the last question has its own place", () => {
  draw(["a", "b"]);
  assert.equal(byId("conversation").textContent, "a");
});

test("an earlier answer is folded under how it begins", () => {
  draw(["a", "x".repeat(200), "c"]);
  assert.equal(byId("conversation").querySelector("summary")?.textContent, "x".repeat(120));
  assert.equal(byId("conversation").querySelector("details .text")?.textContent, "x".repeat(200));
});

test("a long question can be scrolled by the keyboard", () => {
  const tabIndex = () => byId("conversation").querySelector(".question")?.getAttribute("tabindex");
  draw(["x".repeat(501)]);
  assert.equal(tabIndex(), "0");
  draw(["x".repeat(500)]);
  assert.equal(tabIndex(), null);
});

test("where nothing was said there is nothing to see", () => {
  draw([]);
  assert.equal(byId("conversation").hidden, true);
});

test("what was left out of a long conversation is told in front of it", () => {
  drawConversation([{ role: "human", text: "a" }], "2 earlier messages were left out");
  const [notice, question] = byId("conversation").children;
  assert.equal(notice.textContent, "2 earlier messages were left out");
  assert.equal(question.className, "question open");
});
