// The reading place: the first block of an answer in view keeps its position when the text wraps anew.

/** @import { Follow } from "./follow.js" */

const BLOCKS = ".text > *"; // not the questions: whoever opens the panel reads an answer

export class ReadingPlace {
  /** @param {Follow} follow scrolls */
  constructor(follow) {
    this.follow = follow;
    this.box = follow.box;
    this.width = this.box.clientWidth;
    this.index = -1; // of the first block in view
    this.top = 0; // its position
    const observer = new ResizeObserver(() => this.resized());
    for (const each of [this.box, ...this.box.children]) observer.observe(each);
    this.box.addEventListener("scroll", () => this.note());
  }

  /**
   * Apply a change of the text that keeps its blocks.
   * @param {() => void} change
   */
  hold(change) {
    this.note();
    change();
    this.restore();
  }

  /** Restore the place if the width has changed. */
  resized() {
    if (this.box.clientWidth !== this.width) this.restore();
    this.width = this.box.clientWidth;
    this.note();
  }

  note() {
    if (this.box.clientWidth !== this.width) return; // the text has moved, and `resized` is not called yet
    const { top: first, bottom: last } = this.box.getBoundingClientRect();
    const tops = this.blocks.map(topOf);
    this.index = tops.findIndex((top) => top >= first && top < last);
    this.top = tops[this.index] ?? 0;
  }

  restore() {
    const block = this.blocks[this.index];
    const moved = block ? topOf(block) - this.top : 0;
    if (Math.abs(moved) >= 1) this.follow.scrollTo(this.box.scrollTop + moved);
  }

  get blocks() {
    return [...this.box.querySelectorAll(BLOCKS)];
  }
}

/** @param {Element} element */
const topOf = (element) => element.getBoundingClientRect().top;
