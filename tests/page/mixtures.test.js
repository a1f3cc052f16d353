import { press } from "./document.js";

import assert from "node:assert/strict";
import { test } from "node:test";

import { byId } from "#page/dom.js";
import { Mixtures, briefShape, describe, shapeOf } from "#page/mixtures.js";

/** @import { Layout } from "#page/types.js" */

const agents = ["a", "b", "c"].map((name) => ({ name, model: `openai:${name}` }));
/** @type {Layout} */
const house = {
  name: "house", aggregator: "openai:w",
  layers: [{ asked: 3, needed: 2, agents }, { asked: 3, needed: 2, agents }],
};
/** @type {Layout} */
const other = {
  name: "other", aggregator: "m", missing_keys: ["OPENAI_API_KEY"], router: true, early_stop: 0.9,
  layers: [{ asked: 3, needed: 2 }, { asked: 1, needed: 1, agents: [{ name: "x", model: "openai:y" }] }],
};

const mixtures = new Mixtures();
const inputs = () => [...byId("mixes").querySelectorAll("input")];

test("a mixture tells its shape, and who is in it, layers that are alike once", () => {
  assert.equal(shapeOf(house), "2 layers × 3");
  assert.equal(shapeOf(other), "2 layers: 3, 1");
  assert.deepEqual(describe(house), [
    ["Layers 1, 2", "openai:a, openai:b, openai:c"], ["Writes", "openai:w"], ["Needs", "2 of 3 in each layer"],
  ]);
  assert.deepEqual(describe(other).slice(0, 3),
    [["Layer 2", "x (openai:y)"], ["Writes", "m"], ["Needs", "2 of 3, 1 of 1"]]);
});

test("the button tells the shape in a few characters", () => {
  assert.deepEqual(briefShape(house), ["2 × 3"]);
  assert.deepEqual(briefShape({ ...house, layers: [house.layers[0]] }), ["1 × 3"]);
  assert.deepEqual(briefShape({ ...house, layers: [] }), [""]);
  assert.deepEqual(briefShape({ ...other, router: false, early_stop: null }), ["3+1"]);
  assert.deepEqual(briefShape({ ...house, early_stop: 0.9 }), ["2 × 3", "early stop"]);
});

test("a key that is missing is named", () => {
  mixtures.draw([house, other], null);
  assert.match(byId("mixes").textContent ?? "", /needs OPENAI_API_KEY/);
});

test("the first mixture is chosen, in a thread its own", () => {
  mixtures.draw([house, other], null);
  assert.deepEqual([mixtures.chosen, byId("mix").textContent], ["house", "house, 2 × 3"]);
  mixtures.draw([house, other], "other");
  assert.deepEqual([mixtures.chosen, byId("mix").textContent], [null, "other, 3+1, router, early stop"]);
  mixtures.draw([house], "gone");
  assert.equal(byId("mix").textContent, "gone");
});

test("what a person has chosen stays chosen while the same thread is drawn again", () => {
  mixtures.draw([house, other], "house");
  mixtures.choose("other");
  mixtures.draw([house, other], "house");
  assert.equal(mixtures.chosen, "other");
});

test("the list opens at what is chosen, and Enter closes it", () => {
  mixtures.draw([house, other], null);
  byId("mix").click();
  assert.deepEqual([mixtures.isOpen, byId("mix").getAttribute("aria-expanded")], [true, "true"]);
  assert.equal(document.activeElement, inputs()[0]);
  press(inputs()[0], "Enter");
  assert.deepEqual([mixtures.isOpen, document.activeElement], [false, byId("mix")]);
});
