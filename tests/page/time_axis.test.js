import assert from "node:assert/strict";
import { test } from "node:test";

import { spansOf, ticks } from "#page/time_axis.js";

import { makeModel } from "./models.js";

/** @type {[end: number, marks: number[]][]} */
const AXES = [
  [0.1, [0, 0.1]],
  [3, [0, 1, 2, 3]],
  [16.8, [0, 5, 10, 15]],
  [61, [0, 20, 40, 60]],
];

for (const [end, marks] of AXES) {
  test(`an axis of ${end} seconds has the marks ${marks.join(", ")}`, () => assert.deepEqual(ticks(end), marks));
}

test("a call stands where it began, or behind the layer before where nobody noted it", () => {
  const model = makeModel([{ layer: 1, agent: "a", seconds: 2 }, { layer: 2, agent: "a", began: 2.5, seconds: 1 }]);
  const spans = spansOf(model).map(({ cell, begin, end }) => [cell.node, begin, end]);
  assert.deepEqual(spans, [
    ["layer_1_a", 0, 2], ["layer_1_b", 0, 1], ["layer_2_a", 2.5, 3.5], ["layer_2_b", 2, 3], ["aggregator", 3.5, 4.5],
  ]);
});

test("a call stands behind those that it read, which another run may have asked", () => {
  const model = makeModel([{ layer: 1, agent: "a", reused: true, began: 0, seconds: 2 },
    { layer: 2, agent: "a", began: 0.1, seconds: 1 }]);
  assert.equal(spansOf(model).find(({ cell }) => cell.node === "layer_2_a")?.begin, 2);
});

test("calls that have not begun have no place", () => {
  const model = makeModel([{ layer: 2, agent: "a", status: "skipped", seconds: null },
    { agent: "aggregator", status: "waiting", seconds: null }]);
  assert.deepEqual(spansOf(model).map(({ cell }) => cell.node), ["layer_1_a", "layer_1_b", "layer_2_b"]);
});
