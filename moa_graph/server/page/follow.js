// Follow a growing answer until its first line would leave the view, or the reader scrolls.

const NEAR = 48; // maximum distance in pixels at which the reader counts as being at the end
const GAP = 10; // pixels above the first line when it is at the top

/** @typedef {"follow" | "end" | "free"} Mode follow with the first line in view, follow to the end, or do not follow */

export class Follow {
  /**
   * @param {HTMLElement} box the scrolling element
   * @param {HTMLElement} button scrolls to the end
   * @param {HTMLElement} answer its first line stays in view
   */
  constructor(box, button, answer) {
    this.box = box;
    this.button = button;
    this.answer = answer;
    /** @type {Mode} */
    this.mode = "follow";
    this.growing = false;
    this.set = 0; // the last position that this class scrolled to
    box.addEventListener("scroll", () => this.scrolled());
    button.addEventListener("click", () => {
      this.mode = "end";
      this.grew();
      box.focus();
    });
  }

  /** Follow again, for a new thread or step. */
  start() {
    this.mode = "follow";
  }

  /**
   * Set whether the answer grows.
   * @param {boolean} growing
   */
  grows(growing) {
    this.growing = growing;
    this.offer();
  }

  /** Scroll after the answer has grown. */
  grew() {
    const end = this.box.scrollHeight - this.box.clientHeight;
    const top = this.offset(this.answer, GAP);
    const wanted = this.mode === "end" ? end : Math.min(end, top);
    if (this.mode !== "free" && wanted > this.box.scrollTop) this.scrollTo(wanted);
    this.offer();
  }

  /**
   * Scroll an element to the top.
   * @param {HTMLElement} element
   */
  top(element) {
    this.scrollTo(this.offset(element));
    this.offer();
  }

  /**
   * Apply a change and keep the screen position of an element.
   * @param {HTMLElement} element
   * @param {() => void} change
   */
  hold(element, change) {
    const before = element.getBoundingClientRect().top;
    change();
    const moved = element.hidden ? 0 : element.getBoundingClientRect().top - before;
    if (Math.abs(moved) >= 1) this.scrollTo(this.box.scrollTop + moved);
  }

  /**
   * Return the scroll position that puts an element at the top.
   * @param {HTMLElement} element
   * @param {number} gap pixels above it
   */
  offset(element, gap = parseFloat(getComputedStyle(this.box).paddingTop) || 0) {
    const distance = element.getBoundingClientRect().top - this.box.getBoundingClientRect().top;
    return Math.max(0, this.box.scrollTop + distance - gap);
  }

  /** @param {number} place */
  scrollTo(place) {
    this.box.scrollTop = place;
    this.set = this.box.scrollTop;
  }

  get distance() {
    return this.box.scrollHeight - this.box.clientHeight - this.box.scrollTop;
  }

  scrolled() {
    if (Math.abs(this.box.scrollTop - this.set) > 1) { // the reader has scrolled
      this.mode = this.distance < NEAR ? "end" : "free";
      this.set = this.box.scrollTop;
    }
    this.offer();
  }

  /** Show the button while the end of a growing answer is out of view. */
  offer() {
    this.button.hidden = !this.growing || this.distance < NEAR;
  }
}
