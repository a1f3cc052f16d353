import "./document.js";

import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";

import { find, h } from "#page/dom.js";
import { Picture, sums } from "#page/picture.js";

import { makeCell, makeCells, makeLayout } from "./cells.js";

/** @import { Cell } from "#page/types.js" */

mock.timers.enable({ apis: ["setInterval"] });
let now = 0; // milliseconds of the page's clock
mock.method(performance, "now", () => now);

beforeEach(() => {
  now = 0;
});

/**
 * Draw a mixture of two layers.
 * @param {string[]} agents of each layer
 */
function draw(agents = ["a", "b"]) {
  /** @type {string[]} */
  const selected = [];
  const root = h("section");
  const picture = new Picture(root, (node) => selected.push(node));
  picture.show(makeLayout(agents, 2), makeCells(agents, 2));
  /** @param {string} node */
  const box = (node) => find(root, `[data-node="${node}"]`);
  return { root, picture, selected, box };
}

/** @param {ParentNode} root */
const text = (root, selector = "") => find(root, selector).textContent;

test("a box says of an answer that it is not whole", () => {
  const { picture, box } = draw();
  picture.update([makeCell({ status: "answered", ending_note: "cut off (length)", text: "part" })]);
  assert.equal(text(box("layer_1_a"), ".word"), "answered, not whole");
});

test("each agent has a box in its layer, and the aggregator is the last", () => {
  const { root } = draw();
  const layers = [...root.querySelectorAll(".layer")].map((layer) =>
    [...layer.querySelectorAll(".name")].map((name) => name.textContent));
  assert.deepEqual(layers, [["a", "b"], ["a", "b"], ["aggregator"]]);
  assert.equal(text(root, '[data-layer="3"] h3'), "Aggregator");
});

/** @type {[agents: number, classes: string][]} */
const WIDTHS = [[4, "flow"], [5, "flow close"], [6, "flow close"], [7, "flow close dense"]];

for (const [agents, classes] of WIDTHS) {
  test(`a layer of ${agents} is drawn as "${classes}"`, () => {
    const { root } = draw(Array.from({ length: agents }, (_, index) => `m${index}`));
    assert.equal(root.firstElementChild?.className, classes);
  });
}

test("a box that is pressed tells its node", () => {
  const { box, selected } = draw();
  box("layer_2_b").click();
  assert.deepEqual(selected, ["layer_2_b"]);
});

test("one box at most is marked as the one whose text is shown", () => {
  const { picture, root } = draw();
  const pressed = () => [...root.querySelectorAll('[aria-pressed="true"]')].map((box) => box.getAttribute("data-node"));
  picture.select("layer_1_a");
  picture.select("layer_1_b");
  assert.deepEqual(pressed(), ["layer_1_b"]);
  picture.select(null);
  assert.deepEqual(pressed(), []);
});

test("boxes whose proposals are changed say how, until they are not", () => {
  const { box, picture } = draw();
  picture.mark(new Map([["layer_1_a", { action: "drop" }]]));
  assert.equal(text(box("layer_1_a"), ".mark"), "to be dropped");
  assert.equal(text(box("layer_1_b"), ".mark"), "");
  picture.mark(new Map());
  assert.equal(text(box("layer_1_a"), ".mark"), "");
});

test("the same mixture again is not drawn anew", () => {
  const { box, picture } = draw();
  const before = box("layer_1_a");
  const [first, ...others] = makeCells(["a", "b"], 2);
  picture.show(makeLayout(["a", "b"], 2), [{ ...first, status: "failed", error: "No." }, ...others]);
  assert.equal(box("layer_1_a"), before);
  assert.equal(before.dataset.status, "failed");
  assert.equal(text(before, ".tail"), "No.");
});

test("another mixture takes the place of the one before", () => {
  const { picture, root } = draw();
  picture.show(makeLayout(["c"], 1), makeCells(["c"], 1));
  assert.deepEqual([...root.querySelectorAll(".name")].map((name) => name.textContent), ["c", "aggregator"]);
  assert.equal(picture.last, 2);
});

test("a text grows by what is new, and begins anew with a whole one", () => {
  const { picture } = draw();
  const cell = makeCell({ status: "running" });
  picture.update([{ ...cell, text: "one" }]);
  picture.update([{ ...cell, text: undefined, more: " two" }]);
  assert.equal(picture.cells.get(cell.node)?.text, "one two");
  picture.update([{ ...cell, text: "" }]);
  assert.equal(picture.cells.get(cell.node)?.text, "");
});

test("a box shows the end of a text that comes, and the beginning of one that has come", () => {
  const { box, picture } = draw();
  const words = `first ${"x ".repeat(200)}last`;
  picture.update([makeCell({ status: "running", text: words })]);
  assert.match(text(box("layer_1_a"), ".tail") ?? "", /last$/);
  picture.update([makeCell({ status: "answered", text: words })]);
  assert.match(text(box("layer_1_a"), ".tail") ?? "", /^first/);
});

test("a box shows text without the signs of Markdown", () => {
  const { box, picture } = draw();
  picture.update([makeCell({ status: "answered", text: "# A\n\n**b** `c`" })]);
  assert.equal(text(box("layer_1_a"), ".tail"), " A b c");
});

test("a layer says how many have answered and how many must", () => {
  const { picture, root } = draw(["a", "b", "c"]);
  picture.update([makeCell({ agent: "a", status: "answered" }), makeCell({ agent: "b", status: "running" })]);
  assert.equal(text(root, '[data-layer="1"] .count'), "1/3 answered, needs 1");
  assert.equal(text(root, '[data-layer="3"] .count'), "");
});

test("a layer aggregator shows how many proposals it has gathered once the next layer has begun", () => {
  const { picture, root } = draw(["a", "b", "c"]);
  picture.update(["a", "b", "c"].map((agent) => makeCell({ agent, status: agent === "a" ? "answered" : "failed" })));
  assert.equal(text(root, '[data-layer-aggregator="1"] b'), "");
  picture.update([makeCell({ layer: 2, agent: "a", status: "running" })]);
  assert.equal(text(root, '[data-layer-aggregator="1"] b'), "1");
  assert.ok(find(root, '[data-layer-aggregator="1"]').classList.contains("done"));
  assert.equal(text(root, '[data-layer-aggregator="2"] b'), "");
});

test("the clock of a running call goes on from what the server said, and stands when it is over", () => {
  const { box, picture } = draw();
  now = 500;
  picture.update([makeCell({ status: "running", seconds: 2 })]);
  now = 2000;
  mock.timers.tick(100);
  assert.equal(text(box("layer_1_a"), ".time"), "3.5 s");
  picture.update([makeCell({ status: "answered", seconds: 3.6 })]);
  now = 9000;
  mock.timers.tick(100);
  assert.equal(text(box("layer_1_a"), ".time"), "3.6 s");
});

test("bars are measured by the slowest of their layer", () => {
  const { box, picture } = draw();
  const cell = makeCell({ status: "answered" });
  picture.update([{ ...cell, seconds: 1 }, { ...cell, node: "layer_1_b", seconds: 4 }]);
  const part = (/** @type {string} */ node) => box(node).style.getPropertyValue("--part");
  assert.deepEqual([part("layer_1_a"), part("layer_1_b"), part("layer_2_a")], ["0.25", "1", "0"]);
});

test("the one that its layer waited for says so", () => {
  const { box, picture } = draw();
  picture.update([makeCell({ status: "answered", critical: true })]);
  assert.equal(text(box("layer_1_a"), ".word"), "answered, waited for");
});

/** @type {[string, Partial<Cell>, string][]} */
const SUMS = [
  ["a call that has not begun", {}, ""],
  ["a call that runs, about", { status: "running", written: 1200, cost: 1 }, "~1,200 tokens"],
  ["a call that is over", { status: "answered", read: 1000, written: 200, cost: 0.5 }, "1,200 tokens · ~$0.50"],
  ["a call without a known cost", { status: "answered", read: 1, written: 2 }, "3 tokens"],
];

for (const [claim, cell, expected] of SUMS) {
  test(`tokens and cost of ${claim}`, () => assert.equal(sums(makeCell(cell)), expected));
}
