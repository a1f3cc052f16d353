// A button that copies a text.

import { h } from "./dom.js";
import { icon } from "./icons.js";

const RESULT_MS = 1500; // how long the button shows the result

/**
 * @param {() => string} text
 * @param {string} [label]
 */
export function copyButton(text, label = "Copy") {
  const word = h("span", {}, label);
  const copy = async () => {
    const done = await navigator.clipboard.writeText(text()).then(() => "Copied", () => "Not allowed");
    word.textContent = done;
    setTimeout(() => { word.textContent = label; }, RESULT_MS);
  };
  return h("button", { type: "button", class: "quiet", onclick: copy }, icon("copy"), word);
}
