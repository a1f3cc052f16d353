import "./document.js";

import assert from "node:assert/strict";
import { test } from "node:test";

import { AgreementPane } from "#page/agreement_pane.js";
import { find, h } from "#page/dom.js";

import { button, makeModel } from "./models.js";

/** @import { Agreement, View } from "#page/types.js" */

/**
 * @param {Agreement | null} agreement
 * @param {Partial<View>} view
 */
function draw(agreement, view = {}) {
  /** @type {unknown[][]} */
  const opened = [];
  const places = { pane: h("div"), acts: h("div") };
  const pane = new AgreementPane((...given) => { opened.push(given); });
  pane.draw(places, makeModel([], { agreement, ...view }));
  return { opened, root: places.pane, text: places.pane.textContent ?? "" };
}

test("the figure is told with what it means", () => {
  const { root, text } = draw({ figure: 0.714, method: "wording", dissent: [] });
  assert.equal(find(root, "h2").textContent, "Agreement 0.71");
  assert.equal(find(root, "[role=img]").getAttribute("aria-label"), "Agreement 0.71 of 1");
  assert.match(text, /wording, not meaning/);
  assert.match(text, /no model compared the proposals/);
});

test("different answers stand with who holds them, and each leads to its proposal", () => {
  const dissent = [{ claim: "42", for: ["layer_2_a"], against: ["layer_2_b"] }];
  const { opened, root } = draw({ figure: 0.5, method: "vote", dissent });
  assert.equal(find(root, "tbody th").textContent, "42");
  button(root, "b")?.click();
  assert.deepEqual(opened, [["proposal", "layer_2_b"]]);
});

test("those who are named by agent are found in the last layer that was read", () => {
  const { opened, root } = draw({ figure: 0.5, dissent: [{ claim: "42", for: ["a"], against: ["gone"] }] });
  button(root, "a")?.click();
  assert.deepEqual(opened, [["proposal", "layer_2_a"]]);
  assert.equal(find(root, "span.chip").textContent, "gone");
});

test("what a model read out of the proposals is told as such", () => {
  const analysis = {
    consensus: ["It is blue."],
    contradictions: [{ issue: "Why?", positions: [{ stance: "Rayleigh", held_by: ["layer_2_a"] }] }],
    unique: [{ point: "Ozone.", held_by: "layer_2_b" }, { point: "Dust.", held_by: "" }],
    blind_spots: ["Sunsets."],
  };
  const { root, text } = draw({ figure: null, dissent: [], analysis });
  const titles = [...root.querySelectorAll("h2, h3, h4")].map((each) => each.textContent);
  assert.deepEqual(titles,
    ["Agreement", "Disputed: 1", "Why?", "Agreed by all", "Said by one only", "Said by none"]);
  assert.match(text, /Rayleigh a/);
  assert.match(text, /A model analysed the proposals/);
});

test("claims are laid out as the server rendered them", () => {
  const dissent = [{ claim: "$n^2$", for: [], against: [] }];
  const analysis = { consensus: ["- x"], contradictions: [], unique: [{ point: "$n$", held_by: "" }], blind_spots: [] };
  const formula = "<math></math>";
  const html = { "$n^2$": formula, "$n$": formula, "- x": "<ul><li>x</li></ul>" };
  const { root } = draw({ figure: 0.5, dissent, analysis, html });
  assert.equal(find(root, "tbody th").innerHTML, "<span><math></math></span>");
  assert.equal(root.querySelectorAll("math").length, 2);
  assert.ok(root.querySelector("li > span > ul"));
});

test("claims of models are text", () => {
  const { root } = draw({ figure: 1, dissent: [{ claim: "<img src=x>", for: [], against: [] }] });
  assert.equal(root.querySelector("img"), null);
});

test("while a run goes on, and without an answer, there is none", () => {
  assert.match(draw({ figure: 1, dissent: [] }, { running: true }).text, /after the answer is complete/);
  assert.match(draw(null).text, /Not known/);
});
