// A text from a model, as the server has rendered it.

import { copyButton } from "./copy.js";
import { h, setBlocks } from "./dom.js";

/**
 * Show a text; until the server has rendered it, show it unformatted.
 * @param {HTMLElement} root
 * @param {string} text
 * @param {string[] | undefined} html the rendered blocks
 */
export function fillText(root, text, html) {
  if (!html) root.replaceChildren(h("p", {}, text));
  else for (const node of setBlocks(root, html)) if (node instanceof HTMLElement) furnish(node);
  levelHeadings(root);
}

const HIGHEST = 3; // highest heading level in a text, below the page's title and the titles of its parts

/**
 * Set the accessible levels of headings, because models begin at any level and skip levels.
 * @param {HTMLElement} root
 */
export function levelHeadings(root) {
  /** @type {number[]} */
  const open = []; // original levels of the enclosing headings
  for (const heading of root.querySelectorAll("h3, h4, h5, h6")) {
    const written = Number(heading.tagName[1]);
    while (open.length && open[open.length - 1] >= written) open.pop();
    open.push(written);
    heading.setAttribute("aria-level", String(HIGHEST + open.length - 1));
  }
}

/**
 * Add a copy button to each code block.
 * @param {HTMLElement} block
 */
export function furnish(block) {
  for (const code of block.matches(".code") ? [block] : block.querySelectorAll(".code")) {
    code.firstElementChild?.append(copyButton(() => code.querySelector("code")?.textContent ?? ""));
  }
}
