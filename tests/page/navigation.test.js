import "./document.js";

import assert from "node:assert/strict";
import { test } from "node:test";

import { threadOf } from "#page/navigation.js";

/** @type {[hash: string, thread: string][]} */
const ADDRESSES = [["", ""], ["#", ""], ["#a%2Fb", "a/b"], ["#100%", "100%"]];

for (const [hash, thread] of ADDRESSES) {
  test(`the address "${hash}" names the thread "${thread}"`, () => assert.equal(threadOf(hash), thread));
}
