import "./document.js";

import assert from "node:assert/strict";
import { test } from "node:test";

import { h } from "#page/dom.js";
import { cutInMiddle } from "#page/long_name.js";

const parts = (/** @type {string} */ name) =>
  [...h("b", {}, cutInMiddle(name)).childNodes].map((each) => each.textContent);

test("a long name keeps its end, for names that are alike often differ there", () => {
  assert.deepEqual(parts("amber"), ["amber"]);
  assert.deepEqual(parts("a-long-name-number-01"), ["a-long-name-numbe", "r-01"]);
  assert.deepEqual(parts("\u{1F600}".repeat(13)), ["\u{1F600}".repeat(9), "\u{1F600}".repeat(4)]);
});
