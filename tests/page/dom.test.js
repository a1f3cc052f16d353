import "./document.js";

import assert from "node:assert/strict";
import { test } from "node:test";

import { count, dollars, h, seconds, setBlocks, setHtml } from "#page/dom.js";

/** @type {[number, string][]} */
const AMOUNTS = [
  [0, "$0"],
  [0.00004, "<$0.0001"],
  [0.0123, "~$0.0123"],
  [0.1, "~$0.10"],
  [12.345, "~$12.35"],
];

for (const [amount, text] of AMOUNTS) {
  test(`${amount} US dollars are shown as ${text}`, () => assert.equal(dollars(amount), text));
}

/** @type {[number | null, string][]} */
const TIMES = [
  [null, ""],
  [0, "0.0 s"],
  [99.94, "99.9 s"],
  [99.95, "100 s"],
];

for (const [time, text] of TIMES) {
  test(`${time} seconds are shown as "${text}"`, () => assert.equal(seconds(time), text));
}

test("thousands are set off", () => assert.equal(count(1_234_567), "1,234,567"));

test("attributes that are false or null are left out, and those that are true are empty", () => {
  const element = h("option", { id: "a", start: 3, hidden: true, selected: false, title: null });
  assert.equal(element.outerHTML, '<option id="a" start="3" hidden=""></option>');
});

test("children come one by one or in lists, and null is none", () => {
  assert.equal(h("p", {}, "a", null, [h("b"), null, "c"]).outerHTML, "<p>a<b></b>c</p>");
});

test("text is never parsed as markup", () => {
  const element = h("p", { title: '"><i>' }, "<b>");
  assert.equal(element.children.length, 0);
  assert.equal(element.textContent, "<b>");
});

test("a function is a listener", () => {
  let clicks = 0;
  h("button", { onclick: () => { clicks += 1; } }).click();
  assert.equal(clicks, 1);
});

test("blocks that are there already stay, and those behind the first that differs are new", () => {
  const root = h("div");
  setBlocks(root, ["<p>a</p>", "<p>b</p>", "<p>c</p>"]);
  const [first, second] = root.children;
  assert.deepEqual(setBlocks(root, ["<p>a</p>", "<p>B</p>"]).length, 1);
  assert.equal(root.innerHTML, "<p>a</p><p>B</p>");
  assert.equal(root.children[0], first);
  assert.notEqual(root.children[1], second);
});

test("blocks are drawn anew where something else was put in their place", () => {
  const root = h("div");
  setBlocks(root, ["<p>a</p>"]);
  setHtml(root, "<p>other</p>");
  setBlocks(root, ["<p>a</p>"]);
  assert.equal(root.innerHTML, "<p>a</p>");
});
