import { lay } from "./document.js";

import assert from "node:assert/strict";
import { test } from "node:test";

import { h } from "#page/dom.js";
import { Wires } from "#page/wires.js";

/** @import { Cell } from "#page/types.js" */

/** Draw the wires between two proposers, their layer aggregator, and the aggregator. */
function draw() {
  const box = () => h("button");
  const boxes = new Map([["a", box()], ["b", box()], ["aggregator", box()]]);
  const [a, b, aggregator] = boxes.values();
  const flow = h("div", {},
    h("section", { class: "layer", "data-layer": 1 }, a, b),
    h("div", { class: "layer-aggregator", "data-layer-aggregator": 1 }, h("b")),
    h("section", { class: "layer", "data-layer": 2 }, aggregator));
  lay(flow, [100, 50, 400, 200]);
  lay(a, [100, 50, 100, 40]);
  lay(b, [100, 150, 100, 40]);
  lay(/** @type {Element} */ (flow.querySelector("b")), [250, 100, 20, 20]);
  lay(aggregator, [320, 90, 100, 40]);
  return { flow, wires: new Wires(flow, boxes, 1) };
}

/** @param {Element} flow */
const paths = (flow) => [...flow.querySelectorAll("path")];

/**
 * Colour the wires of agents in such states.
 * @param {Record<"a" | "b" | "aggregator", Cell["status"]>} states
 */
function colour(states) {
  const { flow, wires } = draw();
  wires.colour(new Map(Object.entries(states).map(([node, status]) => [node, { status, critical: node === "b" }])));
  return paths(flow).map((path) => path.getAttribute("class") ?? "");
}

test("each proposer is wired to its layer aggregator, and the layer aggregator to each agent behind it", () => {
  const { flow } = draw();
  assert.deepEqual(paths(flow).map((path) => path.dataset.side), ["in", "in", "out"]);
});

test("wires lie behind the boxes, and readers of the screen do not meet them", () => {
  const { flow } = draw();
  assert.equal(flow.firstElementChild?.getAttribute("class"), "wires");
  assert.equal(flow.firstElementChild?.getAttribute("aria-hidden"), "true");
});

test("a wire goes from the right edge of a box to the left edge of the next", () => {
  const { flow, wires } = draw();
  wires.place();
  assert.equal(paths(flow)[0].getAttribute("d"), "M100 20C125 20 125 60 150 60");
  assert.equal(paths(flow)[2].getAttribute("d"), "M170 60C195 60 195 60 220 60");
});

test("a wire to the layer aggregator is used once its proposer has answered", () => {
  const [a, b] = colour({ a: "answered", b: "failed", aggregator: "waiting" });
  assert.equal(a, "used");
  assert.equal(b, "critical");
});

test("a wire from the layer aggregator is used once its agent is asked, and flows while it writes", () => {
  const out = (/** @type {Cell["status"]} */ status) => colour({ a: "answered", b: "answered", aggregator: status })[2];
  assert.equal(out("waiting"), "");
  assert.equal(out("running"), "used flowing");
  assert.equal(out("answered"), "used");
});
