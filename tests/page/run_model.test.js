import assert from "node:assert/strict";
import { test } from "node:test";

import { RunModel } from "#page/run_model.js";

import { makeCell } from "./cells.js";
import { makeModel, steps } from "./models.js";

/** @import { Cell, RunEvent, View } from "#page/types.js" */

/**
 * Make an event of a run.
 * @param {Partial<RunEvent>} known
 * @returns {RunEvent}
 */
const event = (known) => ({ status: "running", error: null, waiting: false, seconds: 1, cells: [], ...known });

/** A change of the aggregator's cell without its text. */
const change = () => ({ ...makeCell({ agent: "aggregator", layer: 3, status: "running" }), text: undefined });

test("a text grows by what has come", () => {
  const model = makeModel([{ agent: "aggregator", text: "one", html: undefined }], { running: true });
  model.apply(event({ cells: [{ ...change(), more: " two" }] }));
  assert.equal(model.aggregator?.text, "one two");
});

test("blocks that are finished stay, and those behind are replaced", () => {
  const model = makeModel([{ agent: "aggregator", text: "a", html: ["<p>a</p>", "<p>b</p>"] }], { running: true });
  model.apply(event({ cells: [{ ...change(), more: "c", html_from: 1, html_more: ["<p>bc</p>", "<p>d</p>"] }] }));
  assert.deepEqual(model.aggregator?.html, ["<p>a</p>", "<p>bc</p>", "<p>d</p>"]);
});

test("a text that begins again has no blocks of the one before", () => {
  const model = makeModel([{ agent: "aggregator", text: "a", html: ["<p>a</p>"] }], { running: true });
  model.apply(event({ cells: [{ ...change(), text: "z" }] }));
  assert.equal(model.aggregator?.html, undefined);
});

test("a run that is over says why it failed, and stops its clock, before all of it is known", () => {
  const model = makeModel([], { running: true });
  model.apply(event({ status: "failed", error: "No.", seconds: 2 }), 0);
  assert.deepEqual([model.isOver, model.running, model.failure, model.seconds(9000)], [true, true, "No.", 2]);
  assert.equal(model.isUnfinished, false);
});

test("each layer has one stop, which leads to where its proposals can be changed", () => {
  const model = makeModel();
  assert.deepEqual([0, 1, 2, 3].map((stop) => model.stepAt(stop)?.id), ["s0", "s1", "s3", "s5"]);
  assert.equal(model.stop, 3);
});

test("at a step where a layer was gathered, its stop is the current one", () => {
  assert.equal(makeModel([], { step: "s2", newest: false }).stop, 1);
});

test("steps of other turns have no stop", () => {
  const later = { ...steps[0], id: "t2", turn: 2 };
  const model = makeModel([], { steps: [...steps, later], step: "t2" });
  assert.deepEqual([0, 1, 3].map((stop) => model.stepAt(stop)?.id), ["t2", undefined, undefined]);
});

test("while a run goes on, its stop is the layer that is asked", () => {
  assert.equal(makeModel([{ layer: 2, agent: "b", status: "running" }], { running: true }).stop, 2);
});

/** @type {[Partial<Cell>, string][]} */
const STATES = [
  [{}, "answered"],
  [{ hedged: true }, "hedged"],
  [{ cached: true }, "cached"],
  [{ reused: true }, "reused"],
  [{ fallback: "m2", hedged: true }, "fallback"],
  [{ edited: true, cached: true }, "edited"],
  [{ status: "running" }, "running"],
  [{ status: "running", retrying: true }, "retrying"],
  [{ status: "failed", hedged: true }, "failed"],
  [{ status: "cut off" }, "cut off"],
  [{ status: "answered", ending_note: "cut off at its length limit" }, "cut off"],
  [{ status: "skipped" }, "skipped"],
  [{ status: "waiting" }, "waiting"],
  [{ status: "waiting", stopped: true, text: "part" }, "cut off"],
  [{ status: "waiting", stopped: true }, "stopped"],
  [{ status: "asked again" }, "asked again"],
];

for (const [known, state] of STATES) {
  test(`a call is shown as ${state}: ${JSON.stringify(known)}`, () => {
    assert.equal(makeModel().stateOf(makeCell({ status: "answered", ...known })), state);
  });
}

test("a change that is not sent yet is shown before all else", () => {
  const model = makeModel();
  model.edits.set("layer_2_a", { action: "drop" });
  assert.equal(model.stateOf(/** @type {Cell} */ (model.cells.get("layer_2_a"))), "dropped");
});

test("at an earlier step, what waits is what would be called again", () => {
  const model = makeModel([{ layer: 2, agent: "a", status: "waiting" }], { step: "s1", newest: false });
  assert.equal(model.stateOf(/** @type {Cell} */ (model.cells.get("layer_2_a"))), "runs again");
});

test("those who help the aggregator have one layer of their own, and it the last", () => {
  const model = makeModel();
  const helpers = [3, 4].map((layer) => makeCell({ layer, agent: `window_${layer}`, node: `window_${layer}` }));
  const view = /** @type {View} */ ({ ...model.view, cells: [...model.cells.values(), ...helpers] });
  const last = (/** @type {Cell} */ cell) => (cell.agent === "aggregator" ? { ...cell, layer: 5 } : cell);
  model.load({ ...view, cells: view.cells?.map(last) }, false);
  assert.deepEqual([model.layer(3).length, model.last, model.aggregator?.layer], [2, 4, 4]);
  assert.equal(model.proposers.length, 4);
});

test("an earlier step keeps the answer of its turn, and another turn or thread does not", () => {
  const nothing = { agent: "aggregator", text: "", html: [] };
  const earlier = makeModel([nothing], { step: "s1", newest: false });
  assert.equal(earlier.stale, null);
  const model = makeModel();
  model.load(/** @type {View} */ (earlier.view), true);
  assert.equal(model.stale?.text, "aggregator said 3");
  model.load({ .../** @type {View} */ (earlier.view), step: "s0" }, true);
  assert.equal(model.stale?.text, "aggregator said 3");
  model.load({ .../** @type {View} */ (earlier.view), id: "other" }, true);
  assert.equal(model.stale, null);
});

test("a node that the thread does not have is not looked at any more", () => {
  const model = makeModel();
  model.selected = "layer_2_b";
  model.load(/** @type {View} */ ({ ...model.view, cells: [makeCell()] }), false);
  assert.equal(model.selected, null);
});

test("a run without a thread has nothing", () => {
  const model = new RunModel();
  assert.deepEqual([model.last, model.stop, model.proposers, model.isUnfinished], [1, 0, [], false]);
});
