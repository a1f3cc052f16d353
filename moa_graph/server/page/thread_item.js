// A thread in the list: its link, its outcome, and its menu.

import { messageOf } from "./alert.js";
import { h } from "./dom.js";
import { icon } from "./icons.js";

/** @import { IconName } from "./icons.js" */
/** @import { Thread } from "./types.js" */
/** @import { ThreadActions } from "./threads.js" */

const TITLE = 200; // maximum characters of a title

/** @type {Record<string, [icon: IconName, tone: string]>} */
const LOOKS = {
  answered: ["ok", ""],
  running: ["run", ""],
  degraded: ["warn", "warn"],
  stopped: ["skip", "warn"],
  unfinished: ["skip", "warn"],
  failed: ["bad", "bad"],
  damaged: ["bad", "bad"],
};

export class ThreadItem {
  /**
   * @param {Thread} thread
   * @param {boolean} current whether it is the current thread
   * @param {ThreadActions} actions
   * @param {() => void} closed called after its menu has closed
   */
  constructor(thread, current, actions, closed) {
    this.thread = thread;
    this.actions = actions;
    this.closed = closed;
    this.more = h("button", {
      ...{ type: "button", class: "icon quiet more", "aria-expanded": "false" },
      "aria-label": `More for: ${titleOf(thread)}`,
      onclick: () => (this.pop ? this.close() : this.open()),
    }, icon("more"));
    this.element = h("li", { class: current ? "on" : null, "data-state": stateOf(thread), "data-thread": thread.id },
      this.link(current), this.more);
    this.element.addEventListener("keydown", (event) => this.leave(event));
    /** @type {HTMLElement | null} */
    this.pop = null;
    this.isMenu = false;
  }

  /**
   * Update the thread while its menu is open.
   * @param {Thread | undefined} thread `undefined` if it is no longer listed
   */
  update(thread) {
    if (!thread || thread.running === this.thread.running) return;
    this.thread = thread;
    this.element.dataset.state = stateOf(thread);
    const focused = document.activeElement;
    const link = this.element.querySelector("a");
    const anew = this.link(link?.getAttribute("aria-current") === "page");
    link?.replaceWith(anew);
    if (focused === link) anew.focus();
    if (!this.isMenu) return;
    const hadFocus = this.pop?.contains(focused);
    this.open();
    if (!hadFocus && focused instanceof HTMLElement) focused.focus();
  }

  /** @param {boolean} current */
  link(current) {
    const { thread } = this;
    const state = stateOf(thread);
    const [name, tone] = LOOKS[state] ?? LOOKS.answered;
    const plain = state === "answered"; // the most frequent state: the icon suffices and saves room
    const details = detailsOf(thread);
    return h("a", { href: `#${encodeURIComponent(thread.id)}`, "aria-current": current ? "page" : null,
      title: [titleOf(thread), [state, ...details].join(", "), writerOf(thread)].join("\n") },
    h("b", { class: "question" }, titleOf(thread)),
    h("span", { class: "meta" },
      h("span", { class: `state ${tone}` }, icon(name), h("span", { class: plain ? "unseen" : null }, state)),
      h("span", { class: "unseen" }, details.map((each) => `, ${each}`), ", "),
      plain ? null : dot(), h("span", {}, ago(thread.when)), h("span", { class: "unseen" }, ", "),
      dot(), h("span", { class: "writer" }, writerOf(thread))));
  }

  /** Open the menu. */
  open() {
    const { id, mixture, running } = this.thread;
    const damaged = stateOf(this.thread) === "damaged";
    const button = (/** @type {string} */ label, /** @type {() => void} */ onclick, tone = "") =>
      h("button", { type: "button", class: tone, onclick }, label);
    const isOwn = damaged || mixture !== null; // the owner of a damaged thread is unknown: the server decides
    const parts = [
      damaged ? h("p", {}, "Its stored data cannot be read.") : button("Rename", () => this.rename()),
      damaged || !isOwn ? null : button("Report", () => this.actions.report(id)),
      running ? h("p", {}, "Stop its run before you delete it.")
        : isOwn ? button("Delete…", () => this.confirm(), "danger")
          : h("p", {}, "Another program wrote this thread. Delete it there."),
    ];
    this.show(...parts.filter((each) => each !== null)).querySelector("button")?.focus();
    this.isMenu = true;
  }

  /** Ask for a new title. */
  rename() {
    const field = h("input", { type: "text", maxlength: TITLE, "aria-label": "Title", required: true });
    field.value = titleOf(this.thread);
    const form = h("form", { class: "row" }, field,
      h("button", { type: "submit", class: "primary" }, "Rename"), this.keep("Cancel"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const title = field.value.trim();
      if (title) this.act(() => this.actions.rename(this.thread.id, title));
    });
    this.show(form);
    field.select();
  }

  /** Ask for confirmation of the deletion, with its consequences. */
  confirm() {
    const remove = () => this.act(() => this.actions.remove(this.thread.id));
    const no = this.keep("Keep it");
    this.show(h("p", {}, lost(this.thread)),
      h("button", { type: "button", class: "danger", onclick: remove }, "Delete"), no);
    no.focus();
  }

  /** @param {string} label */
  keep(label) {
    return h("button", { type: "button", onclick: () => this.close() }, label);
  }

  /**
   * Run an action and show its error in the menu.
   * @param {() => Promise<void>} action
   */
  async act(action) {
    try {
      await action();
      this.close();
    } catch (error) {
      this.pop?.append(h("p", { class: "error", role: "alert" }, messageOf(error)));
    }
  }

  /** @param {HTMLElement[]} parts */
  show(...parts) {
    this.pop?.remove();
    const label = `Actions for: ${titleOf(this.thread)}`;
    this.pop = h("div", { class: "pop", role: "group", "aria-label": label }, ...parts);
    this.element.append(this.pop);
    this.isMenu = false;
    this.more.setAttribute("aria-expanded", "true");
    return this.pop;
  }

  close() {
    const had = this.element.contains(document.activeElement);
    this.pop?.remove();
    this.pop = null;
    this.isMenu = false;
    this.more.setAttribute("aria-expanded", "false");
    if (had) this.more.focus();
    this.closed();
  }

  /**
   * Close the menu with Escape, without another effect.
   * @param {KeyboardEvent} event
   */
  leave(event) {
    if (event.key !== "Escape" || !this.pop) return;
    event.stopPropagation();
    this.close();
  }
}

/** A separator for the eye. */
const dot = () => h("span", { "aria-hidden": "true" }, "·");

/** @param {Thread} thread */
export const titleOf = (thread) => (thread.title || thread.question).slice(0, TITLE) || thread.id;

/** @param {Thread} thread */
function stateOf({ finished, outcome, running, state }) {
  if (running) return "running";
  if (state === "damaged") return state;
  return outcome ?? (state ?? (finished ? "answered" : "unfinished")).split(",")[0];
}

/**
 * List the details of the last turn's state: `2 failed`.
 * @param {Thread} thread
 */
const detailsOf = ({ running, state }) => (running ? [] : (state ?? "").split(", ").slice(1));

/** @param {Thread} thread */
const writerOf = (thread) => thread.mixture ?? (thread.state === "damaged" ? "unreadable" : "another program");

/** @param {Thread} thread */
function lost(thread) {
  const { turns } = thread;
  if (stateOf(thread) === "damaged") {
    return "Delete this damaged thread? The page cannot show it, but its remaining data in the database is lost. "
      + "You cannot undo this.";
  }
  const number = turns === undefined ? "turns" : `${turns} ${turns === 1 ? "turn" : "turns"}`;
  return `Delete this thread? You lose its ${number} with all proposals and branches, also for the command line. `
    + "You cannot undo this.";
}

/** @type {[Intl.RelativeTimeFormatUnit, number][]} */
const UNITS = [["day", 86_400], ["hour", 3600], ["minute", 60]];

/** @param {string} when */
function ago(when) {
  const passed = (Date.now() - new Date(when).getTime()) / 1000;
  const found = UNITS.find(([, each]) => passed >= each);
  if (!found) return "just now";
  const [unit, size] = found;
  const format = new Intl.RelativeTimeFormat("en", { style: "short", numeric: "auto" });
  return format.format(-Math.floor(passed / size), unit).replace(".", "");
}
