import "./document.js";

import assert from "node:assert/strict";
import { test } from "node:test";

import { byId } from "#page/dom.js";
import { Influence } from "#page/influence.js";
import { Session } from "#page/session.js";
import { Stage } from "#page/stage.js";

import { makeModel } from "./models.js";

const nothing = () => {};
const MARKED = '<p><mark data-who="layer_2_a layer_2_b">alike</mark> <mark data-who="layer_2_b">b</mark> own</p>';

function draw(marked = MARKED) {
  const model = makeModel([{ layer: 3, agent: "aggregator", text: "alike b own", html: ["<p>alike b own</p>"] }]);
  const stage = new Stage({ resume: nothing, select: nothing, goTo: nothing, change: nothing, open: nothing,
    showInfluence: nothing, writeLonger: nothing });
  const session = new Session(model, { draw: nothing, update: nothing, complain: nothing });
  const found = { text: "", html: "", in_answer: "", answer: [marked], share: 1, since: null };
  session.proposal = () => Promise.resolve(found);
  stage.draw(model);
  return { influence: new Influence(model, session, stage), model, stage };
}

const marks = () => [...byId("answer-text").querySelectorAll("mark.on")];

test("marks name the proposals by numbers, and a legend the numbers", async () => {
  const { influence } = draw();
  await influence.show(true);
  assert.deepEqual(marks().map((mark) => [mark.getAttribute("data-note"), mark.getAttribute("title")]),
    [["1 2", "a, b"], ["2", "b"]]);
  assert.match(byId("answer").querySelector(".marks")?.textContent ?? "", /proposals 1 a, 2 b\./);
});

test("a run of words that emphasis or a formula divides is numbered once", async () => {
  const who = 'data-who="layer_2_a"';
  const { influence } = draw(`<p><mark ${who}>so </mark><em><mark ${who}>it</mark></em><mark ${who}> is</mark>, `
    + `own <mark ${who}>end</mark></p><p><mark ${who}>more</mark></p>`);
  await influence.show(true);
  assert.deepEqual(marks().map((mark) => mark.getAttribute("data-note")), [null, null, "1", "1", "1"]);
});

test("marks and their legend go together", async () => {
  const { influence, model, stage } = draw();
  await influence.show(true);
  model.marked = null;
  stage.draw(model);
  assert.equal(marks().length, 0);
  assert.equal(byId("answer").querySelector(".marks"), null);
});
