import "./document.js";

import assert from "node:assert/strict";
import { afterEach, mock, test } from "node:test";

import { byId } from "#page/dom.js";
import { drawThreads, openMenu, threadOf } from "#page/threads.js";

/** @import { Thread } from "#page/types.js" */

const NOW = Date.UTC(2026, 0, 10);

/** @param {Partial<Thread>} known */
const makeThread = (known = {}) => ({
  ...{ id: "t", when: new Date(NOW).toISOString(), question: "q", mixture: "m", finished: true, running: false },
  ...known,
});

/**
 * Draw the list of threads that a server has.
 * @param {Partial<Thread>[]} threads
 * @param {string | null} open
 */
async function draw(threads, open = null) {
  mock.timers.enable({ apis: ["Date"], now: NOW });
  mock.method(globalThis, "fetch", () => Promise.resolve(Response.json({ threads: threads.map(makeThread) })));
  await drawThreads(open);
  return [...byId("list").children];
}

afterEach(() => {
  mock.restoreAll();
  mock.timers.reset();
});

test("a thread is listed with its question, and leads to its address", async () => {
  const [item] = await draw([{ id: "a/b", question: "Why?" }]);
  assert.equal(item.querySelector(".question")?.textContent, "Why?");
  assert.equal(item.querySelector("a")?.getAttribute("href"), "#a%2Fb");
});

test("a thread is called by its first question", async () => {
  const [item] = await draw([{ title: "Why?", question: "And then?" }]);
  assert.equal(item.querySelector(".question")?.textContent, "Why?");
});

test("the thread that is shown is marked", async () => {
  const items = await draw([{ id: "a" }, { id: "b" }], "b");
  assert.deepEqual(items.map((item) => item.querySelector("a")?.getAttribute("aria-current")), [null, "page"]);
});

/** @type {[Partial<Thread>, string][]} */
const STATES = [
  [{ finished: true }, "answered"],
  [{ finished: false }, "unfinished"],
  [{ finished: false, state: "failed" }, "failed"],
  [{ finished: true, state: "answered, 2 failed" }, "answered"],
  [{ finished: false, running: true }, "running"],
];

for (const [known, state] of STATES) {
  test(`a thread is ${state}: ${JSON.stringify(known)}`, async () => {
    const [item] = await draw([known]);
    assert.equal(item.getAttribute("data-state"), state);
  });
}

/** @type {[passed: number, text: RegExp][]} */
const AGES = [
  [0, /just now$/],
  [59, /just now$/],
  [60, /1\s?m(in)?\.? ago$/],
  [7200, /2\s?hr?\.? ago$/],
  [3 * 86_400 + 1, /3\s?d(ays)? ago$/],
  [-60, /just now$/],
];

for (const [passed, text] of AGES) {
  test(`a thread of ${passed} seconds ago was written ${text.source}`, async () => {
    const [item] = await draw([{ when: new Date(NOW - passed * 1000).toISOString() }]);
    assert.match(item.querySelector(".meta")?.textContent ?? "", text);
  });
}

test("a thread of another program says so, and has its id where it has no question", async () => {
  const [item] = await draw([{ id: "a", question: "", mixture: null }]);
  assert.equal(item.querySelector(".question")?.textContent, "a");
  assert.match(item.querySelector(".meta")?.textContent ?? "", /another program/);
});

test("a list without threads says so", async () => {
  const [item] = await draw([]);
  assert.equal(item.textContent, "No threads yet.");
});

/** @type {[hash: string, thread: string][]} */
const ADDRESSES = [["", ""], ["#", ""], ["#a%2Fb", "a/b"], ["#100%", "100%"]];

for (const [hash, thread] of ADDRESSES) {
  test(`the address "${hash}" names the thread "${thread}"`, () => assert.equal(threadOf(hash), thread));
}

test("the menu opens and closes", () => {
  openMenu(false);
  byId("menu").click();
  assert.equal(byId("menu").getAttribute("aria-expanded"), "true");
  assert.ok(document.body.classList.contains("menu-open"));
  byId("menu").click();
  assert.equal(byId("menu").getAttribute("aria-expanded"), "false");
});
