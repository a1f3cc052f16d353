import { press } from "./document.js";

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { byId } from "#page/dom.js";
import { Timeline } from "#page/timeline.js";

/** @import { Step, View } from "#page/types.js" */

/** @type {string[]} */
let asked = [];
const timeline = new Timeline((step) => asked.push(step));

/**
 * @param {string} id
 * @param {number} turn
 * @returns {Step}
 */
const step = (id, turn = 1) => ({ id, label: `Step ${id}`, when: "2026-01-01T00:00:00Z", turn, layer: null });

/**
 * @param {Partial<View>} known
 * @returns {View}
 */
const view = (known = {}) => ({
  ...{ id: "t", mixture: "m", finished: true, running: false, newest: true, messages: [] },
  ...{ steps: [step("1"), step("2"), step("3", 2)], branches: [step("3", 2)], step: "2" },
  ...known,
});

const buttons = () => [...byId("steps").querySelectorAll("button")];

beforeEach(() => {
  asked = [];
});

test("each step is a button, and the one that is shown is the current one", () => {
  timeline.draw(view(), false);
  assert.deepEqual(buttons().map((button) => button.textContent), ["Step 1", "Step 2", "Step 3"]);
  assert.deepEqual(buttons().map((button) => button.getAttribute("aria-current")), [null, "step", null]);
  assert.equal(byId("history").hidden, false);
});

test("the tab key reaches the current step alone", () => {
  timeline.draw(view(), false);
  assert.deepEqual(buttons().map((button) => button.getAttribute("tabindex")), ["-1", "0", "-1"]);
});

test("a new turn is set off", () => {
  timeline.draw(view(), false);
  assert.deepEqual(buttons().map((button) => button.closest("li")?.className), ["", "", "turn"]);
});

test("a run has no steps to go back to", () => {
  timeline.draw(view(), true);
  assert.equal(buttons().length, 0);
  assert.equal(byId("history").hidden, true);
});

test("a click goes to a step", () => {
  timeline.draw(view(), false);
  buttons()[0].click();
  assert.deepEqual(asked, ["1"]);
});

/** @type {[key: string, current: string, asked: string[]][]} */
const KEYS = [
  ["ArrowLeft", "2", ["1"]],
  ["ArrowRight", "2", ["3"]],
  ["Home", "3", ["1"]],
  ["End", "1", ["3"]],
  ["ArrowLeft", "1", []],
  ["End", "3", []],
  ["a", "2", []],
];

for (const [key, current, expected] of KEYS) {
  test(`the key ${key} at step ${current} asks for ${expected[0] ?? "nothing"}`, () => {
    timeline.draw(view({ step: current }), false);
    press(byId("steps"), key);
    assert.deepEqual(asked, expected);
  });
}

test("the focus follows the current step while it is among the steps", () => {
  timeline.draw(view(), false);
  buttons()[1].focus();
  timeline.draw(view({ step: "1" }), false);
  assert.equal(document.activeElement, buttons()[0]);
});

test("a thread that was forked has branches to choose from, and the newest is named", () => {
  timeline.draw(view({ branches: [step("3", 2), step("4")], step: "3" }), false);
  const options = [...byId("branch").options];
  assert.equal(byId("branch-label").hidden, false);
  assert.match(options[0].textContent ?? "", /^1: step 3, /);
  assert.match(options[1].textContent ?? "", /^2: step 4, .* \(newest\)$/);
  assert.equal(byId("branch").value, "3");
});

test("a branch that is chosen is shown", () => {
  timeline.draw(view({ branches: [step("3", 2), step("4")] }), false);
  byId("branch").value = "4";
  byId("branch").dispatchEvent(new Event("change"));
  assert.deepEqual(asked, ["4"]);
});

test("a thread with one branch has nothing to choose from", () => {
  timeline.draw(view(), false);
  assert.equal(byId("branch-label").hidden, true);
});
