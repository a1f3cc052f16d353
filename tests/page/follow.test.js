import { lay } from "./document.js";

import assert from "node:assert/strict";
import { test } from "node:test";

import { h } from "#page/dom.js";
import { Follow } from "#page/follow.js";

/** A box of 100 pixels with an answer at 60, and a button. */
function make() {
  const [box, button, answer] = [h("div"), h("button"), h("div")];
  const state = { height: 100, top: 0 };
  Object.defineProperty(box, "clientHeight", { value: 100 });
  Object.defineProperty(box, "scrollHeight", { get: () => state.height });
  Object.defineProperty(box, "scrollTop", {
    get: () => state.top,
    set: (value) => {
      state.top = Math.max(0, Math.min(value, state.height - 100));
      lay(answer, [0, 60 - state.top, 100, 10]);
    },
  });
  box.scrollTop = 0;
  lay(box, [0, 0, 100, 100]);
  const follow = new Follow(box, button, answer);
  follow.grows(true);
  /** @param {number} height */
  const grow = (height) => {
    state.height = height;
    follow.grew();
    return state.top;
  };
  /** @param {number} place */
  const scroll = (place) => {
    box.scrollTop = place;
    box.dispatchEvent(new Event("scroll"));
  };
  return { button, follow, grow, scroll, state };
}

test("an answer is followed until its first line would leave", () => {
  const { grow } = make();
  assert.deepEqual([grow(120), grow(150), grow(200), grow(900)], [20, 50, 50, 50]);
});

test("a reader who has scrolled away is left there", () => {
  const { grow, scroll } = make();
  grow(200);
  scroll(10);
  assert.equal(grow(400), 10);
});

test("a reader who has gone to the end stays at the end", () => {
  const { button, grow, scroll } = make();
  grow(400);
  button.click();
  assert.equal(grow(500), 400);
  scroll(0);
  assert.equal(grow(600), 0);
  scroll(480);
  assert.equal(grow(700), 600);
});

test("the way to the end is offered while there is more below", () => {
  const { button, follow, grow } = make();
  grow(130);
  assert.equal(button.hidden, true);
  grow(400);
  assert.equal(button.hidden, false);
  follow.grows(false);
  assert.equal(button.hidden, true);
});

test("what is inserted above leaves the answer where it is", () => {
  const { follow, grow, state } = make();
  grow(400);
  const answer = follow.answer;
  follow.hold(answer, () => lay(answer, [0, 90 - state.top, 100, 10]));
  assert.equal(state.top, 80);
});
