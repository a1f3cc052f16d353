// Compare two texts word by word, for unsaved edits. The server compares stored texts (`since` of a
// proposal, by run_report/word_diff.py).

import { h } from "./dom.js";

/** @typedef {{ kind: "same" | "ins" | "del", text: string }} Change */

const MOST = 1_000_000; // maximum number of compared pairs of words; beyond it, the middle is one change

/**
 * Compare two texts.
 * @param {string} before
 * @param {string} after
 * @returns {Change[]}
 */
export function diffWords(before, after) {
  const [a, b] = [words(before), words(after)];
  const start = commonLength(a, b);
  const end = commonLength(a.slice(start).reverse(), b.slice(start).reverse());
  /** @type {Change[]} */
  const changes = [];
  add(changes, "same", a.slice(0, start));
  compare(changes, a.slice(start, a.length - end), b.slice(start, b.length - end));
  add(changes, "same", a.slice(a.length - end));
  return changes;
}

/**
 * Split a text into words, each with the following space.
 * @param {string} text
 */
const words = (text) => text.match(/\s+|\S+\s*/g) ?? [];

/**
 * @param {string[]} a
 * @param {string[]} b
 */
function commonLength(a, b) {
  let length = 0;
  while (length < a.length && length < b.length && a[length] === b[length]) length += 1;
  return length;
}

/**
 * @param {Change[]} changes
 * @param {string[]} a
 * @param {string[]} b
 */
function compare(changes, a, b) {
  if (a.length * b.length > MOST) {
    add(changes, "del", a);
    add(changes, "ins", b);
    return;
  }
  const rest = longestCommon(a, b);
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      add(changes, "same", [a[i]]);
      i += 1;
      j += 1;
    } else if (j === b.length || (i < a.length && rest[i + 1][j] >= rest[i][j + 1])) {
      add(changes, "del", [a[i]]);
      i += 1;
    } else {
      add(changes, "ins", [b[j]]);
      j += 1;
    }
  }
}

/**
 * Return the length of the longest common subsequence for all suffixes of two lists.
 * @param {string[]} a
 * @param {string[]} b
 */
function longestCommon(a, b) {
  const rest = Array.from({ length: a.length + 1 }, () => new Uint32Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      rest[i][j] = a[i] === b[j] ? rest[i + 1][j + 1] + 1 : Math.max(rest[i + 1][j], rest[i][j + 1]);
    }
  }
  return rest;
}

/**
 * @param {Change[]} changes
 * @param {Change["kind"]} kind
 * @param {string[]} said
 */
function add(changes, kind, said) {
  if (!said.length) return;
  const last = changes.at(-1);
  if (last?.kind === kind) last.text += said.join("");
  else changes.push({ kind, text: said.join("") });
}

/**
 * Show the changes between two texts as `<ins>` and `<del>`.
 * @param {string} before
 * @param {string} after
 */
export function diffText(before, after) {
  return diffWords(before, after).map(({ kind, text }) => (kind === "same" ? h("span", {}, text) : h(kind, {}, text)));
}
