import { press } from "./document.js";

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { byId, find } from "#page/dom.js";
import { RunModel } from "#page/run_model.js";
import { Stage } from "#page/stage.js";

import { makeLayout } from "./cells.js";
import { button, makeModel, steps } from "./models.js";

/** @import { Cell, View } from "#page/types.js" */

/** @type {unknown[]} */
let done = [];
const stage = new Stage({
  resume: (how) => done.push("resume", ...(how ? [how] : [])), writeLonger: (limit) => done.push(limit),
  select: (node) => done.push(node), goTo: (step) => done.push(step),
  change: () => done.push("change"), open: (kind) => done.push(kind), showInfluence: (shown) => done.push(shown),
});

/**
 * @param {Partial<Cell>[]} known
 * @param {Partial<View>} view
 */
function draw(known = [], view = {}) {
  const model = makeModel(known, view);
  stage.draw(model);
  return model;
}

/** @param {string[]} texts first a question, then an answer, and so on */
const messages = (texts) => texts.map((text, index) => ({ role: index % 2 ? "ai" : "human", text }));
const unanswered = { agent: "aggregator", text: "", html: undefined, status: /** @type {const} */ ("waiting") };

beforeEach(() => {
  done = [];
});

test("the newest question and its answer stand below what was said before", () => {
  draw([{ agent: "aggregator", text: "d", html: ["<p>d</p>"] }], { messages: messages(["a", "b", "c", "d"]) });
  assert.equal(byId("earlier").querySelectorAll(".turn").length, 1);
  assert.equal(byId("earlier").textContent, "abShow this run");
  assert.equal(byId("asked").textContent, "c");
  assert.equal(byId("answer-text").innerHTML, "<p>d</p>");
});

test("an earlier turn leads to its run", () => {
  const later = steps.map((step) => ({ ...step, id: `t${step.id}`, turn: 2 }));
  draw([], { messages: messages(["a", "b", "c"]), steps: [...steps, ...later], step: "ts5" });
  button(byId("earlier"), "Show this run")?.click();
  assert.deepEqual(done, ["s5"]);
});

test("a long question shows its beginning, and the rest by a click", () => {
  draw([], { messages: messages(["x".repeat(500)]) });
  const more = find(byId("turn"), ".whole");
  assert.equal(more.getAttribute("aria-expanded"), "false");
  assert.ok(byId("asked").classList.contains("long"));
  more.click();
  assert.equal(more.getAttribute("aria-expanded"), "true");
  draw([], { messages: messages(["short"]) });
  assert.equal(byId("turn").querySelector(".whole"), null);
});

test("before the answer begins, proposals can be read", () => {
  const html = ["<p><strong>Two</strong>\nwords</p>"];
  const layer = [{ layer: 2, agent: "a", text: "**Two**\nwords", html }, { layer: 2, agent: "b", text: "" }];
  draw([unanswered, ...layer], { running: true });
  assert.equal(byId("answer").hidden, true);
  const rows = [...byId("peek").querySelectorAll("button")];
  assert.deepEqual(rows.map((row) => row.textContent), ["aTwo words", "aa said 1", "bb said 1"]);
  rows[0].click();
  assert.deepEqual(done, ["layer_2_a"]);
});

test("the preview of a proposal leaves out its heading, unless there is nothing else", () => {
  const blocks = ["<h3>Sky</h3>", "<p>It scatters.</p>", "<h4>Why</h4>"];
  const cells = [
    { layer: 2, agent: "a", text: "# Sky\n\nIt scatters.", html: blocks },
    { layer: 2, agent: "b", text: "# Sky\n\nIt scatters.", html: undefined },
    { layer: 1, agent: "a", text: "# Sky", html: blocks.slice(0, 1) },
  ];
  draw([unanswered, ...cells], { running: true });
  const shown = [...byId("peek").querySelectorAll("span")].map((each) => each.textContent).slice(0, 3);
  assert.deepEqual(shown, ["It scatters.", "It scatters.", "Sky"]);
});

test("the answer takes the place of proposals once it begins", () => {
  draw([{ agent: "aggregator", status: "running", text: "a" }], { running: true });
  assert.deepEqual([byId("peek").hidden, byId("answer").hidden, byId("foot").hidden], [true, false, true]);
  assert.equal(byId("answer").getAttribute("aria-busy"), "true");
});

test("below an answer one copies, and opens what tells more of it", () => {
  draw([], { agreement: { figure: 0.712, dissent: [{ claim: "c", for: [], against: [] }], analysis: null } });
  button(byId("foot"), "Agreement 0.71, 1 disputed")?.click();
  button(byId("foot"), "Cost and time")?.click();
  button(byId("foot"), "Show influence")?.click();
  assert.deepEqual(done, ["agreement", "cost", true]);
});

test("an answer without proposals, such as a router's, is compared with none", () => {
  const status = /** @type {const} */ ("skipped");
  draw([1, 2].flatMap((layer) => ["a", "b"].map((agent) => ({ layer, agent, status }))));
  const labels = [...byId("foot").querySelectorAll("button")].map((each) => each.textContent);
  assert.deepEqual(labels, ["Copy", "Cost and time"]);
});

test("an answer that was cut off says so where it ends", () => {
  draw([{ agent: "aggregator", ending_note: "cut off (length)" }]);
  assert.equal(byId("answer").lastElementChild?.textContent, "The answer is cut off (length).");
});

for (const [state, words] of /** @type {const} */ ([
  [{ status: "waiting", stopped: true }, "Stopped here."], [{ status: "failed", error: "503" }, "Failed here."],
])) {
  test(`the part of an answer that was there stays, and says: ${words}`, () => {
    draw([{ agent: "aggregator", ...state }], { finished: false, step: "s4" });
    assert.equal(byId("answer").hidden, false);
    assert.match(byId("answer").lastElementChild?.textContent ?? "", new RegExp(`^${words} This part is not stored`));
    assert.deepEqual([...byId("foot").querySelectorAll("button")].map((each) => each.textContent), ["Copy"]);
  });
}

test("where a run failed, the place of the answer says why, and offers to resume", () => {
  const failed = { layer: 2, status: /** @type {const} */ ("failed"), error: "503" };
  draw([unanswered, { ...failed, agent: "a" }, { ...failed, agent: "b" }],
    { finished: false, error: "layer 2: 0 of 2 proposers answered, 1 required\na: 503", step: "s3" });
  const box = find(byId("banner"), ".box.bad");
  assert.equal(box.getAttribute("role"), "alert");
  assert.match(box.textContent ?? "", /^Layer 2: 0 of 2 answered, 1 needed.*a, b: 503/);
  button(box, "Resume: ask 2 agents again")?.click();
  assert.deepEqual(done, ["resume"]);
});

test("a failure that the server explains is told in its words", () => {
  draw([{ ...unanswered, status: "failed", error: "503" }], { finished: false, error: "x",
    failure: { what: "w: 503", whose: "w", kept: "all 4 proposals", remedy: "Resume asks it again" } });
  assert.equal(byId("banner").textContent,
    "The aggregator failedm: 503Kept: all 4 proposals. Resuming makes 1 call, about $0.010."
    + "Resume: ask the aggregator againRead the proposals");
});

test("where the aggregator failed, another model of the mixture can write, at the cost of its proposals", () => {
  const known = { status: /** @type {const} */ ("failed"), text: "", cost: null };
  draw([{ ...unanswered, ...known }, { layer: 1, agent: "a", model: "m:a", cost: 0.02 },
    { layer: 2, agent: "a", model: "m:a", cost: 0.04 }],
  { finished: false, error: "x", failure: { what: "503", aggregators: ["m:a", "m:x"] } });
  const choice = /** @type {HTMLDetailsElement} */ (find(byId("banner"), "details.choice"));
  assert.deepEqual([...choice.querySelectorAll("li")].map((item) => item.textContent),
    ["m:a1 call, about $0.030", "m:x1 call, about $0.020"]);
  choice.open = true;
  press(choice, "Escape");
  assert.equal(choice.open, false);
  button(choice, "m:a")?.click();
  assert.deepEqual(done, ["resume", { aggregator: "m:a" }]);
});

test("where a layer lost its quorum, the run can go on with its answers, and says what that costs", () => {
  const failed = { layer: 1, status: /** @type {const} */ ("failed"), error: "503", cost: null };
  const waiting = { layer: 2, status: /** @type {const} */ ("waiting"), text: "", cost: null };
  const layout = { ...makeLayout(["a", "b"], 2), layers: [{ asked: 2, needed: 2 }, { asked: 2, needed: 1 }] };
  const none = { ...unanswered, cost: null };
  draw([none, { ...failed, agent: "b" }, { ...waiting, agent: "a" }, { ...waiting, agent: "b" }],
    { id: "quorum", layout, finished: false, error: "x", step: "s1",
      failure: { what: "x", asks: ["layer_1_b"], answers: 1 } });
  assert.match(byId("banner").textContent ?? "",
    /makes 4 calls, about \$0\.040\. Going on with 1 makes 3 calls, about \$0\.030, and the answer is degraded\./);
  button(byId("banner"), "Go on with 1")?.click();
  assert.deepEqual(done, ["resume", { lower_quorum: true }]);
});

test("an answer that ended at its limit can be written again with a larger one, above it and where it ends", () => {
  draw([{ agent: "aggregator", ending_note: "cut off at its length limit (length)" }], { larger_limit: 2048 });
  for (const place of [find(byId("banner"), ".box.warn"), find(byId("answer"), ".ending")]) {
    assert.match(place.textContent ?? "", /1 call, at least \$0\.010$/);
    button(place, "Write it again with up to 2,048 tokens")?.click();
  }
  assert.deepEqual(done, [2048, 2048]);
});

test("a run that was stopped has failed nobody", () => {
  draw([unanswered], { finished: false, step: "s3" });
  assert.ok(byId("banner").querySelector(".box.info"));
  assert.equal(byId("banner").querySelector("[role=alert]"), null);
});

test("an answer that lacks something says what, agent by agent", () => {
  draw([
    { layer: 1, agent: "a", status: "failed", error: "503" }, { layer: 2, agent: "a", status: "failed", error: "503" },
    { layer: 1, agent: "b", status: "cut off", text: "part", seconds: 30 }, { layer: 2, agent: "b", fallback: "m2" },
    { agent: "aggregator", ending_note: "cut off at its length limit" },
  ]);
  assert.deepEqual([...byId("banner").querySelectorAll("li")].map((item) => item.textContent), [
    "The answer is cut off at its length limit.",
    "a failed in layers 1 and 2: 503",
    "b was cut off after 30.0 s in layer 1; its partial text was not used.",
    "b was served by its fallback m2 in layer 2.",
  ]);
});

test("what a person dropped is no degradation", () => {
  draw([{ layer: 1, agent: "a", status: "dropped" }], { notice: "A person dropped a in layer 1" });
  assert.equal(byId("banner").querySelector(".box.warn"), null);
  assert.equal(find(byId("banner"), ".notice").textContent, "A person dropped a in layer 1");
});

test("a banner that says the same stays, so that nobody hears it twice", () => {
  const model = draw([{ layer: 1, agent: "a", status: "failed", error: "503" }]);
  const before = byId("banner").firstChild;
  stage.update(model);
  assert.equal(byId("banner").firstChild, before);
});

test("at an earlier step the answer of the newest stays to be read, and says so", () => {
  const model = makeModel();
  model.load(/** @type {View} */ ({ ...makeModel([unanswered], { step: "s1", newest: false }).view }), true);
  stage.draw(model);
  assert.match(byId("banner").textContent ?? "", /^This is the answer of the newest step\./);
  assert.equal(byId("answer-text").textContent, "aggregator said 3");
  assert.ok(byId("answer").classList.contains("stale"));
});

test("what is to be known of the messages stands above the answer", () => {
  draw([], { notice: "2 earlier messages were left out" });
  assert.equal(find(byId("banner"), ".notice").textContent, "2 earlier messages were left out");
});

test("a thread that was forked has branches to choose from, and the newest is named", () => {
  draw([], { branches: [{ ...steps[5], id: "old" }, steps[5]] });
  const options = [...byId("branch").options];
  assert.match(options[0].textContent ?? "", /^1 of 2: answer, /);
  assert.match(options[1].textContent ?? "", /^2 of 2, newest: answer, /);
  assert.equal(byId("branch").value, "s5");
  byId("branch").value = "old";
  byId("branch").dispatchEvent(new Event("change"));
  assert.deepEqual(done, ["old"]);
});

test("without a thread there is the welcome", () => {
  stage.draw(new RunModel());
  assert.deepEqual([byId("welcome").hidden, byId("turn").hidden], [false, true]);
});
