// A preview of the proposals, before the aggregator writes.

import { h, setHtml, show } from "./dom.js";
import { setText } from "./tile.js";

/** @import { Received, RunModel } from "./run_model.js" */

const PEEKED = 6; // maximum number of proposals
const SNIPPET = 160; // maximum characters of each

/**
 * Draw the first words of the proposals until the answer begins.
 * @param {HTMLElement} peek
 * @param {RunModel} model
 * @param {(node: string) => void} select
 */
export function drawPeek(peek, model, select) {
  const proposals = model.running && !model.hasAnswer ? readable(model) : [];
  show(peek, model.running && !model.hasAnswer);
  if (peek.hidden) return;
  if (!peek.firstChild) peek.append(h("p", { class: "small dim" }), h("div"));
  const [note, list] = /** @type {HTMLElement[]} */ ([...peek.children]);
  setText(note, `The answer will appear here.${proposals.length ? " Read while you wait:" : ""}`);
  const rows = [...list.children];
  proposals.forEach((cell, index) => {
    const isThere = rows[index]?.getAttribute("data-peek") === cell.node;
    const row = isThere ? rows[index] : rowOf(cell.node, cell.agent, select);
    if (!rows[index]) list.append(row);
    else if (row !== rows[index]) rows[index].replaceWith(row);
    setText(/** @type {HTMLElement} */ (row.querySelector("span")), snippet(cell));
  });
  rows.slice(proposals.length).forEach((row) => row.remove());
}

/**
 * @param {string} node
 * @param {string} agent
 * @param {(node: string) => void} select
 */
function rowOf(node, agent, select) {
  return h("button", { type: "button", "data-peek": node, onclick: () => select(node) },
    h("b", {}, agent), h("span"));
}

/**
 * Return the readable proposals, the newest layer first.
 * @param {RunModel} model
 */
function readable(model) {
  const written = model.proposers.filter((cell) => cell.text);
  const newest = Math.max(...written.map((cell) => cell.layer));
  const own = written.filter((cell) => cell.layer === newest);
  return [...own, ...written.filter((cell) => cell.layer === newest - 1)].slice(0, PEEKED);
}

/**
 * Return the beginning of a proposal on one line, without a heading before it.
 * @param {Received} cell
 */
function snippet({ html, text }) {
  return (html?.length ? ofBlocks(html) : ofMarkdown(text)).trim().slice(0, SNIPPET).replaceAll(/\s+/g, " ");
}

/** @param {string[]} html */
function ofBlocks(html) {
  const texts = html.slice(0, 4).filter((block) => !/^<h\d/.test(block));
  const laid = h("div");
  setHtml(laid, (texts.length ? texts : html).slice(0, 2).join(" "));
  return laid.textContent ?? "";
}

/** @param {string} text */
function ofMarkdown(text) {
  return text.replace(/^\s*#+ .*\n+(?=\S)/, "").replaceAll(/[*`#]+/g, "");
}
