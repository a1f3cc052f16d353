import { press } from "./document.js";

import assert from "node:assert/strict";
import { test } from "node:test";

import { Detail } from "#page/detail.js";
import { byId, find, h } from "#page/dom.js";

import { makeCell } from "./cells.js";

/** @import { Changeable } from "#page/detail.js" */
/** @import { Cell, Edit } from "#page/types.js" */

const cell = makeCell({ status: "answered", text: "*said*", seconds: 1, read: 1000, written: 20, cost: 0.5 });

/**
 * Show a cell.
 * @param {Cell | undefined} shown
 * @param {Changeable} change
 * @param {Edit} [made]
 */
function draw(shown, change = null, made = undefined) {
  /** @type {unknown[]} */
  const done = [];
  const root = h("section");
  byId("main").replaceChildren(root);
  const detail = new Detail(root, {
    edit: (node, edit) => done.push([node, edit]),
    undo: (node) => done.push(["undo", node]),
    goTo: (to) => done.push(["go to", to.node]),
  });
  detail.draw(shown, change, made);
  const buttons = () => [...root.querySelectorAll("button")].map((button) => button.textContent);
  /** @param {string} label */
  const click = (label) => [...root.querySelectorAll("button")].find((button) => button.textContent === label)?.click();
  const field = () => /** @type {HTMLTextAreaElement} */ (find(root, "textarea"));
  /** @param {string} text */
  const write = (text) => {
    click("Edit");
    field().value = text;
    field().dispatchEvent(new Event("input"));
  };
  return { buttons, click, detail, done, field, root, write };
}

test("without a cell there is nothing to see", () => {
  assert.equal(draw(undefined).root.hidden, true);
});

test("a cell is shown with its place, what it took, and its text laid out", () => {
  const { root } = draw(cell);
  assert.equal(find(root, "h2").textContent, "Layer 1: a");
  assert.equal(find(root, ".meta").textContent, "m · answered · 1.0 s · read 1,000, wrote 20 tokens · ~$0.50");
  assert.equal(find(root, ".text em").textContent, "said");
});

test("a cost that is not known is left out", () => {
  const { root } = draw({ ...cell, cost: null });
  assert.match(find(root, ".meta").textContent ?? "", /20 tokens$/);
});

test("the aggregator's text is the final answer", () => {
  const { root } = draw(makeCell({ layer: 2, agent: "aggregator" }));
  assert.equal(find(root, "h2").textContent, "Final answer: aggregator");
});

test("an answer that is not whole is told as such", () => {
  const { root } = draw(makeCell({ status: "answered", ending_note: "cut off (length)", text: "part" }));
  assert.match(find(root, ".meta").textContent ?? "", /cut off \(length\)/);
});

test("a cell that failed shows its error", () => {
  const { root } = draw(makeCell({ status: "failed", error: "No.", text: "part" }));
  assert.equal(find(root, ".text .error").textContent, "No.");
});

test("a cell without a text says why", () => {
  assert.equal(find(draw(makeCell()).root, ".text").textContent, "Not asked yet.");
  assert.equal(find(draw(makeCell({ status: "running" })).root, ".text").textContent, "No token has come yet.");
});

test("a changed text is shown in the place of the first one", () => {
  const { root } = draw(cell, "here", { action: "edit", text: "new" });
  assert.equal(find(root, ".text").textContent, "new");
});

test("a text that grows keeps its place", () => {
  const { detail, root } = draw(makeCell({ status: "running", text: "one" }));
  const text = find(root, ".text");
  detail.draw(makeCell({ status: "running", text: "one two" }), null, undefined);
  assert.equal(find(root, ".text"), text);
  assert.equal(text.textContent, "one two");
});

/** @type {[Changeable, Edit | undefined, string[]][]} */
const BUTTONS = [
  [null, undefined, []],
  ["before", undefined, ["Change this proposal"]],
  ["here", undefined, ["Edit", "Drop", "Ask again"]],
  ["here", { action: "drop" }, ["Undo the change", "Edit", "Ask again"]],
  ["here", { action: "again" }, ["Undo the change", "Edit", "Drop"]],
  ["here", { action: "edit", text: "new" }, ["Undo the change", "Edit", "Drop", "Ask again"]],
];

for (const [change, edit, expected] of BUTTONS) {
  test(`a cell that can be changed ${change}, with ${edit?.action ?? "no change"}: ${expected.join(", ")}`, () => {
    assert.deepEqual(draw(cell, change, edit).buttons(), expected);
  });
}

test("each button does what it says", () => {
  const here = draw(cell, "here", { action: "edit", text: "new" });
  for (const label of ["Undo the change", "Drop", "Ask again"]) here.click(label);
  assert.deepEqual(here.done, [
    ["undo", "layer_1_a"],
    ["layer_1_a", { action: "drop" }],
    ["layer_1_a", { action: "again" }],
  ]);
  const before = draw(cell, "before");
  before.click("Change this proposal");
  assert.deepEqual(before.done, [["go to", "layer_1_a"]]);
});

test("a text is edited from what it was, or from what it has been changed to", () => {
  const first = draw(cell, "here");
  first.click("Edit");
  assert.equal(first.field().value, "*said*");
  const again = draw(cell, "here", { action: "edit", text: "new" });
  again.click("Edit");
  assert.equal(again.field().value, "new");
});

test("a text that is edited has the focus", () => {
  const { click, field } = draw(cell, "here");
  click("Edit");
  assert.equal(document.activeElement, field());
});

test("a text that was written is saved", () => {
  const { click, detail, done, write } = draw(cell, "here");
  write("new");
  click("Save the change");
  assert.deepEqual(done, [["layer_1_a", { action: "edit", text: "new" }]]);
  assert.equal(detail.drafts.size, 0);
});

test("Control and Enter save, and Enter alone does not", () => {
  const { done, field, write } = draw(cell, "here");
  write("new");
  press(field(), "Enter");
  assert.deepEqual(done, []);
  press(field(), "Enter", { ctrlKey: true });
  assert.deepEqual(done, [["layer_1_a", { action: "edit", text: "new" }]]);
});

test("an empty text drops the proposal", () => {
  const { click, done, write } = draw(cell, "here");
  write(" \n");
  click("Save the change");
  assert.deepEqual(done, [["layer_1_a", { action: "drop" }]]);
});

test("Escape gives up the text, and stops nothing else", () => {
  const { detail, field, root, write } = draw(cell, "here");
  let heard = 0;
  document.addEventListener("keydown", () => { heard += 1; }, { once: true });
  write("new");
  press(field(), "Escape");
  assert.equal(heard, 0);
  assert.equal(detail.drafts.size, 0);
  assert.equal(find(root, ".text").textContent, "said");
});

test("a text that is being written outlives a look at another cell", () => {
  const { detail, field, write } = draw(cell, "here");
  write("half");
  detail.draw(makeCell({ agent: "b", status: "answered", text: "other" }), "here", undefined);
  detail.draw(cell, "here", undefined);
  assert.equal(field().value, "half");
});

test("a text that is being written stays when its cell is drawn again", () => {
  const { detail, field, write } = draw(cell, "here");
  write("half");
  const before = field();
  detail.draw({ ...cell, text: "more" }, "here", undefined);
  assert.equal(field(), before);
});
