import { press } from "./document.js";

import assert from "node:assert/strict";
import { afterEach, mock, test } from "node:test";

import { ApiError } from "#page/api.js";
import { byId, find } from "#page/dom.js";

import { makeCells, makeLayout } from "./cells.js";
import { button } from "./models.js";

/** @import { View } from "#page/types.js" */

/** @type {View} */
const view = {
  ...{ id: "t", mixture: "mixture", finished: true, running: false, newest: true, error: null, seconds: 1 },
  ...{ steps: [{ id: "1", label: "Answer", when: "2026-01-01T00:00:00Z", turn: 1, layer: null }], step: "1" },
  ...{ branches: [], messages: [{ role: "human", text: "q" }] },
  ...{ layout: makeLayout(["a"], 1), cells: makeCells(["a"], 1) },
};

const listed = { id: "t", question: "q", when: "2026-01-01T00:00:00Z", mixture: "mixture", finished: true, turns: 1 };

/** @type {Record<string, () => object | Promise<object>>} what the server answers, by path */
const answers = {
  "/api/mixtures": () => ({ mixtures: [view.layout] }),
  "/api/threads": () => ({ threads: [] }),
  "/api/thread": () => view,
};

/** @type {string[]} */
const asked = [];

mock.timers.enable({ apis: ["setInterval", "setTimeout"] });
/** @type {unknown} */
let sent; // the body of the last request that has one

mock.method(globalThis, "fetch", (/** @type {string} */ address, /** @type {RequestInit} */ options) => {
  const path = address.slice(1); // it is relative to the page's
  asked.push(path);
  if (options.body) sent = JSON.parse(String(options.body));
  const answer = answers[path.split("?")[0]]();
  return Promise.resolve({ ok: true, status: 200, json: () => Promise.resolve(answer) });
});

/** Let the page do all that waits for no other answer. */
const settled = () => new Promise(setImmediate);

// A `location` whose address the page or a test changes; the test fires the event of the change.
const location = { hash: "#t", pathname: "/" };
const history = { pushState: () => { location.hash = ""; }, replaceState: () => { location.hash = ""; } };
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
  assert.equal(byId("strip").querySelectorAll("[data-node]").length, 2);
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

test("a second Enter asks no second time", async () => {
  await go("#t");
  answers["/api/ask"] = () => ({ thread: "t" });
  byId("question").value = "Why?";
  const before = asked.length;
  for (const key of ["Enter", "Enter"]) press(byId("question"), key);
  await settled();
  assert.equal(asked.slice(before).filter((path) => path === "api/ask" || path === "/api/ask").length, 1);
  assert.equal(byId("question").value, "");
});

/**
 * Click twice before the server has answered, and count what it was asked for.
 * @param {string} id of a button
 * @param {string} path
 */
async function clickTwice(id, path) {
  const before = asked.length;
  byId(id).click();
  byId(id).click();
  await settled();
  return asked.slice(before).filter((each) => each === path).length;
}

for (const [id, path, shown] of /** @type {const} */ ([
  ["resume-too", "/api/resume", { finished: false }],
  ["resume", "/api/resume", { finished: false }],
  ["go-on", "/api/continue", { newest: false, steps: [{ ...view.steps[0], label: "Question" }] }],
])) {
  test(`a second click on ${id} asks no second time`, async () => {
    answers["/api/thread"] = () => ({ ...view, ...shown });
    answers[path] = () => ({ thread: "t" });
    await go(`#${id}`);
    assert.equal(await clickTwice(id, path), 1);
    assert.equal(await clickTwice(id, path), 1);
  });
}

/** @type {[label: string, shown: Partial<View>, body: object][]} */
const REMEDIES = [
  ["m:x", { finished: false, failure: { what: "503", aggregators: ["m:x"] } }, { aggregator: "m:x" }],
  ["Go on with 2", { finished: false, failure: { what: "lost", answers: 2 } }, { lower_quorum: true }],
  ["Write it again with up to 64 tokens", { larger_limit: 64 }, { checkpoint: "0", edits: {}, max_tokens: 64 }],
];

for (const [label, shown, body] of REMEDIES) {
  test(`"${label}" is sent as what it is`, async () => {
    const steps = [{ ...view.steps[0], id: "0", label: "Layer 1 gathered" }, view.steps[0]];
    const status = /** @type {const} */ ("answered");
    const ending = { text: "so", html: ["<p>so</p>"], status, ending_note: "cut off" };
    const cells = view.cells?.map((cell) => (cell.node === "aggregator" ? { ...cell, ...ending } : cell));
    answers["/api/thread"] = () => ({ ...view, steps, cells, ...shown });
    answers["/api/resume"] = answers["/api/continue"] = () => ({ thread: "t" });
    await go(`#${encodeURIComponent(label)}`);
    button(byId("talk"), label)?.click();
    await settled();
    assert.deepEqual(sent, { thread: label, ...body });
  });
}

test("the second click of a double click does nothing, whatever button stands there by then", async () => {
  answers["/api/thread"] = () => ({ ...view, finished: false });
  await go("#double");
  const before = asked.length;
  byId("resume-too").dispatchEvent(new MouseEvent("click", { bubbles: true, detail: 2 }));
  await settled();
  assert.deepEqual(asked.slice(before), []);
});

test("a run that was resumed elsewhere is shown, and nothing is complained of", async () => {
  answers["/api/thread"] = () => ({ ...view, finished: false });
  await go("#elsewhere");
  answers["/api/resume"] = () => Promise.reject(new ApiError(409, "already running", "running"));
  answers["/api/thread"] = () => view;
  byId("resume-too").click();
  await settled();
  assert.equal(byId("alert").textContent, "");
  assert.ok(byId("resume-too").hidden);
});

test("a question that meets a run that was begun elsewhere stays, and the run is shown", async () => {
  await go("#busy");
  answers["/api/ask"] = () => Promise.reject(new ApiError(409, "already running", "running"));
  answers["/api/thread"] = () => ({ ...view, finished: false, running: true });
  answers["/api/events"] = () => { throw new Error("gone"); };
  byId("question").value = "And then?";
  press(byId("question"), "Enter");
  await settled();
  assert.equal(byId("alert").textContent, "already running");
  assert.equal(byId("stop").hidden, false);
  assert.equal(byId("question").value, "And then?");
  byId("question").value = "";
});

test("a connection that is lost while a run goes on is told", async () => {
  answers["/api/thread"] = () => ({ ...view, finished: false, running: true });
  answers["/api/events"] = () => { throw new Error("gone"); };
  await go("#lost");
  assert.match(byId("status").textContent ?? "", /^The connection is lost; trying again/);
});

test("a thread that is renamed has its new name everywhere", async () => {
  answers["/api/threads"] = () => ({ threads: [{ ...listed, title: "Old" }] });
  await go("#");
  await go("#t");
  answers["/api/rename"] = () => ({});
  for (const label of ["More for: Old", "Rename"]) button(byId("threads"), label)?.click();
  answers["/api/threads"] = () => ({ threads: [{ ...listed, title: "New" }] });
  /** @type {HTMLInputElement} */ (find(byId("list"), "input")).value = "New";
  find(byId("list"), "form").dispatchEvent(new Event("submit", { cancelable: true }));
  await settled();
  assert.equal(find(byId("list"), ".question").textContent, "New");
  assert.equal(byId("title").textContent, "New");
});

test("an address of no thread shows what there is without one", async () => {
  await go("#t");
  answers["/api/thread"] = () => Promise.reject(new Error("no thread 'gone'"));
  await go("#gone");
  assert.equal(byId("alert").textContent, "no thread 'gone'");
  assert.equal(byId("welcome").hidden, false);
  assert.equal(byId("turn").hidden, true);
});

test("a thread without a state to show leaves nothing of the one before", async () => {
  answers["/api/thread"] = () => ({ ...view, finished: false });
  await go("#unfinished");
  assert.equal(byId("resume-too").hidden, false);
  const nothing = { layout: undefined, cells: undefined, step: undefined, steps: [], messages: [] };
  answers["/api/thread"] = () => ({ ...view, ...nothing });
  await go("#empty");
  for (const id of ["strip", "answer", "resume-too", "branch-label"]) assert.ok(byId(id).hidden, id);
  assert.equal(byId("banner").childElementCount, 0);
  assert.equal(byId("status").textContent, "");
  assert.equal(byId("totals").textContent, "");
});

test("the header says that the answer which is shown is degraded", async () => {
  answers["/api/thread"] = () => ({ ...view, outcome: "degraded" });
  await go("#degraded");
  assert.match(byId("totals").textContent, /^degraded · /);
  answers["/api/thread"] = () => ({ ...view, outcome: "answered" });
  await go("#answered");
  assert.doesNotMatch(byId("totals").textContent, /degraded/);
});
