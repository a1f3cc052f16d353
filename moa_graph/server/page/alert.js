// The alert: the error of the last user action.

import { byId, show } from "./dom.js";

/** @param {string | null} [text] */
export function complain(text) {
  byId("alert").textContent = text ?? "";
  show(byId("alert"), Boolean(text));
}

/** @param {unknown} error */
export const messageOf = (error) => (error instanceof Error ? error.message : String(error));

/**
 * Run a user action and show its error.
 * @param {() => void | Promise<void>} action
 */
export async function act(action) {
  try {
    complain(null);
    await action();
  } catch (error) {
    complain(messageOf(error));
  }
}
