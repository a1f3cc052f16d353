// The dialog that asks for the server's key.

import { h } from "./dom.js";

/** @type {Promise<string> | null} */
let asking = null;

/**
 * Ask for the key, once for all waiting requests.
 * @param {boolean} refused whether the server has refused a key
 * @returns {Promise<string>}
 */
export function askForKey(refused) {
  asking ??= new Promise((resolve) => {
    const field = h("input", {
      ...{ id: "key", type: "password", autocomplete: "off", spellcheck: "false", required: true },
      "aria-describedby": "key-error key-hint",
    });
    const dialog = build(field, refused);
    dialog.addEventListener("cancel", (event) => event.preventDefault()); // the page needs a key
    dialog.addEventListener("close", () => {
      dialog.remove();
      asking = null;
      resolve(field.value.trim());
    }, { once: true });
    document.body.append(dialog);
    dialog.showModal();
  });
  return asking;
}

/**
 * @param {HTMLInputElement} field
 * @param {boolean} refused
 */
function build(field, refused) {
  const reveal = h("button", { type: "button", "aria-pressed": "false" }, "Show");
  reveal.addEventListener("click", () => {
    const shown = field.type === "password";
    field.type = shown ? "text" : "password";
    reveal.setAttribute("aria-pressed", String(shown));
  });
  const error = h("p", { id: "key-error", class: "bad", role: "alert" }, refused ? "That key was refused." : "");
  return h("dialog", { id: "key-dialog", "aria-labelledby": "key-title" },
    h("form", { method: "dialog" },
      h("h2", { id: "key-title" }, "This server requires a key"),
      h("p", { id: "key-hint", class: "dim small" }, "Enter the token in the address that ",
        h("code", {}, "moa serve"), " printed, or the key that the server was started with. ",
        "The page stores it in this tab, not in a cookie."),
      h("label", { for: "key" }, "API key"),
      h("div", { class: "field" }, field, reveal),
      error,
      h("button", { type: "submit", class: "primary" }, "Continue")));
}
