import { press } from "./document.js";

import assert from "node:assert/strict";
import { afterEach, mock, test } from "node:test";

import { byId, find, h } from "#page/dom.js";
import { Threads } from "#page/threads.js";

import { button } from "./models.js";

/** @import { Thread } from "#page/types.js" */

const NOW = Date.UTC(2026, 0, 10);
const settled = () => new Promise((resolve) => { setImmediate(resolve); });

/** @param {Partial<Thread>} known */
const makeThread = (known = {}) => ({
  ...{ id: "t", when: new Date(NOW).toISOString(), question: "q", mixture: "m" },
  ...{ finished: true, running: false, turns: 2 },
  ...known,
});

/**
 * Draw a list of threads.
 * @param {Partial<Thread>[]} threads
 * @param {string | null} current
 * @param {Error | null} fault of renaming and deleting
 */
function draw(threads, current = null, fault = null) {
  mock.timers.enable({ apis: ["Date", "setTimeout"], now: NOW });
  /** @type {unknown[][]} */
  const done = [];
  const log = (/** @type {string} */ name) => (/** @type {unknown[]} */ ...given) => { done.push([name, ...given]); };
  const later = (/** @type {string} */ name) => (/** @type {unknown[]} */ ...given) => {
    log(name)(...given);
    return fault ? Promise.reject(fault) : Promise.resolve();
  };
  const root = h("nav");
  byId("main").replaceChildren(root);
  const list = new Threads(root, {
    start: log("start"), search: log("search"), report: log("report"), rename: later("rename"), remove: later("remove"),
  });
  list.draw(threads.map(makeThread), current);
  const items = () => [...root.querySelectorAll("li")];
  const click = (/** @type {string} */ label) => button(root, label)?.click();
  return { click, done, items, list, root };
}

afterEach(() => mock.timers.reset());

test("a thread is listed with its question, and leads to its address", () => {
  const [item] = draw([{ id: "a/b", question: "Why?" }]).items();
  assert.equal(item.querySelector(".question")?.textContent, "Why?");
  assert.equal(item.querySelector("a")?.getAttribute("href"), "#a%2Fb");
});

test("a thread is called by its title", () => {
  const [item] = draw([{ title: "Why?", question: "And then?" }]).items();
  assert.equal(item.querySelector(".question")?.textContent, "Why?");
});

test("the thread that is shown is marked", () => {
  const items = draw([{ id: "a" }, { id: "b" }], "b").items();
  assert.deepEqual(items.map((item) => item.querySelector("a")?.getAttribute("aria-current")), [null, "page"]);
});

/** @type {[known: Partial<Thread>, state: string, icon: string][]} */
const STATES = [
  [{ finished: true }, "answered", "ok"],
  [{ finished: false }, "unfinished", "skip"],
  [{ finished: false, state: "failed" }, "failed", "bad"],
  [{ finished: false, state: "stopped" }, "stopped", "skip"],
  [{ outcome: "degraded", state: "answered, 2 failed" }, "degraded", "warn"],
  [{ state: "answered, 2 failed" }, "answered", "ok"],
  [{ finished: false, running: true }, "running", "run"],
];

for (const [known, state, icon] of STATES) {
  test(`a thread is ${state}, in a word and an icon: ${JSON.stringify(known)}`, () => {
    const [item] = draw([known]).items();
    assert.equal(item.dataset.state, state);
    assert.equal(item.querySelector(".state")?.textContent, state);
    assert.equal(item.querySelector("a svg")?.getAttribute("data-icon"), icon);
  });
}

test("the word is seen of a thread that did not simply answer", () => {
  const seen = draw([{ finished: true }, { outcome: "degraded" }]).items()
    .map((item) => item.querySelector(".state > .unseen") === null);
  assert.deepEqual(seen, [false, true]);
});

test("the word for the state is short; what else is known stands in the tooltip", () => {
  const [item] = draw([{ title: "Why?", outcome: "degraded", state: "answered, 2 failed", mixture: "house" }]).items();
  assert.equal(item.querySelector(".state")?.textContent, "degraded");
  assert.equal(item.querySelector("a")?.title, "Why?\ndegraded, 2 failed\nhouse");
  assert.match(item.querySelector(".meta")?.textContent ?? "", /degraded, 2 failed/); // for readers of the screen
});

test("a thread whose menu is open tells that its run has ended", () => {
  const { click, items, list } = draw([{ id: "a", title: "Why?", running: true }]);
  click("More for: Why?");
  list.draw([makeThread({ id: "a", title: "Why?", running: false, outcome: "failed" })], null);
  assert.equal(items()[0].dataset.state, "failed");
  assert.match(items()[0].querySelector("a")?.textContent ?? "", /failed/);
});

test("a damaged thread says so, and can only be deleted", async () => {
  const damaged = { id: "a", question: "", mixture: null, state: "damaged" };
  const { click, done, items, root } = draw([damaged]);
  assert.equal(items()[0].querySelector(".state")?.textContent, "damaged");
  click("More for: a");
  assert.deepEqual([...root.querySelectorAll(".pop button")].map((each) => each.textContent), ["Delete…"]);
  click("Delete…");
  assert.match(find(root, ".pop p").textContent ?? "", /^Delete this damaged thread\? .* is lost\./);
  click("Delete");
  await settled();
  assert.deepEqual(done, [["remove", "a"]]);
});

test("a thread of another program is not deleted, and it is told where it can be", () => {
  const { click, root } = draw([{ id: "a", question: "", mixture: null }]);
  click("More for: a");
  assert.equal(button(root, "Delete…"), undefined);
  assert.match(find(root, ".pop").textContent ?? "", /Delete it there/);
});

/** @type {[passed: number, text: RegExp][]} */
const AGES = [[0, /just now/], [60, /1\s?m(in)?\.? ago/], [7200, /2\s?hr?\.? ago/],
  [3 * 86_400 + 1, /3\s?d(ays)? ago/], [-60, /just now/]];

for (const [passed, text] of AGES) {
  test(`a thread of ${passed} seconds ago was written ${text.source}`, () => {
    const [item] = draw([{ when: new Date(NOW - passed * 1000).toISOString() }]).items();
    assert.match(item.querySelector(".meta")?.textContent ?? "", text);
  });
}

test("a thread of another program says so, and has its id where it has no question", () => {
  const [item] = draw([{ id: "a", question: "", mixture: null }]).items();
  assert.equal(item.querySelector(".question")?.textContent, "a");
  assert.match(item.textContent ?? "", /another program/);
});

test("a list without threads says so", () => {
  assert.equal(draw([]).items()[0].textContent, "No threads yet. Your questions will appear here.");
});

test("a search hides at once what does not match, and asks the server a moment later", () => {
  const threads = [{ id: "a", title: "Sky" }, { id: "b", title: "Sea", question: "and the SKY?" }, { id: "c" }];
  const { done, items, root } = draw(threads);
  const field = /** @type {HTMLInputElement} */ (find(root, "input"));
  field.value = " sky ";
  field.dispatchEvent(new Event("input"));
  assert.deepEqual(items().map((item) => item.hidden), [false, false, true]);
  assert.deepEqual(done, []);
  mock.timers.tick(300);
  assert.deepEqual(done, [["search", "sky"]]);
});

test("what a search has found is told, and that it has found nothing", () => {
  const { items, list, root } = draw([{}]);
  const field = /** @type {HTMLInputElement} */ (find(root, "input"));
  field.value = "sky";
  list.draw([makeThread()], null);
  assert.equal(find(root, "[role=status]").textContent, "1 thread found.");
  list.draw([], null);
  assert.equal(items()[0].textContent, "No thread contains these words.");
});

test("a thread is renamed", async () => {
  const { click, done, root } = draw([{ id: "a", title: "Old" }]);
  click("More for: Old");
  click("Rename");
  const field = /** @type {HTMLInputElement} */ (find(root, "li input"));
  assert.equal(field.value, "Old");
  field.value = " New ";
  find(root, "form").dispatchEvent(new Event("submit", { cancelable: true }));
  await settled();
  assert.deepEqual(done, [["rename", "a", "New"]]);
  assert.equal(root.querySelector(".pop"), null);
});

test("where a thread is gone that had the focus, the search has it", () => {
  const { items, list } = draw([{ id: "a" }, { id: "b" }]);
  items()[0].querySelector("a")?.focus();
  list.draw([makeThread({ id: "a" }), makeThread({ id: "b" })], null);
  assert.equal(document.activeElement, items()[0].querySelector("a"));
  list.draw([makeThread({ id: "b" })], null);
  assert.equal(document.activeElement, list.field);
});

test("before a thread is deleted, it is told what is lost", async () => {
  const { click, done, root } = draw([{ id: "a", title: "Old", turns: 2 }]);
  click("More for: Old");
  click("Delete…");
  assert.deepEqual(done, []);
  assert.match(find(root, ".pop p").textContent ?? "", /You lose its 2 turns with all proposals and branches/);
  assert.equal(document.activeElement?.textContent, "Keep it");
  click("Delete");
  await settled();
  assert.deepEqual(done, [["remove", "a"]]);
});

test("a thread is kept where somebody thinks better of it", () => {
  const { click, done, root } = draw([{ title: "Old" }]);
  click("More for: Old");
  click("Delete…");
  click("Keep it");
  assert.deepEqual(done, []);
  assert.equal(root.querySelector(".pop"), null);
  assert.equal(document.activeElement?.getAttribute("aria-label"), "More for: Old");
});

test("what goes wrong is told where it was asked for", async () => {
  const { click, root } = draw([{ title: "Old" }], null, new Error("It runs."));
  click("More for: Old");
  click("Delete…");
  click("Delete");
  await settled();
  assert.equal(find(root, ".pop [role=alert]").textContent, "It runs.");
});

test("a thread that runs is not deleted", () => {
  const { click, root } = draw([{ title: "Old", running: true }]);
  click("More for: Old");
  assert.equal(button(root, "Delete…"), undefined);
  assert.match(find(root, ".pop").textContent ?? "", /Stop its run/);
});

test("Escape closes the actions, and stops nothing else", () => {
  const { click, root } = draw([{ title: "Old" }]);
  click("More for: Old");
  let heard = 0;
  document.addEventListener("keydown", () => { heard += 1; }, { once: true });
  press(find(root, ".pop button"), "Escape");
  assert.equal(root.querySelector(".pop"), null);
  assert.equal(heard, 0);
});

test("the list is not drawn anew under the hands of somebody who is at work in it", () => {
  const { click, items, list } = draw([{ title: "Old" }]);
  click("More for: Old");
  list.draw([], null);
  assert.match(items()[0].textContent ?? "", /Old/);
});

test("the focus stays on a thread that is drawn anew", () => {
  const { items, list } = draw([{ id: "a" }, { id: "b" }]);
  items()[1].querySelector("a")?.focus();
  list.draw([makeThread({ id: "c" }), makeThread({ id: "b" })], null);
  assert.equal(document.activeElement?.closest("li")?.dataset.thread, "b");
});

test("an open menu lets a thread be deleted as soon as its run has ended", () => {
  const { list, root } = draw([{ running: true }]);
  button(root, "More for: q")?.click();
  assert.equal(button(root, "Delete…"), undefined);
  list.draw([makeThread()], null);
  assert.ok(button(root, "Delete…"));
});

test("a menu that changes takes the focus from nobody", () => {
  const { list, root } = draw([{ running: true }]);
  button(root, "More for: q")?.click();
  list.field.focus();
  list.draw([makeThread()], null);
  assert.equal(document.activeElement, list.field);
});

test("what was new while a menu was open is drawn when it is closed", () => {
  const { items, list, root } = draw([{ id: "a" }]);
  button(root, "More for: q")?.click();
  list.draw([makeThread({ id: "b", question: "new" }), makeThread({ id: "a" })], null);
  assert.equal(items().length, 1);
  press(items()[0], "Escape");
  assert.deepEqual(items().map((item) => item.dataset.thread), ["b", "a"]);
  assert.equal(document.activeElement?.getAttribute("aria-label"), "More for: q");
});
