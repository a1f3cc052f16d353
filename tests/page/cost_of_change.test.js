import "./document.js";

import assert from "node:assert/strict";
import { test } from "node:test";

import { KnownCosts, askedByResume, askedFrom, costOf, costOfChange, writeCost } from "#page/cost_of_change.js";

import { makeCell } from "./cells.js";
import { makeModel } from "./models.js";

/** @import { Cell, Edit } from "#page/types.js" */

/** @param {{ node: string }[]} calls */
const nodes = (calls) => calls.map((call) => call.node);

test("going on from a layer asks all behind it", () => {
  const asked = askedFrom(1, makeModel().cells.values());
  assert.deepEqual(nodes(asked), ["layer_2_a", "layer_2_b", "aggregator"]);
});

test("of the layer itself, those are asked that are to be asked again", () => {
  /** @type {Map<string, Edit>} */
  const edits = new Map([["layer_2_a", { action: "again" }], ["layer_2_b", { action: "drop" }]]);
  assert.deepEqual(nodes(askedFrom(2, makeModel().cells.values(), edits)), ["layer_2_a", "aggregator"]);
});

/** @type {[claim: string, known: Partial<Cell>[], asked: string[]][]} */
const RESUMED = [
  ["an aggregator that failed", [{ agent: "aggregator", status: "failed" }], ["aggregator"]],
  ["what was stopped, but not what failed where enough others may answer",
    [{ layer: 2, agent: "a", status: "failed" }, { layer: 2, agent: "b", status: "waiting" },
      { agent: "aggregator", status: "waiting" }], ["layer_2_b", "aggregator"]],
  ["those that failed of a layer without its quorum, and all behind",
    [{ layer: 2, agent: "a", status: "failed" }, { layer: 2, agent: "b", status: "cut off" },
      { agent: "aggregator", status: "waiting" }], ["layer_2_a", "layer_2_b", "aggregator"]],
  ["not what failed in a layer before", [{ layer: 1, agent: "a", status: "failed" },
    { agent: "aggregator", status: "waiting" }], ["aggregator"]],
];

for (const [claim, known, asked] of RESUMED) {
  test(`resuming asks ${claim}`, () => {
    const model = makeModel(known);
    assert.ok(model.layout);
    assert.deepEqual(nodes(askedByResume(model.cells.values(), model.layout)), asked);
  });
}

test("a call costs what it cost before, also where the step that is shown does not know it", () => {
  const known = new KnownCosts();
  const cell = makeCell({ cost: 0.5 });
  known.learn("t", [cell]);
  assert.equal(known.estimate({ ...cell, cost: null }, []), 0.5);
  known.learn("other", []);
  assert.equal(known.estimate({ ...cell, cost: null }, []), null);
});

test("a call of unknown cost is taken for those of the same agent, or else for those of all", () => {
  const known = new KnownCosts();
  const all = [makeCell({ cost: 1 }), makeCell({ agent: "b", cost: 3 })];
  assert.equal(known.estimate(makeCell({ layer: 2 }), all), 1);
  assert.equal(known.estimate(makeCell({ agent: "c" }), all), 2);
});

test("going on from the step that is shown costs what comes behind it, with the changes made there", () => {
  const model = makeModel([], { step: "s3", newest: false });
  assert.equal(writeCost(costOfChange(model)), "1 call, about $0.010");
  model.edits.set("layer_2_b", { action: "again" });
  assert.equal(costOfChange(model).calls, 2);
});

/** @type {[costs: (number | null)[], text: string][]} */
const TEXTS = [
  [[], "no call"],
  [[0.004], "1 call, about $0.0040"],
  [[0.01, 0.02], "2 calls, about $0.030"],
  [[1, 2], "2 calls, about $3.00"],
  [[0, 0], "2 calls, free"],
  [[0.00001], "1 call, about $0.0001"],
];

for (const [costs, text] of TEXTS) {
  test(`calls of ${costs.join(" and ") || "nothing"} are written as "${text}"`, () => {
    const calls = costs.map((cost, index) => makeCell({ agent: `a${index}`, cost }));
    assert.equal(writeCost(costOf(calls, calls, new KnownCosts())), text);
  });
}

test("costs that nobody knows are said to be unknown, and a sum without one is the least", () => {
  assert.equal(writeCost({ calls: 2, cost: null, complete: false }), "2 calls, of unknown cost");
  assert.equal(writeCost({ calls: 2, cost: 0.5, complete: false }), "2 calls, at least $0.50");
});
