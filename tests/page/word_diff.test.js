import "./document.js";

import assert from "node:assert/strict";
import { test } from "node:test";

import { diffText, diffWords } from "#page/word_diff.js";

/** @type {[before: string, after: string, changes: string][]} */
const CHANGES = [
  ["a b c", "a b c", "a b c"],
  ["a b c", "a x c", "a [b ](x )c"],
  ["a c", "a b c", "a (b )c"],
  ["a b c", "a c", "a [b ]c"],
  ["", "new", "(new)"],
  ["old", "", "[old]"],
  ["one two three four", "zero two four five", "[one ](zero )two [three four](four five)"],
];

/** @param {{ kind: string, text: string }[]} changes */
const write = (changes) => changes.map(({ kind, text }) =>
  ({ same: text, ins: `(${text})`, del: `[${text}]` })[kind]).join("");

for (const [before, after, changes] of CHANGES) {
  test(`from "${before}" to "${after}": ${changes}`, () => assert.equal(write(diffWords(before, after)), changes));
}

test("both texts can be read out of the changes", () => {
  const [before, after] = ["x a  b\n\nc d e f", "a b\n\nd q e\tf y"];
  const changes = diffWords(before, after);
  const text = (/** @type {string} */ kind) =>
    changes.filter((each) => each.kind === "same" || each.kind === kind).map((each) => each.text).join("");
  assert.equal(text("del"), before);
  assert.equal(text("ins"), after);
});

test("long texts without anything in common are one change", () => {
  /** @param {string} letter */
  const words = (letter) => Array.from({ length: 2000 }, (_, index) => `${letter}${index}`).join(" ");
  assert.deepEqual(diffWords(words("a"), words("b")).map(({ kind }) => kind), ["del", "ins"]);
});

test("what is new is inserted, what is gone is deleted, and nothing is parsed", () => {
  const box = document.createElement("div");
  box.replaceChildren(...diffText("a <b>x</b>", "a <i>y</i>"));
  assert.equal(box.querySelector("del")?.textContent, "<b>x</b>");
  assert.equal(box.querySelector("ins")?.textContent, "<i>y</i>");
});
