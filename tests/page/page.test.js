import "./document.js";

import assert from "node:assert/strict";
import { afterEach, mock, test } from "node:test";

import { byId } from "#page/dom.js";

import { makeCells, makeLayout } from "./cells.js";

/** @import { View } from "#page/types.js" */

/** @type {View} */
const view = {
  ...{ id: "t", mixture: "mixture", finished: true, running: false, newest: true, error: null, seconds: 1 },
  ...{ steps: [{ id: "1", label: "Answer", when: "2026-01-01T00:00:00Z", turn: 1, layer: null }], step: "1" },
  ...{ branches: [], messages: [{ role: "human", text: "q" }] },
  ...{ layout: makeLayout(["a"], 1), cells: makeCells(["a"], 1) },
};

/** @type {Record<string, () => object | Promise<object>>} what the server answers, by path */
const answers = {
  "/api/mixtures": () => ({ mixtures: [view.layout] }),
  "/api/threads": () => ({ threads: [] }),
  "/api/thread": () => view,
};

/** @type {string[]} */
const asked = [];

mock.timers.enable({ apis: ["setInterval"] });
mock.method(globalThis, "fetch", (/** @type {string} */ path) => {
  asked.push(path);
  const answer = answers[path.split("?")[0]]();
  return Promise.resolve({ ok: true, status: 200, json: () => Promise.resolve(answer) });
});

/** Let the page do all that waits for no other answer. */
const settled = () => new Promise(setImmediate);

// An address that changes when the page or a test says so, and tells of it when a test says so.
const location = { hash: "#t", pathname: "/" };
const history = { replaceState: () => { location.hash = ""; } };
Object.assign(globalThis, { location, history });

/**
 * Go to the address of a thread.
 * @param {string} hash
 */
async function go(hash) {
  location.hash = hash;
  window.dispatchEvent(new Event("hashchange"));
  await settled();
}

afterEach(() => {
  answers["/api/thread"] = () => view;
});

await import("#page/page.js");

test("the page shows the thread that its address names", () => {
  assert.equal(byId("status").textContent, "Answered.");
  assert.equal(byId("board").querySelectorAll("[data-node]").length, 2);
});

for (const [state, later] of /** @type {const} */ ([["runs", { running: true }], ["has a new step", { step: "2" }]])) {
  test(`a thread that is left while the page sees that it ${state} is not shown again`, async () => {
    await go(`#${state}`);
    /** @type {(view: View) => void} */
    let answer = () => assert.fail("nobody has asked");
    answers["/api/thread"] = () => new Promise((resolve) => { answer = resolve; });
    window.dispatchEvent(new Event("focus"));
    await settled();
    byId("new").click();
    await settled();
    const before = asked.length;
    answer({ ...view, ...later });
    await settled();
    assert.deepEqual(asked.slice(before), []);
    assert.equal(byId("alert").textContent, "");
    assert.equal(byId("welcome").hidden, false);
  });
}

test("a thread without a state to show leaves nothing of the one before", async () => {
  answers["/api/thread"] = () => ({ ...view, finished: false });
  await go("#unfinished");
  assert.equal(byId("resume").hidden, false);
  const nothing = { layout: undefined, cells: undefined, step: undefined, steps: [], messages: [] };
  answers["/api/thread"] = () => ({ ...view, ...nothing });
  await go("#empty");
  for (const id of ["board", "texts", "history", "resume"]) assert.ok(byId(id).hidden, id);
  assert.equal(byId("status").textContent, "");
  assert.equal(byId("totals").textContent, "");
});
