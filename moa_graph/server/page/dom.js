// Build elements without parsing HTML, so that text from models cannot become markup. The only
// exceptions are `setHtml` and `setBlocks`, which accept only HTML that the server has sanitised.

/** @typedef {Node | string | null} Child */
/** @typedef {Record<string, string | number | boolean | null | ((event: Event) => void)>} Properties */

/**
 * Elements of index.html with a more specific type than `HTMLElement`, by `id`.
 * @typedef {{
 *   "branch": HTMLSelectElement,
 *   "file": HTMLInputElement,
 *   "question": HTMLTextAreaElement,
 * }} Named
 */

/**
 * Create an element. `on…` properties are listeners, others are attributes; `null` omits a property.
 * Children may be lists, as a long text has more children than a call may have arguments.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Properties} properties
 * @param {(Child | Child[] | Child[][])[]} children
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : String(value));
  }
  appendAll(element, children.flat(2));
  return element;
}

/**
 * @param {Element} element
 * @param {Child[]} children
 */
export function appendAll(element, children) {
  for (const child of children) if (child !== null) element.append(child);
}

/**
 * Return an element of index.html.
 * @template {string} I
 * @param {I} id
 */
export const byId = (id) =>
  /** @type {I extends keyof Named ? Named[I] : HTMLElement} */ (document.getElementById(id));

/**
 * Return a descendant that must exist.
 * @param {ParentNode} root
 * @param {string} selector
 */
export const find = (root, selector) => /** @type {HTMLElement} */ (root.querySelector(selector));

/**
 * @param {HTMLElement} element
 * @param {boolean} visible
 */
export function show(element, visible) {
  element.hidden = !visible;
}

/** @param {number | null} value seconds */
export const seconds = (value) => (value === null ? "" : `${value.toFixed(value < 99.95 ? 1 : 0)} s`);

/** @param {number} value */
export const count = (value) => value.toLocaleString("en");

/**
 * Format an estimate of US dollars with its significant digits.
 * @param {number} value
 */
export function dollars(value) {
  if (value === 0) return "$0";
  return value < 0.0001 ? "<$0.0001" : `~$${value < 0.1 ? value.toFixed(4) : value.toFixed(2)}`;
}

/**
 * Show HTML that the server has sanitised; never pass any other text.
 * @param {Element} root
 * @param {string} html
 */
export function setHtml(root, html) {
  root.replaceChildren(...parse(html));
}

/** @type {WeakMap<Element, { html: string, nodes: Node[] }[]>} */
const drawnBlocks = new WeakMap();

/**
 * Show blocks of HTML that the server has sanitised. Unchanged blocks keep their elements.
 * @param {Element} root
 * @param {string[]} blocks
 * @returns {Node[]} the new elements
 */
export function setBlocks(root, blocks) {
  const before = drawnBlocks.get(root) ?? [];
  const isDrawn = before.length > 0 && before.every(({ nodes }) => nodes.every((node) => node.parentNode === root));
  let same = 0;
  while (isDrawn && same < blocks.length && before[same]?.html === blocks[same]) same += 1;
  const added = blocks.slice(same).map((html) => ({ html, nodes: parse(html) }));
  if (isDrawn) for (const { nodes } of before.slice(same)) for (const node of nodes) node.parentNode?.removeChild(node);
  else root.replaceChildren();
  const nodes = added.flatMap((block) => block.nodes);
  for (const node of nodes) root.appendChild(node);
  drawnBlocks.set(root, [...before.slice(0, same), ...added]);
  return nodes;
}

/** @param {string} html */
function parse(html) {
  const template = document.createElement("template");
  template.innerHTML = html; // eslint-disable-line no-restricted-properties -- the server has sanitised it
  return [...template.content.childNodes];
}
