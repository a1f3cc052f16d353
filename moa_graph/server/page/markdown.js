// A subset of Markdown, built as elements: what is not understood stays the text that it is.

import { appendAll, h } from "./dom.js";

/** @typedef {[Element | null, number]} Block an element, and the line behind what it shows */
/** @typedef {"h3" | "h4" | "h5" | "h6"} Heading */

const LONGEST = 200_000; // characters that are laid out; longer texts are shown as they are
const DEEPEST = 8; // lists in lists, and emphasis in emphasis

const INLINE =
  /`([^`\n]+)`|\*\*([^*\n]+)\*\*|\*([^*\s][^*\n]*)\*|\b_([^_\n]+)_\b|!?\[([^[\]\n]{1,500})\]\(([^()\s]{1,2000})\)/;
const ITEM = /^(\s*)(?:[-*+]|(\d{1,9})[.)])\s+(.*)$/s; // `s`: what stops `.` would be tried again
const FENCE = /^\s*(```|~~~)/;
const HEADING = /^(#{1,6})\s+(.*)$/s;
const RULE = /^\s*(?:-{3,}|\*{3,}|_{3,})\s*$/;
const QUOTE = /^\s*>\s?(.*)$/s;
const DASHES = /^:?-+:?$/; // what stands below a column's name

/**
 * Show a text in an element.
 * @param {HTMLElement} element
 * @param {string} text
 */
export function render(element, text) {
  const long = text.length > LONGEST;
  element.replaceChildren();
  appendAll(element, long ? [h("pre", {}, text)] : blocks(text.replaceAll("\r", "").split("\n"), 0));
}

/**
 * @param {string[]} lines
 * @param {number} depth
 */
function blocks(lines, depth) {
  /** @type {Element[]} */
  const found = [];
  let at = 0;
  while (at < lines.length) {
    const [element, next] = block(lines, at, depth);
    if (element) found.push(element);
    at = next;
  }
  return found;
}

/**
 * Read the block that begins at a line.
 * @param {string[]} lines
 * @param {number} at
 * @param {number} depth
 * @returns {Block}
 */
function block(lines, at, depth) {
  const line = lines[at];
  if (!line.trim()) return [null, at + 1];
  if (FENCE.test(line)) return code(lines, at);
  if (RULE.test(line)) return [h("hr"), at + 1];
  const heading = HEADING.exec(line);
  if (heading) {
    const tag = /** @type {Heading} */ (`h${Math.min(6, heading[1].length + 2)}`);
    return [h(tag, {}, inline(heading[2])), at + 1];
  }
  if (QUOTE.test(line) && depth < DEEPEST) return quote(lines, at, depth);
  if (ITEM.test(line) && depth < DEEPEST) return list(lines, at, depth);
  if (beginsTable(lines, at)) return table(lines, at);
  return paragraph(lines, at);
}

/**
 * @param {string[]} lines
 * @param {number} at
 * @returns {Block}
 */
function code(lines, at) {
  const [, fence] = match(FENCE, lines[at]);
  let end = at + 1;
  while (end < lines.length && !lines[end].trimStart().startsWith(fence)) end += 1;
  const text = lines.slice(at + 1, end).join("\n");
  return [h("pre", { tabindex: 0 }, h("code", {}, text)), end + 1];
}

/**
 * @param {string[]} lines
 * @param {number} at
 * @param {number} depth
 * @returns {Block}
 */
function quote(lines, at, depth) {
  let end = at;
  while (end < lines.length && QUOTE.test(lines[end])) end += 1;
  const inner = lines.slice(at, end).map((line) => match(QUOTE, line)[1]);
  return [h("blockquote", {}, blocks(inner, depth + 1)), end];
}

/**
 * Read a list: its items, and what is indented below each.
 * @param {string[]} lines
 * @param {number} at
 * @param {number} depth
 * @returns {Block}
 */
function list(lines, at, depth) {
  const [, indent, number] = match(ITEM, lines[at]);
  /** @type {string[][]} */
  const items = [];
  let end = at;
  while (end < lines.length) {
    const item = ITEM.exec(lines[end]);
    if (item && item[1].length <= indent.length && Boolean(item[2]) === Boolean(number)) {
      items.push([item[3]]);
    } else if (items.length && belongs(lines, end, indent.length)) {
      items[items.length - 1].push(lines[end].slice(indent.length + 2));
    } else break;
    end += 1;
  }
  const elements = items.map(([first, ...rest]) =>
    h("li", {}, inline(first), blocks(rest, depth + 1)));
  return [number ? h("ol", { start: number }, elements) : h("ul", {}, elements), end];
}

/**
 * Tell whether a line is part of the item above it.
 * @param {string[]} lines
 * @param {number} at
 * @param {number} indent
 */
function belongs(lines, at, indent) {
  const next = lines[at].trim() ? lines[at] : lines[at + 1] ?? "";
  const inside = next.search(/\S/) > indent;
  return inside || (!lines[at].trim() && ITEM.test(next));
}

/**
 * Tell whether a row of names and a row of dashes, one for each, begin at a line.
 * @param {string[]} lines
 * @param {number} at
 */
function beginsTable(lines, at) {
  if (!lines[at].includes("|") || !lines[at + 1]?.includes("-")) return false;
  const dashes = cells(lines[at + 1]);
  return dashes.every((each) => DASHES.test(each)) && dashes.length === cells(lines[at]).length;
}

/**
 * @param {string[]} lines
 * @param {number} at
 * @returns {Block}
 */
function table(lines, at) {
  let end = at + 2;
  while (end < lines.length && lines[end].includes("|")) end += 1;
  /** @type {(tag: "td" | "th", line: string) => Element} */
  const row = (tag, line) => h("tr", {}, cells(line).map((each) => h(tag, {}, inline(each))));
  const rows = lines.slice(at + 2, end).map((line) => row("td", line));
  const element = h("table", {}, h("thead", {}, row("th", lines[at])), h("tbody", {}, rows));
  return [h("div", { class: "table", tabindex: 0 }, element), end];
}

/**
 * Split a row; a bar behind a backslash is text.
 * @param {string} line
 */
function cells(line) {
  const row = line.trim().replace(/^\|/, "").replace(/(?<!\\)\|$/, "");
  return row.split(/(?<!\\)\|/).map((each) => each.replaceAll("\\|", "|").trim());
}

/**
 * @param {string[]} lines
 * @param {number} at
 * @returns {Block}
 */
function paragraph(lines, at) {
  let end = at + 1;
  /** @type {(line: string) => boolean} */
  const starts = (line) => [FENCE, HEADING, ITEM, QUOTE, RULE].some((each) => each.test(line));
  while (end < lines.length && lines[end].trim() && !starts(lines[end]) && !beginsTable(lines, end)) end += 1;
  const parts = lines.slice(at, end).flatMap((line, index) => [
    ...(index ? [h("br")] : []),
    ...inline(line),
  ]);
  return [h("p", {}, parts), end];
}

/**
 * @param {string} text
 * @param {number} depth
 * @returns {(Node | string)[]}
 */
function inline(text, depth = 0) {
  /** @type {(Node | string)[]} */
  const parts = [];
  let rest = text;
  for (let found; depth < DEEPEST && (found = INLINE.exec(rest)); ) {
    parts.push(rest.slice(0, found.index), phrase(found, depth + 1));
    rest = rest.slice(found.index + found[0].length);
  }
  return [...parts, rest].filter((part) => part !== "");
}

/**
 * @param {string[]} groups of `INLINE`
 * @param {number} depth
 */
function phrase([whole, verbatim, strong, star, underscore, label, address], depth) {
  if (verbatim) return h("code", {}, verbatim);
  if (strong) return h("strong", {}, inline(strong, depth));
  if (label) return link(label, address) ?? whole;
  return h("em", {}, inline(star ?? underscore, depth));
}

/**
 * Make a link if it leads to the web; nothing is loaded until somebody follows it.
 * @param {string} label
 * @param {string} address
 */
function link(label, address) {
  const url = URL.canParse(address) ? new URL(address) : null;
  if (!url || !["http:", "https:"].includes(url.protocol)) return null;
  const attributes = { href: url.href, rel: "noopener noreferrer", target: "_blank" };
  return h("a", { ...attributes, title: url.href }, label);
}

/**
 * Give the groups of a pattern that is known to match.
 * @param {RegExp} pattern
 * @param {string} line
 */
function match(pattern, line) {
  return /** @type {RegExpExecArray} */ (pattern.exec(line));
}
