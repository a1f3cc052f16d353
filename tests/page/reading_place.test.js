import { lay } from "./document.js";

import assert from "node:assert/strict";
import { test } from "node:test";

import { h } from "#page/dom.js";
import { Follow } from "#page/follow.js";
import { ReadingPlace } from "#page/reading_place.js";

/** A box with three blocks of a text, each of 100 pixels, scrolled by 50. */
function make() {
  const blocks = [h("p"), h("p"), h("p")];
  const answer = h("div", { class: "text" }, blocks);
  const box = h("div", {}, answer);
  const state = { width: 500, top: 50, wrapped: 0 };
  const place = () => blocks.forEach((each, index) =>
    lay(each, [0, index * (100 + state.wrapped) - state.top, state.width, 100]));
  Object.defineProperty(box, "clientWidth", { get: () => state.width });
  Object.defineProperty(box, "scrollTop", {
    get: () => state.top,
    set: (value) => {
      state.top = value;
      place();
    },
  });
  lay(box, [0, 0, 500, 200]);
  place();
  const reading = new ReadingPlace(new Follow(box, h("button"), answer));
  /** @param {number} lines */
  const wrap = (lines) => {
    state.wrapped = 20 * lines;
    place();
  };
  return { blocks, box, reading, state, wrap };
}

test("the first block in view keeps its place when the width changes", () => {
  const { blocks, box, reading, state, wrap } = make();
  reading.resized();
  state.width = 300;
  wrap(2);
  box.dispatchEvent(new Event("scroll")); // a browser may tell of a scroll before it tells of the size
  reading.resized();
  assert.deepEqual([state.top, blocks[1].getBoundingClientRect().top], [90, 50]);
});

test("a text that grows at the same width is left to whoever follows it", () => {
  const { reading, state, wrap } = make();
  reading.resized();
  wrap(2);
  reading.resized();
  assert.equal(state.top, 50);
});

test("marks in the text move nothing that is read", () => {
  const { reading, state, wrap } = make();
  reading.hold(() => wrap(1));
  assert.equal(state.top, 70);
});
