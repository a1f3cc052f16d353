// The list of threads, and its search.

import { h } from "./dom.js";
import { icon } from "./icons.js";
import { ThreadItem, titleOf } from "./thread_item.js";

/** @import { Thread } from "./types.js" */

/**
 * Actions on threads. A returned promise rejects with the error.
 * @typedef {object} ThreadActions
 * @property {() => void} start start a new thread
 * @property {(text: string) => void} search search the titles and questions of all threads, and draw the results
 * @property {(id: string, title: string) => Promise<void>} rename
 * @property {(id: string) => Promise<void>} remove
 * @property {(id: string) => void} report open the report of its last run
 */

const PAUSE = 250; // milliseconds after the last key before the search is sent

export class Threads {
  /**
   * @param {HTMLElement} root
   * @param {ThreadActions} actions
   */
  constructor(root, actions) {
    this.actions = actions;
    this.field = h("input", { type: "search", id: "find", placeholder: "Search threads", autocomplete: "off" });
    this.list = h("ul", { id: "list" });
    this.count = h("p", { class: "unseen", role: "status" });
    /** @type {ThreadItem[]} */
    this.items = [];
    /** @type {[threads: Thread[], current: string | null] | null} */
    this.postponed = null; // the threads to draw after an open menu closes
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    this.field.addEventListener("input", () => this.search());
    root.replaceChildren(
      h("button", { type: "button", id: "new", onclick: () => actions.start() }, icon("plus"), "New thread"),
      h("label", { for: "find", class: "unseen" }, "Search threads"), this.field, this.list, this.count);
  }

  /** The searched text. */
  get query() {
    return this.field.value.trim();
  }

  /**
   * Draw the threads. If a menu is open, wait until it closes.
   * @param {Thread[]} threads
   * @param {string | null} current the current thread
   */
  draw(threads, current) {
    const open = this.items.find((item) => item.pop);
    this.postponed = open ? [threads, current] : null;
    if (open) {
      open.update(threads.find(({ id }) => id === open.thread.id));
      return;
    }
    const focused = this.list.contains(document.activeElement) ? document.activeElement : null;
    const closed = () => this.postponed && this.draw(...this.postponed);
    this.items = threads.map((thread) => new ThreadItem(thread, thread.id === current, this.actions, closed));
    const nothing = this.query ? "No thread contains these words." : "No threads yet. Your questions will appear here.";
    this.list.replaceChildren(...this.items.map((item) => item.element));
    if (!threads.length) this.list.append(h("li", { class: "empty dim small" }, nothing));
    if (this.query) this.tell(threads.length);
    if (focused) this.refocus(focused);
  }

  /**
   * Restore the focus; if its element is gone, focus the search.
   * @param {Element} before
   */
  refocus(before) {
    const id = before.closest("li")?.getAttribute("data-thread");
    const item = this.items.find(({ thread }) => thread.id === id);
    const same = before.matches(".more") ? item?.more : item?.element.querySelector("a");
    (same ?? this.field).focus();
  }

  /** Hide listed threads that do not match immediately, and search all threads on the server. */
  search() {
    const words = this.query.toLowerCase();
    for (const { element, thread } of this.items) {
      element.hidden = !`${titleOf(thread)} ${thread.question}`.toLowerCase().includes(words);
    }
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.actions.search(this.query), PAUSE);
  }

  /** @param {number} number */
  tell(number) {
    this.count.textContent = `${number} ${number === 1 ? "thread" : "threads"} found.`;
  }
}
