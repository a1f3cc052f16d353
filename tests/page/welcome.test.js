import "./document.js";

import assert from "node:assert/strict";
import { test } from "node:test";

import { find, h } from "#page/dom.js";
import { Welcome } from "#page/welcome.js";

import { makeLayout } from "./cells.js";
import { button } from "./models.js";

/** @import { Layout } from "#page/types.js" */

/** @type {Layout} */
const OFFLINE = { name: "offline", layers: [{ asked: 1, needed: 1, agents: [{ name: "lead", model: "offline:lead" }] }],
  aggregator: "offline:consensus" };

/**
 * @param {Layout[]} mixtures
 * @param {string} [chosen]
 */
function draw(mixtures, chosen) {
  /** @type {unknown[][]} */
  const proposed = [];
  const root = h("div");
  new Welcome(root, { propose: (...given) => { proposed.push(given); } }).draw(mixtures, chosen);
  return { proposed, root, text: root.textContent ?? "" };
}

test("who would be asked is told before one asks", () => {
  const mixture = makeLayout(["a", "b"], 2);
  mixture.layers[0].agents = [{ name: "a", model: "x:one" }, { name: "b", model: "x:two" }];
  const { root } = draw([OFFLINE, { ...mixture, router: true }], "mixture");
  const panel = find(root, ".panel").textContent ?? "";
  assert.match(panel, /Layer 1a \(x:one\), b \(x:two\)/);
  assert.match(panel, /a model decides first/);
});

test("the mixture that is chosen is the one that is told of", () => {
  const [one, two] = ["one", "two"].map((name) => ({ ...makeLayout(["a"], 1), name }));
  assert.match(draw([one, two], "two").text, /Mixture: two/);
});

test("of a mixture that only quotes, that is told, and a text to quote from is proposed", () => {
  const { root, text } = draw([OFFLINE, makeLayout(["a"], 1)], "offline");
  assert.match(text, /It only quotes your text/);
  assert.match(find(root, ".starters button").textContent ?? "", /bridge/);
});

test("a question to begin with goes into the composer", () => {
  const { proposed, root } = draw([makeLayout(["a"], 1)]);
  const first = /** @type {HTMLElement} */ (find(root, ".starters button"));
  first.click();
  assert.deepEqual(proposed, [[first.textContent]]);
});

test("without a model, it is told how one comes in, and what can be tried without", () => {
  const { proposed, root, text } = draw([OFFLINE]);
  assert.match(text, /No model is set up yet/);
  assert.match(text, /export OPENAI_API_KEY=…/);
  assert.match(text, /--preset ollama/);
  button(root, "Fill in an example")?.click();
  assert.equal(proposed[0][1], "offline");
  assert.match(String(proposed[0][0]), /bridge/);
});

test("keys that are missing are named", () => {
  const { text } = draw([{ ...makeLayout(["a"], 1), missing_keys: ["TOGETHER_API_KEY"] }, OFFLINE]);
  assert.match(text, /export TOGETHER_API_KEY=…/);
});
