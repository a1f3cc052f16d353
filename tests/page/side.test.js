import { press } from "./document.js";

import assert from "node:assert/strict";
import { test } from "node:test";

import { byId, find, h } from "#page/dom.js";
import { Side } from "#page/side.js";

import { button, makeModel } from "./models.js";

/** @import { Proposal } from "#page/types.js" */
/** @import { RunModel } from "#page/run_model.js" */

/** @type {Proposal} */
const COMPARED = {
  ...{ text: "a said 2", html: "<p>a said 2</p>", in_answer: "<p><mark>a said</mark> 2</p>", share: 0.314 },
  ...{ answer: ['<p><mark data-who="layer_2_a">a said</mark></p>'], since: "<p>a said <del>1</del> <ins>2</ins></p>" },
};
const settled = () => new Promise((resolve) => { setImmediate(resolve); });

/**
 * Make the panel beside a strip of one tile.
 * @param {RunModel} model
 * @param {Promise<Proposal>} compared
 * @param {boolean} missing whether the earlier step cannot be shown
 */
function make(model = makeModel(), compared = Promise.resolve(COMPARED), missing = false) {
  /** @type {unknown[][]} */
  const done = [];
  const tile = h("button", { "data-node": "layer_2_a" });
  const root = h("aside");
  byId("main").replaceChildren(h("section", { id: "strip" }, tile), root);
  const log = (/** @type {string} */ name) => (/** @type {unknown[]} */ ...given) => { done.push([name, ...given]); };
  const side = new Side(root, {
    select: (node) => { log("select")(node); side.open("proposal", node); },
    goTo: (node) => {
      log("go to")(node);
      const { cells, view } = earlier();
      Object.assign(model, missing ? {} : { cells, view });
      return Promise.resolve();
    },
    edit: (node, edit) => { model.edits.set(node, edit); log("edit")(node, edit); side.draw(model); },
    undo: log("undo"),
    writeAgain: log("write again"),
    proposal: (node) => { log("proposal")(node); return compared; },
    tint: log("tint"),
    closed: log("closed"),
  });
  side.draw(model);
  const calls = (/** @type {string} */ name) => done.filter(([each]) => each === name).map(([, ...rest]) => rest);
  const text = (selector = ".pane") => find(root, selector).textContent ?? "";
  return { calls, done, root, side, text, tile };
}

const earlier = () => makeModel([{ layer: 2, agent: "a", status: "waiting", text: "", cost: null },
  { layer: 2, agent: "b", status: "waiting", text: "", cost: null },
  { agent: "aggregator", status: "waiting", text: "", cost: null }], { step: "s1", newest: false });

test("the panel is closed until something is opened", () => {
  const { root, side } = make();
  assert.equal(root.hidden, true);
  assert.equal(side.isOpen, false);
  side.open("cost");
  assert.equal(root.hidden, false);
});

test("the tab of what is shown is selected, and the others are reached by the arrow keys", () => {
  const { root, side } = make();
  side.open("proposal", "layer_2_a");
  const selected = () => root.querySelector('[aria-selected="true"]');
  const tabs = root.querySelectorAll('[role="tab"]');
  assert.equal(selected()?.textContent, "Proposal");
  press(tabs[0], "ArrowRight");
  assert.equal(selected()?.textContent, "Agreement");
  assert.equal(document.activeElement, tabs[1]);
  press(tabs[1], "ArrowLeft");
  press(tabs[0], "ArrowLeft");
  assert.equal(selected()?.textContent, "Cost");
  assert.deepEqual([...tabs].map((tab) => tab.getAttribute("tabindex")), ["-1", "-1", "0"]);
});

test("Escape closes the panel, gives the focus back to the tile, and stops nothing else", () => {
  const { calls, root, side, tile } = make();
  tile.focus();
  side.open("proposal", "layer_2_a");
  const shut = /** @type {HTMLElement} */ (button(root, "Close details"));
  shut.focus();
  let heard = 0;
  document.addEventListener("keydown", () => { heard += 1; }, { once: true });
  press(shut, "Escape");
  assert.equal(root.hidden, true);
  assert.equal(document.activeElement, tile);
  assert.equal(heard, 0);
  assert.equal(calls("closed").length, 1);
});

test("what was opened by another button gives the focus back to that", () => {
  const { root, side } = make();
  const opener = h("button");
  byId("main").append(opener);
  opener.focus();
  side.open("cost");
  button(root, "Close details")?.focus();
  side.close();
  assert.equal(document.activeElement, opener);
});

test("a proposal is named, with what it took", () => {
  const { root, side, text } = make(makeModel([{ layer: 2, agent: "a", critical: true, cached: true }]));
  side.open("proposal", "layer_2_a");
  assert.equal(find(root, "h2").textContent, "a, layer 2");
  assert.deepEqual([...root.querySelectorAll(".facts li")].map((each) => each.textContent),
    ["m", "cached in 1.0 s", "from the cache", "waited for", "read 100, wrote 10 tokens", "about $0.0100"]);
  assert.match(text(), /a said 2/);
});

test("a proposal is compared with the answer, in which its wording is marked", async () => {
  const { calls, root, side } = make();
  side.open("proposal", "layer_2_a");
  await settled();
  const modes = [...root.querySelectorAll(".seg button")].map((each) => each.textContent);
  assert.deepEqual(modes, ["Text", "In the answer: 31 %", "Since layer 1"]);
  assert.equal(find(root, ".seg [aria-pressed=true]").textContent, "In the answer: 31 %");
  assert.ok(find(root, ".text mark").classList.contains("on"));
  assert.deepEqual(calls("tint").at(-1), ["layer_2_a", COMPARED.answer]);
  button(root, "Since layer 1")?.click();
  assert.equal(find(root, ".text ins").textContent, "2");
  assert.deepEqual(calls("tint").at(-1), [null, null]);
  assert.equal(document.activeElement, button(root, "Since layer 1"));
  button(root, "Text")?.click();
  assert.equal(root.querySelector(".text mark"), null);
  assert.equal(calls("proposal").length, 1);
});

test("the marks in the answer go with the panel", async () => {
  const { calls, side } = make();
  side.open("proposal", "layer_2_a");
  await settled();
  side.open("cost");
  assert.deepEqual(calls("tint").at(-1), [null, null]);
});

test("a proposal that cannot be compared is shown all the same", async () => {
  const { side, text } = make(makeModel(), Promise.reject(new Error("No.")));
  side.open("proposal", "layer_2_a");
  await settled();
  assert.match(text(), /a said 2/);
  assert.match(text(), /Not compared with the answer: No\./);
});

test("the comparison of another proposal does not take its place", async () => {
  const { side, text } = make();
  side.open("proposal", "layer_2_a");
  side.open("proposal", "layer_2_b");
  await settled();
  assert.match(text("h2"), /^b/);
});

test("the next proposal is a click away, and the focus stays on its button", () => {
  const { root, side, text } = make();
  side.open("proposal", "layer_2_a");
  for (const name of ["b, layer 2", "a, layer 2"]) {
    button(root, "Next proposal")?.focus();
    button(root, "Next proposal")?.click();
    assert.equal(text("h2"), name);
    assert.equal(document.activeElement, button(root, "Next proposal"));
  }
});

test("a call that failed says why, and what its layer made of it", () => {
  const failed = { layer: 2, agent: "a", status: /** @type {"failed"} */ ("failed"), error: "503", text: "", html: [] };
  const { side, text } = make(makeModel([failed]));
  side.open("proposal", "layer_2_a");
  assert.match(text(".box"), /Failed503The layer went on without it: 1 of 2 answered, 1 needed\./);
});

test("a text that comes grows in its place", () => {
  const model = makeModel([{ layer: 2, agent: "a", status: "running", text: "one", html: ["<p>one</p>"] }],
    { running: true, finished: false });
  const { root, side, text } = make(model);
  side.open("proposal", "layer_2_a");
  const place = find(root, ".pane .text");
  const known = { ...makeModel().cells.get("layer_2_a"), html: undefined, text: undefined };
  const change = { ...known, status: "running", more: " two", html_from: 0, html_more: ["<p>one two</p>"] };
  model.apply(/** @type {any} */ ({ status: "running", error: null, waiting: false, seconds: 1, cells: [change] }));
  side.draw(model);
  assert.equal(find(root, ".pane .text"), place);
  assert.equal(text(".pane .text"), "one two");
  assert.equal(button(root, "Edit"), undefined);
});

test("a call without a text says why", () => {
  const { side, text } = make(makeModel([{ layer: 2, agent: "a", status: "skipped", text: "", html: undefined }]));
  side.open("proposal", "layer_2_a");
  assert.match(text(), /Not asked: the turn ended before its layer\./);
});

test("what a change would have called again is told before the click", () => {
  const { side, text } = make();
  side.open("proposal", "layer_1_a");
  assert.match(text(".acts p"), /an edit or a drop makes 3 calls, about \$0\.030;/);
  assert.match(text(".acts p"), /asking again makes 4 calls, about \$0\.040\./);
});

test("at an earlier step, the costs of the calls that follow are still known", () => {
  const model = makeModel();
  const { side, text } = make(model);
  side.open("proposal", "layer_1_a");
  Object.assign(model, { view: earlier().view, cells: earlier().cells });
  side.draw(model);
  assert.match(text(".acts p"), /makes 3 calls, about \$0\.030;/);
});

test("layers that may end early cost at most that", () => {
  const model = makeModel();
  assert.ok(model.layout);
  model.layout.early_stop = 0.9;
  const { side, text } = make(model);
  side.open("proposal", "layer_1_a");
  assert.match(text(".acts p"), /makes at most 3 calls/);
});

test("a change is made at the step of its layer", async () => {
  const { calls, root, side } = make();
  side.open("proposal", "layer_1_a");
  button(root, "Drop")?.click();
  await settled();
  assert.deepEqual(calls("go to"), [["layer_1_a"]]);
  assert.deepEqual(calls("edit"), [["layer_1_a", { action: "drop" }]]);
});

test("a change is not made where the step of its layer cannot be shown", async () => {
  const { calls, root, side } = make(makeModel(), Promise.resolve(COMPARED), true);
  side.open("proposal", "layer_1_a");
  button(root, "Drop")?.click();
  await settled();
  assert.deepEqual(calls("edit"), []);
});

test("at the step itself, buttons do what they say", async () => {
  const { calls, root, side, text } = make(earlier());
  side.open("proposal", "layer_1_a");
  button(root, "Ask again")?.click();
  await settled();
  assert.deepEqual(calls("go to"), []);
  assert.deepEqual(calls("edit"), [["layer_1_a", { action: "again" }]]);
  assert.equal(button(root, "Ask again"), undefined);
  assert.match(text(".facts"), /answered in 1\.0 sto be asked again/);
  button(root, "Undo")?.click();
  assert.deepEqual(calls("undo"), [["layer_1_a"]]);
});

test("the aggregator writes again for one call", () => {
  const { calls, root, side, text } = make();
  side.open("proposal", "aggregator");
  assert.match(text(".acts p"), /Writing it again makes 1 call, about \$0\.010, and adds a branch\./);
  button(root, "Write it again")?.click();
  assert.equal(calls("write again").length, 1);
});

/** @param {ReturnType<typeof make>} made */
async function write({ root, side }, /** @type {string} */ text) {
  side.open("proposal", "layer_1_a");
  button(root, "Edit")?.click();
  await settled();
  const field = /** @type {HTMLTextAreaElement} */ (find(root, "textarea"));
  field.value = text;
  field.dispatchEvent(new Event("input"));
  return field;
}

test("a text is written where the proposal was, with what changes beside it", async () => {
  const made = make(earlier());
  const field = await write(made, "a wrote 1");
  assert.equal(document.activeElement, field);
  assert.equal(find(made.root, "del").textContent, "said ");
  assert.equal(find(made.root, "ins").textContent, "wrote ");
  button(made.root, "Keep")?.click();
  assert.deepEqual(made.calls("edit"), [["layer_1_a", { action: "edit", text: "a wrote 1" }]]);
  assert.equal(made.side.drafts.size, 0);
  assert.match(made.text(), /Your change, not sent yet/);
});

test("an empty text drops the proposal", async () => {
  const made = make(earlier());
  await write(made, " \n");
  button(made.root, "Keep")?.click();
  assert.deepEqual(made.calls("edit"), [["layer_1_a", { action: "drop" }]]);
});

test("Control and Enter keep the text, and Enter alone does not", async () => {
  const made = make(earlier());
  const field = await write(made, "new");
  press(field, "Enter");
  assert.deepEqual(made.calls("edit"), []);
  press(field, "Enter", { ctrlKey: true });
  assert.deepEqual(made.calls("edit"), [["layer_1_a", { action: "edit", text: "new" }]]);
});

test("Escape gives a text up at the second time only, and the panel stays", async () => {
  const made = make(earlier());
  const field = await write(made, "new");
  press(field, "Escape");
  assert.equal(made.side.drafts.get("layer_1_a"), "new");
  assert.match(made.text(".pane [role=status]"), /^Not kept yet\. Press Esc again to discard your text/);
  field.dispatchEvent(new Event("input"));
  assert.equal(made.text(".pane [role=status]"), "");
  press(field, "Escape");
  press(field, "Escape");
  assert.equal(made.side.drafts.size, 0);
  assert.equal(made.root.hidden, false);
  assert.equal(made.root.querySelector("textarea"), null);
  assert.equal(made.text("h2"), "a, layer 1");
});

test("Escape leaves a text that was not changed at once", async () => {
  const made = make(earlier());
  made.side.open("proposal", "layer_1_a");
  button(made.root, "Edit")?.click();
  await settled();
  press(find(made.root, "textarea"), "Escape");
  assert.equal(made.root.querySelector("textarea"), null);
});

test("while a text is written, what else can be done stands beside it, with its price", async () => {
  const made = make(earlier());
  await write(made, "half");
  const labels = [...made.root.querySelectorAll(".acts button")].map((each) => each.textContent);
  assert.deepEqual(labels, ["Keep", "Cancel", "Drop", "Ask again"]);
  assert.match(made.text(".acts p"), /When you continue/);
  button(made.root, "Next proposal")?.click();
  assert.equal(made.text("h2"), "b, layer 1");
  button(made.root, "Proposal before")?.click();
  assert.equal(/** @type {HTMLTextAreaElement} */ (find(made.root, "textarea")).value, "half");
  button(made.root, "Drop")?.click();
  assert.deepEqual(made.calls("edit"), [["layer_1_a", { action: "drop" }]]);
  assert.equal(made.side.drafts.size, 0);
});

test("a text that is being written outlives a look at another, and a redraw", async () => {
  const made = make(earlier());
  const field = await write(made, "half");
  made.side.draw(/** @type {RunModel} */ (made.side.model));
  assert.equal(find(made.root, "textarea"), field);
  made.side.open("cost");
  made.side.open("edit", "layer_1_a");
  assert.equal(/** @type {HTMLTextAreaElement} */ (find(made.root, "textarea")).value, "half");
});
