import { press } from "./document.js";

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { byId, find } from "#page/dom.js";
import { Strip } from "#page/strip.js";

import { makeCell } from "./cells.js";
import { makeModel } from "./models.js";

/** @import { Cell, View } from "#page/types.js" */

/** @type {unknown[]} */
let done = [];
const root = byId("strip");
const strip = new Strip(root, {
  select: (node) => done.push(node), goTo: (step) => done.push(step),
  change: () => done.push("change"), openPicture: () => done.push("picture"),
});

/**
 * @param {Partial<Cell>[]} known
 * @param {Partial<View>} view
 * @param {number} width
 */
function draw(known = [], view = {}, width = 1000, agents = ["a", "b"]) {
  Object.defineProperty(root, "clientWidth", { value: width, configurable: true });
  const model = makeModel(known, view, agents);
  strip.draw(model);
  return model;
}

const stops = () => [...root.querySelectorAll(".at")];
/** @param {string} node */
const tile = (node) => find(root, `[data-node="${node}"]`);

beforeEach(() => {
  done = [];
});

test("columns are the question, the layers and the answer", () => {
  draw();
  assert.deepEqual(stops().map((stop) => stop.textContent), ["Question", "Layer 12/2", "Layer 22/2", "Answer"]);
});

test("a stop leads to its step, and the one that is shown is the current one", () => {
  draw();
  /** @type {HTMLElement} */ (stops()[1]).click();
  assert.deepEqual(done, ["s1"]);
  assert.deepEqual(stops().map((stop) => stop.getAttribute("aria-current")), [null, null, null, "step"]);
});

test("while a run goes on, no stop leads anywhere", () => {
  draw([{ layer: 2, agent: "a", status: "running" }], { running: true });
  assert.deepEqual(stops().map((stop) => stop.tagName), ["SPAN", "SPAN", "SPAN", "SPAN"]);
  assert.equal(stops()[2].getAttribute("aria-current"), "step");
});

/** @type {[key: string, from: string, asked: string[]][]} */
const KEYS = [
  ["ArrowLeft", "s5", ["s3"]],
  ["ArrowRight", "s1", ["s3"]],
  ["Home", "s5", ["s0"]],
  ["End", "s0", ["s5"]],
  ["ArrowLeft", "s0", []],
  ["a", "s1", []],
];

for (const [key, from, expected] of KEYS) {
  test(`the key ${key} at the stop of ${from} asks for ${expected[0] ?? "nothing"}`, () => {
    draw([], { step: from, newest: from === "s5" });
    press(find(root, `[data-step="${from}"]`), key);
    assert.deepEqual(done, expected);
  });
}

test("the tab key reaches one tile and the current stop", () => {
  draw();
  const reached = [...root.querySelectorAll("button")].filter((button) => button.tabIndex === 0);
  assert.deepEqual(reached.map((button) => button.dataset.node ?? button.dataset.step ?? button.id),
    ["layer_1_a", "s5", "more"]);
});

/** @type {[key: string, from: string, to: string][]} */
const WALKS = [
  ["ArrowRight", "layer_1_b", "layer_1_c"],
  ["ArrowDown", "layer_1_a", "layer_1_c"],
  ["ArrowUp", "layer_1_c", "layer_1_a"],
  ["ArrowUp", "layer_1_a", "layer_1_a"],
  ["ArrowRight", "layer_1_d", "layer_2_a"],
  ["End", "layer_1_a", "aggregator"],
];

for (const [key, from, to] of WALKS) {
  test(`the key ${key} goes from ${from} to ${to}`, () => {
    draw([], {}, 1000, ["a", "b", "c", "d"]);
    press(tile(from), key);
    assert.equal(document.activeElement?.getAttribute("data-node"), to);
    assert.equal(tile(to).tabIndex, 0);
  });
}

test("a tile says its state by an icon, a word and what it took", () => {
  draw([{ layer: 1, agent: "a", status: "failed", error: "No." }, { layer: 1, agent: "b", hedged: true }]);
  assert.equal(tile("layer_1_a").dataset.state, "failed");
  assert.equal(tile("layer_1_a").querySelector("svg")?.dataset.icon, "bad");
  assert.equal(tile("layer_1_a").querySelector(".word")?.textContent, "failed");
  assert.equal(tile("layer_1_b").dataset.state, "hedged");
  assert.equal(tile("layer_2_a").querySelector(".about")?.textContent, "answeredanswered1.0 s10 tok");
});

test("a click on a tile looks at its proposal", () => {
  draw();
  tile("layer_2_b").click();
  assert.deepEqual(done, ["layer_2_b"]);
});

test("tiles stay when the run goes on, and so does the focus", () => {
  const model = draw([{ layer: 1, agent: "a", status: "running" }], { running: true });
  const before = tile("layer_1_a");
  before.focus();
  model.cells.set("layer_1_a", { .../** @type {Cell} */ (model.cells.get("layer_1_a")), status: "answered", at: 0 });
  strip.update();
  assert.equal(tile("layer_1_a"), before);
  assert.equal(before.dataset.state, "answered");
  assert.equal(document.activeElement, before);
});

test("layers that were skipped say so, and one that is called again, too", () => {
  const waiting = ["a", "b"].map((agent) => ({ layer: 2, agent, status: /** @type {const} */ ("waiting") }));
  draw(waiting.map((cell) => ({ ...cell, status: "skipped" })));
  assert.equal(stops()[2].textContent, "Layer 2skipped");
  draw(waiting, { step: "s1", newest: false });
  assert.equal(stops()[2].textContent, "Layer 2again");
});

test("a proposal that is going to be dropped does not count", () => {
  const model = draw([], { step: "s1", newest: false });
  model.edits.set("layer_1_a", { action: "drop" });
  strip.draw(model);
  assert.equal(stops()[1].textContent, "Layer 11/2");
});

test("a tile names the voter, and not that it votes: its column says so", () => {
  const model = draw();
  const aggregator = makeCell({ agent: "aggregator", layer: 4 });
  const voter = makeCell({ node: "vote_a", agent: "vote_a", layer: 3, status: "answered" });
  const { view } = model;
  assert.ok(view);
  model.load({ ...view, cells: [...model.proposers, voter, aggregator] }, false, 0);
  strip.draw(model);
  assert.equal(find(tile("vote_a"), "b").textContent, "a");
  assert.match(find(tile("vote_a"), ".where").textContent ?? "", /vote of a/);
});

test("where there is no place a layer is folded, tells how it went, and unfolds", () => {
  draw([{ layer: 1, agent: "c", status: "failed" }], {}, 308, ["a", "b", "c", "d", "e", "f"]);
  const fold = find(root, ".fold .tile");
  assert.equal(fold.dataset.state, "failed");
  assert.match(fold.textContent ?? "", /^5\/61\.0 sfailed/);
  assert.equal(find(root, ".fold .stop").textContent, "Layer 1"); // the tile counts
  fold.click();
  assert.ok(tile("layer_1_c"));
  assert.equal(root.querySelector('[data-node="layer_2_a"]'), null);
});

test("proposers without a place are counted, and the picture has them", () => {
  draw([], {}, 308, Array.from({ length: 20 }, (_, index) => `m${index}`));
  const rest = find(root, ".rest");
  assert.match(rest.textContent ?? "", /^\+\d+\d+ answered$/);
  rest.click();
  assert.deepEqual(done, ["picture"]);
});

test("without a run there is no strip", () => {
  draw([], { layout: undefined, cells: undefined });
  assert.equal(root.hidden, true);
});
