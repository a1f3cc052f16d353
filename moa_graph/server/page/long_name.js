// Shorten long names in the middle, because similar names often differ at their ends.

import { h } from "./dom.js";

const WHOLE = 12; // maximum length of a name that is shortened only at its end
const END = 4; // final characters of a longer name that always remain

/**
 * @param {string} name
 * @returns {(string | HTMLElement)[]}
 */
export function cutInMiddle(name) {
  const characters = [...name];
  if (characters.length <= WHOLE) return [name];
  const [start, end] = [characters.slice(0, -END).join(""), characters.slice(-END).join("")];
  return [h("span", { class: "start" }, start), h("span", { class: "end" }, end)];
}
