import "./document.js";

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import { find } from "#page/dom.js";
import { askForKey } from "#page/key_dialog.js";

import { button } from "./models.js";

const dialog = () => /** @type {HTMLDialogElement} */ (find(document, "#key-dialog"));
const field = () => /** @type {HTMLInputElement} */ (find(document, "#key"));

afterEach(() => document.querySelector("dialog")?.remove());

test("the key that is typed is given, and stands nowhere afterwards", async () => {
  const asked = askForKey(false);
  field().value = " secret ";
  dialog().close();
  assert.equal(await asked, "secret");
  assert.equal(document.querySelector("dialog"), null);
});

test("requests that wait for a key ask once", async () => {
  const asked = [askForKey(false), askForKey(false)];
  assert.equal(document.querySelectorAll("dialog").length, 1);
  field().value = "key";
  dialog().close();
  assert.deepEqual(await Promise.all(asked), ["key", "key"]);
});

test("a key that was refused is said to be", () => {
  askForKey(true);
  assert.equal(find(document, "#key-error").textContent, "That key was refused.");
  dialog().close();
});

test("the key is hidden, unless one asks to see it", () => {
  askForKey(false);
  assert.equal(field().type, "password");
  button(dialog(), "Show")?.click();
  assert.equal(field().type, "text");
  assert.equal(button(dialog(), "Show")?.getAttribute("aria-pressed"), "true");
  dialog().close();
});
