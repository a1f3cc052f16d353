// The list of threads.

import { get } from "./api.js";
import { byId, h } from "./dom.js";

/** @import { Thread } from "./types.js" */

/**
 * Draw the list anew.
 * @param {string | null} open the thread that is shown
 */
export async function drawThreads(open) {
  const { threads } = await get("/api/threads");
  byId("list").replaceChildren(...threads.map((thread) => item(thread, thread.id === open)));
  if (!threads.length) byId("list").append(h("li", { class: "meta" }, "No threads yet."));
}

/**
 * @param {Thread} thread
 * @param {boolean} current
 */
function item(thread, current) {
  const words = thread.running ? "running" : thread.state ?? (thread.finished ? "answered" : "unfinished");
  const state = words.split(",")[0];
  const link = h("a", { href: `#${encodeURIComponent(thread.id)}`, "aria-current": current ? "page" : null },
    h("span", { class: "question" }, (thread.title ?? thread.question).slice(0, 200) || thread.id),
    h("span", { class: "meta" }, `${words} · ${thread.mixture ?? "another program"} · ${ago(thread.when)}`));
  return h("li", { "data-state": state }, link);
}

/** @type {[Intl.RelativeTimeFormatUnit, number][]} */
const UNITS = [["day", 86_400], ["hour", 3600], ["minute", 60]];

/** @param {string} when */
function ago(when) {
  const passed = (Date.now() - new Date(when).getTime()) / 1000;
  const found = UNITS.find(([, each]) => passed >= each);
  if (!found) return "just now";
  const [unit, size] = found;
  return new Intl.RelativeTimeFormat("en", { style: "narrow" }).format(-Math.floor(passed / size), unit);
}

/**
 * Read which thread an address names.
 * @param {string} hash
 */
export function threadOf(hash) {
  const address = hash.slice(1);
  try {
    return decodeURIComponent(address);
  } catch {
    return address; // somebody else wrote it
  }
}

/**
 * Show or hide the list where it has no place of its own.
 * @param {boolean} opened
 */
export function openMenu(opened) {
  byId("menu").setAttribute("aria-expanded", String(opened));
  document.body.classList.toggle("menu-open", opened);
}

byId("menu").addEventListener("click", () => openMenu(byId("menu").getAttribute("aria-expanded") !== "true"));
