// Elements are built, never parsed: text from models cannot become markup.

/** @typedef {Node | string | null} Child */
/** @typedef {Record<string, string | number | boolean | null | ((event: Event) => void)>} Properties */

/**
 * The elements that index.html names, and are more than an `HTMLElement`.
 * @typedef {{
 *   "branch": HTMLSelectElement,
 *   "key": HTMLInputElement,
 *   "key-dialog": HTMLDialogElement,
 *   "mixture": HTMLSelectElement,
 *   "question": HTMLTextAreaElement,
 * }} Named
 */

/**
 * Make an element. `on…` properties are listeners, the others attributes; `null` leaves one out.
 * Children may come in lists: a long text has more of them than a call takes arguments.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Properties} properties
 * @param {(Child | Child[])[]} children
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : String(value));
  }
  appendAll(element, children.flat());
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
 * Give an element that index.html names.
 * @template {string} I
 * @param {I} id
 */
export const byId = (id) =>
  /** @type {I extends keyof Named ? Named[I] : HTMLElement} */ (document.getElementById(id));

/**
 * Give a part of an element that is known to have it.
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

/** @param {number | null} value */
export const seconds = (value) => (value === null ? "" : `${value.toFixed(value < 99.95 ? 1 : 0)} s`);

/** @param {number} value */
export const count = (value) => value.toLocaleString("en");

/**
 * Write an estimate of US dollars with as many digits as tell something.
 * @param {number} value
 */
export function dollars(value) {
  if (value === 0) return "$0";
  return value < 0.0001 ? "<$0.0001" : `~$${value < 0.1 ? value.toFixed(4) : value.toFixed(2)}`;
}
