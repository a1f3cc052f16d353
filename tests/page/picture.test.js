import { lay } from "./document.js";

import assert from "node:assert/strict";
import { mock, test } from "node:test";

mock.timers.enable({ apis: ["setInterval"] });

import { find, h } from "#page/dom.js";
import { columnsOf, skippedBy } from "#page/picture_columns.js";
import { Picture } from "#page/picture.js";

import { makeCell } from "./cells.js";
import { makeModel } from "./models.js";

/** @import { Cell, Depth } from "#page/types.js" */

/** Draw a picture. */
function draw(model = makeModel()) {
  /** @type {string[]} */
  const selected = [];
  const root = h("section");
  document.body.append(root);
  const picture = new Picture(root, (node) => selected.push(node));
  picture.draw(model);
  return { picture, root, selected };
}

/** @type {Depth} */
const STOPPED = { layers: 1, of: 2, why: "agreement 0.94, at least 0.9", skipped: 2 };
/** @type {Partial<Cell>[]} */
const SKIPPED = ["a", "b"].map((agent) => ({ layer: 2, agent, status: "skipped" }));
const stopped = () => makeModel(SKIPPED, { depth: STOPPED });

/** @param {Element} root */
const paths = (root, side = "") => /** @type {SVGPathElement[]} */ (
  [...root.querySelectorAll(side ? `path[data-side="${side}"]` : ".wires path")]);

test("each layer is a column of tiles with their models, and the aggregator is the last", () => {
  const { root } = draw();
  const columns = [...root.querySelectorAll(".col")].map((column) => column.getAttribute("aria-label"));
  assert.deepEqual(columns, ["Layer 1", "Layer 2", "Aggregator"]);
  assert.equal(find(root, '[data-node="layer_1_a"] .model').textContent, "m");
});

test("a layer says how many answered and must, and what gathers it how many it has", () => {
  const { root } = draw(makeModel([{ layer: 1, agent: "a", status: "failed" }]));
  assert.equal(find(root, '[data-column="1"] .count').textContent, "1/2, needs 1");
  assert.equal(find(root, '[data-gather="1"] b').textContent, "1");
});

test("what gathers is empty until the next layer is asked", () => {
  const { root } = draw(makeModel(SKIPPED.map((cell) => ({ ...cell, status: "waiting" }))));
  assert.equal(find(root, '[data-gather="1"] b').textContent, "");
});

test("a tile leads to its proposal", () => {
  const { root, selected } = draw();
  find(root, '[data-node="layer_2_b"]').click();
  assert.deepEqual(selected, ["layer_2_b"]);
});

test("a picture that is closed is not drawn", () => {
  const root = h("section", { hidden: true });
  new Picture(root, () => {}).draw(makeModel());
  assert.equal(root.childElementCount, 0);
});

test("the same run again leaves tiles and focus where they are", () => {
  const { picture, root } = draw();
  const tile = find(root, '[data-node="layer_1_a"]');
  tile.focus();
  picture.draw(makeModel([{ layer: 1, agent: "a", status: "failed" }]));
  assert.equal(document.activeElement, tile);
  assert.equal(tile.dataset.status, "failed");
});

test("the legend explains the signs that are there", () => {
  const { root } = draw(makeModel([{ layer: 1, agent: "a", cached: true },
    { layer: 1, agent: "b", status: "failed" }]));
  const signs = [...root.querySelectorAll(".legend li")].map((each) => each.textContent);
  assert.deepEqual(signs,
    ["cached", "failed", "answered", "waited for", "gathers proposals for the next layer; calls no model"]);
});

test("those who help the aggregator have columns of their own, and nothing gathers them", () => {
  const model = makeModel();
  const aggregator = model.cells.get("aggregator");
  assert.ok(aggregator);
  model.cells.delete("aggregator");
  model.cells.set("vote_a", { ...makeCell({ layer: 3, agent: "vote_a", status: "answered" }), node: "vote_a", at: 0 });
  model.cells.set("analysis", { ...makeCell({ layer: 4, agent: "analysis" }), node: "analysis", at: 0 });
  model.cells.set("aggregator", { ...aggregator, layer: 5 });
  assert.deepEqual(columnsOf(model).map(({ name, gathers }) => [name, gathers]), [
    ["Layer 1", true], ["Layer 2", true], ["Votes", false], ["Analysis", false], ["Aggregator", false],
  ]);
});

test("layers that were not asked are grey, with why, and a line past them", () => {
  const { root } = draw(stopped());
  assert.equal(find(root, '[data-column="2"] .count').textContent, "skipped");
  assert.equal(find(root, ".why").textContent,
    "The layers ended after layer 1 of 2: agreement 0.94, at least 0.9. 2 calls were skipped.");
  assert.equal(paths(root, "past").length, 1);
  assert.deepEqual(paths(root, "out").map((path) => path.getAttribute("class")), ["none", "none", "none"]);
});

test("a router stands before the layers, and says where it sent the question", () => {
  const depth = { layers: 0, of: 2, why: "is_hard returned False", skipped: 4, route: "easy" };
  const model = makeModel([], { depth });
  const { root } = draw(model);
  assert.equal(find(root, ".router").textContent, "Routerpast the layers: easy");
  assert.match(find(root, ".why").textContent ?? "", /^The router skipped the layers: is_hard returned False\./);
  assert.equal(paths(root, "past").length, 1);
});

test("a run of all layers has no line past them", () => {
  assert.equal(skippedBy(makeModel([], { depth: { ...STOPPED, layers: 2, skipped: 0 } })), null);
  assert.equal(paths(draw().root, "past").length, 0);
});

test("wires go from each tile to what gathers it, and on to all that read it", () => {
  const sides = paths(draw().root).map((path) => path.dataset.side);
  assert.deepEqual(sides, ["in", "in", "out", "out", "in", "in", "out"]);
});

test("wires lie behind the tiles, and readers of the screen do not meet them", () => {
  const { root } = draw();
  assert.equal(find(root, ".graph").firstElementChild?.getAttribute("class"), "wires");
  assert.equal(find(root, ".wires").getAttribute("aria-hidden"), "true");
});

test("a wire goes from the right edge of its beginning to the left edge of its end", () => {
  const { picture, root } = draw();
  lay(find(root, ".graph"), [100, 50, 400, 200]);
  lay(find(root, '[data-node="layer_1_a"]'), [100, 50, 100, 40]);
  lay(find(root, '[data-gather="1"] b'), [250, 100, 20, 20]);
  picture.wires?.place();
  assert.equal(paths(root)[0].getAttribute("d"), "M100 20C125 20 125 60 150 60");
});

test("wires tell what went through them", () => {
  const model = makeModel([{ layer: 1, agent: "a", status: "failed" }, { layer: 1, agent: "b", critical: true },
    { layer: 2, agent: "a", status: "running" }]);
  const classes = paths(draw(model).root).slice(0, 4).map((path) => path.getAttribute("class") ?? "");
  assert.deepEqual(classes, ["none", "used critical", "used flowing", "used"]);
});
