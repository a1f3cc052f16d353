import assert from "node:assert/strict";
import { test } from "node:test";

import { changes, outcome, progress, totals } from "#page/summary.js";

import { makeCell } from "./cells.js";

/** @import { Cell, Step } from "#page/types.js" */

/**
 * @param {Cell[]} cells
 * @param {number} last the aggregator's layer
 */
function picture(cells, last = 2) {
  const received = cells.map((cell) => ({ ...cell, at: 0 }));
  /** @param {number} number */
  const layer = (number) => received.filter((cell) => cell.layer === number);
  const proposers = received.filter((cell) => cell.layer < last);
  return { cells: new Map(received.map((cell) => [cell.node, cell])), last, layer, proposers, step };
}

const answered = /** @type {const} */ ({ status: "answered", read: 1000, written: 234, cost: 0.25 });
/** @type {Step} */
const step = { id: "1", label: "Layer 1 answered", when: "2026-01-01T00:00:00Z", turn: 1, layer: 1 };

test("totals add up the tokens and costs of all calls", () => {
  const cells = [
    makeCell({ agent: "a", ...answered }),
    makeCell({ agent: "b", ...answered }),
    makeCell({ agent: "c" }),
  ];
  assert.equal(totals(picture(cells), false), "2,468 tokens · ~$0.50");
});

test("totals are about right while a call runs", () => {
  assert.match(totals(picture([makeCell(answered)]), true), /^~1,234 tokens/);
});

test("totals with a cost that nobody knows are the least that it can be", () => {
  const cells = [makeCell({ agent: "a", ...answered }), makeCell({ agent: "b", ...answered, cost: null })];
  assert.match(totals(picture(cells), false), / · at least ~\$0\.25$/);
});

test("totals without any known cost say so", () => {
  assert.equal(totals(picture([makeCell({ ...answered, cost: null })]), false), "1,234 tokens · cost not known");
});

test("totals before any answer tell no cost", () => {
  assert.equal(totals(picture([makeCell()]), false), "0 tokens");
});

test("progress names whom a layer waits for", () => {
  const cells = [makeCell({ agent: "a", ...answered }), makeCell({ agent: "b", status: "running" })];
  assert.equal(progress(picture(cells), 0), "Layer 1: 1 of 2 answered, waiting for b.");
});

test("progress names three agents, and counts the others", () => {
  const cells = ["a", "b", "c", "d", "e"].map((agent) => makeCell({ agent, status: "running" }));
  assert.match(progress(picture(cells.slice(0, 3)), 0), /waiting for a, b and c\.$/);
  assert.equal(progress(picture(cells), 0), "Layer 1: 0 of 5 answered, waiting for a, b, c and 2 more.");
});

test("progress tells when the aggregator begins to write", () => {
  const aggregator = makeCell({ agent: "aggregator", layer: 2, status: "running" });
  assert.equal(progress(picture([aggregator]), 0), "Waiting for the aggregator.");
  assert.equal(progress(picture([{ ...aggregator, text: "a" }]), 0), "The answer is coming.");
});

test("progress tells who has long been silent", () => {
  const cells = [
    makeCell({ agent: "a", status: "running", seconds: 61 }),
    makeCell({ agent: "b", status: "running", seconds: 61, text: "wrote just now" }),
    makeCell({ agent: "c", status: "running", seconds: 1 }),
  ];
  const shown = picture(cells);
  assert.equal(progress(shown, 1000), "Layer 1: 0 of 3 answered, still waiting for a (silent for 60 s).");
  const all = "a (silent for 90 s), b (silent for 30 s) and c (silent for 30 s)";
  assert.equal(progress(shown, 31_000), `Layer 1: 0 of 3 answered, still waiting for ${all}.`);
});

test("progress tells that the aggregator has long been silent", () => {
  const aggregator = makeCell({ agent: "aggregator", layer: 2, status: "running", text: "a" });
  assert.equal(progress(picture([aggregator]), 29_000), "The answer is coming.");
  assert.equal(progress(picture([aggregator]), 60_000), "Still waiting for the aggregator (silent for 60 s).");
});

test("progress between two layers claims nothing", () => {
  assert.equal(progress(picture([makeCell(answered)])), "Running.");
});

test("the outcome counts the proposals that are missing", () => {
  const cells = [
    makeCell({ agent: "a", ...answered }),
    makeCell({ agent: "b", status: "failed" }),
    makeCell({ agent: "c", status: "cut off" }),
    makeCell({ agent: "aggregator", layer: 2, ...answered }),
  ];
  const view = { finished: true, newest: true };
  assert.equal(outcome(picture(cells), view, step), "Answered by 1 of 3 proposers.");
  assert.equal(outcome(picture(cells.slice(0, 1)), view, step), "Answered.");
});

test("the outcome counts who was asked, where a layer was skipped", () => {
  const cells = [1, 2].flatMap((layer) => ["a", "b"].map((agent) =>
    makeCell({ layer, agent, ...(layer === 1 ? answered : { status: "skipped" }) })));
  assert.equal(outcome(picture(cells, 3), { finished: true, newest: true }, step), "Answered by all 2 proposers.");
});

test("the outcome of quotes is no answer of a language model", () => {
  const cells = ["a", "b"].map((agent) => makeCell({ agent, model: "offline:lead", ...answered }));
  assert.match(outcome(picture(cells), { finished: true, newest: true }, step), /No language model was asked/);
});

test("a run whose aggregator failed is not answered", () => {
  const cells = [makeCell({ node: "aggregator", status: "failed" })];
  assert.match(outcome(picture(cells), { finished: false, newest: true }, step), /^Not answered\.$/);
});

test("the outcome at an earlier step is the step", () => {
  const view = { finished: true, newest: false };
  assert.equal(outcome(picture([]), view, step), "Step: Layer 1 answered.");
});

test("the outcome of a run that was stopped tells how it goes on", () => {
  assert.match(outcome(picture([]), { finished: false, newest: true }, step), /^Not finished\.$/);
});

test("the outcome of a run that lost a layer says that it failed", () => {
  const view = { finished: false, newest: true, error: "layer 1: 0 of 2 proposers answered" };
  assert.match(outcome(picture([]), view, step), /^Not answered\.$/);
});

test("changes are named in the order in which they were made", () => {
  const cells = ["a", "b", "c"].map((agent) => makeCell({ agent }));
  const edits = new Map([
    ["layer_1_c", /** @type {const} */ ({ action: "drop" })],
    ["layer_1_a", /** @type {const} */ ({ action: "edit", text: "x" })],
    ["layer_1_b", /** @type {const} */ ({ action: "again" })],
  ]);
  const text = "Layer 1: c dropped, a edited, b to be asked again.";
  assert.equal(changes(picture(cells), edits), text);
});

test("an earlier step without changes is named", () => {
  assert.equal(changes(picture([]), new Map()), "An earlier step: layer 1 answered.");
});
