import "./document.js";

import assert from "node:assert/strict";
import { test } from "node:test";

import { CostPane } from "#page/cost_pane.js";
import { find, h } from "#page/dom.js";

import { makeModel } from "./models.js";

/** @import { Cell } from "#page/types.js" */

/** @param {Partial<Cell>[]} known */
function draw(known = []) {
  const places = { pane: h("div"), acts: h("div") };
  new CostPane().draw(places, makeModel(known));
  return places.pane;
}

/**
 * Read the cells of a table.
 * @param {ParentNode} root
 */
const rows = (root) => [...root.querySelectorAll("tr")].map((row) => [...row.children].map((cell) => cell.textContent));

test("each call has its bar on the axis, in its layer", () => {
  const root = draw([{ layer: 2, agent: "a", began: 1, seconds: 1 }]);
  const names = [...root.querySelectorAll(".gantt .layer, .gantt .name")].map((each) => each.textContent);
  assert.deepEqual(names, ["Layer 1", "a", "b", "Layer 2", "a", "b", "Answer", "aggregator"]);
  const bar = root.querySelectorAll("i")[2];
  assert.equal(Number(bar.style.getPropertyValue("--from")).toFixed(2), "0.33");
  assert.equal(Number(bar.style.getPropertyValue("--part")).toFixed(2), "0.33");
});

test("a bar is told in words", () => {
  const root = draw([{ layer: 1, agent: "a", status: "failed", began: 0, critical: true },
    { layer: 1, agent: "b", cached: true }]);
  const [failed, cached] = root.querySelectorAll(".gantt .r");
  assert.equal(failed.textContent, "failed 1.0 s, failed from 0.0 s on, waited for");
  assert.match(cached.textContent ?? "", /^cached/);
  assert.equal(find(root, "i").dataset.look, "bad");
  assert.match(root.textContent ?? "", /Underlined: what the run waited for/);
});

test("tokens and costs are added up by agent, and for all", () => {
  assert.deepEqual(rows(draw()), [
    ["Agent", "Calls", "Read", "Written", "Cost"],
    ["a", "2", "200", "20", "$0.0200"],
    ["b", "2", "200", "20", "$0.0200"],
    ["aggregator", "1", "100", "10", "$0.0100"],
    ["All", "5", "500", "50", "$0.0500"],
  ]);
});

test("calls that were not made are not counted", () => {
  const root = draw([{ layer: 2, agent: "b", status: "skipped" }, { agent: "aggregator", status: "waiting" }]);
  const calls = rows(root).map((row) => row.slice(0, 2));
  assert.deepEqual(calls, [["Agent", "Calls"], ["a", "2"], ["b", "1"], ["All", "3"]]);
});

test("calls that told of no token have neither tokens nor cost", () => {
  const root = draw([1, 2].map((layer) =>
    ({ layer, agent: "b", status: "failed", read: null, written: null, cost: null })));
  assert.deepEqual(rows(root)[2], ["b", "2", "–", "–", "–"]);
});

test("a cost that nobody knows is named", () => {
  const root = draw([1, 2].map((layer) => ({ layer, agent: "b", cost: null, model: "x:y" })));
  assert.equal(rows(root)[2][4], "not known");
  assert.match(root.textContent ?? "", /The sum excludes unknown prices: x:y\./);
});

test("what the run cost beside its calls is told", () => {
  const places = { pane: h("div"), acts: h("div") };
  new CostPane().draw(places, makeModel([], { cost: 0.06 }));
  assert.match(places.pane.textContent ?? "", /failed aggregators: about \$0\.0600\./);
});

test("quotes cost nothing", () => {
  const root = draw(["a", "b"].flatMap((agent) => [1, 2].map((layer) => ({ layer, agent, model: "offline:lead" })))
    .concat([{ layer: 3, agent: "aggregator", model: "offline:consensus" }]));
  assert.match(root.textContent ?? "", /No language model was asked: it cost nothing\./);
});
