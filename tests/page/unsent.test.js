import "./document.js";

import assert from "node:assert/strict";
import { test } from "node:test";

import { Unsent } from "#page/unsent.js";

import { makeModel } from "./models.js";

const at = (/** @type {string} */ step) => makeModel([], { step, newest: false });

test("what is changed at a step is there when somebody comes back to it", () => {
  const unsent = new Unsent();
  unsent.at(at("s1")).drafts.set("layer_1_a", "half");
  unsent.at(at("s1")).edits.set("layer_1_b", { action: "drop" });
  assert.equal(unsent.at(at("s3")).drafts.size, 0);
  assert.equal(unsent.at(at("s1")).drafts.get("layer_1_a"), "half");
  assert.equal(unsent.at(at("s1")).edits.size, 1);
});

test("what was sent or given up is forgotten", () => {
  const unsent = new Unsent();
  assert.equal(unsent.some, false);
  const changes = unsent.at(at("s1"));
  changes.drafts.set("layer_1_a", "half");
  assert.equal(unsent.some, true);
  unsent.forget(changes);
  assert.equal(unsent.some, false);
  assert.equal(unsent.at(at("s1")).drafts.size, 0);
});
