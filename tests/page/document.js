// The page's document, in happy-dom instead of a browser. A test that imports this has it.

import { readFileSync } from "node:fs";

import { Window } from "happy-dom";

const ADDRESS = "http://localhost/";
const NAMES = [
  ...["window", "document", "sessionStorage", "ResizeObserver", "requestAnimationFrame"],
  ...["CSS", "Element", "Event", "File", "HTMLDialogElement", "HTMLElement", "KeyboardEvent", "MouseEvent"],
  ...["getComputedStyle", "matchMedia"],
];

const html = readFileSync(new URL(import.meta.resolve("#page/index.html")), "utf8");
const window = new Window({ url: ADDRESS });
const [, body] = html.split(/<\/?body>/);
window.document.body.innerHTML = body;

for (const name of NAMES) {
  Object.defineProperty(globalThis, name, { value: Reflect.get(window, name), configurable: true });
}

/**
 * Let the element have a place and a size.
 * @param {Element} element
 * @param {[x: number, y: number, width: number, height: number]} box
 */
export function lay(element, [x, y, width, height]) {
  const box = { x, y, width, height, left: x, top: y, right: x + width, bottom: y + height };
  element.getBoundingClientRect = () => ({ ...box, toJSON: () => box });
}

/**
 * Press a key.
 * @param {Element} element
 * @param {string} key
 * @param {KeyboardEventInit} options
 */
export function press(element, key, options = {}) {
  element.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, ...options }));
}
