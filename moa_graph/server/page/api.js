// The server's API. A key, where one is asked for, lives as long as the browser's tab: in no cookie,
// which the browser would send to the servers of all other ports of the same host, too.

import { byId } from "./dom.js";

/** @import { Answers, RunEvent } from "./types.js" */
/** @typedef {Record<string, string | null>} Parameters */

const KEY = "moa-api-key";

export class ApiError extends Error {
  /**
   * @param {number} status `0` if there was no response
   * @param {string} message
   */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Keep the token in the page's address, and leave it out of the address. */
export function keepToken() {
  const parameters = new URLSearchParams(location.search);
  const token = parameters.get("token");
  if (token === null) return;
  sessionStorage.setItem(KEY, token);
  parameters.delete("token");
  const rest = parameters.size ? `?${parameters}` : "";
  history.replaceState(null, "", `${location.pathname}${rest}${location.hash}`);
}

/**
 * @template {keyof Answers} P
 * @param {P} path
 * @param {Parameters} parameters
 * @returns {Promise<Answers[P]>}
 */
export const get = (path, parameters = {}) => request(withParameters(path, parameters)).then(json);

/**
 * @param {string} path
 * @param {object} body
 * @returns {Promise<{ thread: string }>}
 */
export const post = (path, body) =>
  request(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  }).then(json);

/**
 * Read server-sent events; `fetch`, for an `EventSource` cannot show a key.
 * @param {string} path
 * @param {Parameters} parameters
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<RunEvent, void>}
 */
export async function* events(path, parameters, signal) {
  const response = await request(withParameters(path, parameters), { signal });
  if (!response.body || response.status === 204) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let unread = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (unread + value).replaceAll("\r", "").split("\n\n");
    unread = blocks.pop() ?? "";
    for (const block of blocks) {
      const data = block.split("\n").filter((line) => line.startsWith("data:"));
      if (data.length) yield JSON.parse(data.map((line) => line.slice(5)).join("\n"));
    }
  }
}

/** @param {Response} response */
const json = (response) => response.json();

/**
 * @param {string} path
 * @param {Parameters} parameters
 */
function withParameters(path, parameters) {
  const given = Object.entries(parameters).flatMap(([name, value]) => (value ? [[name, value]] : []));
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

/**
 * @param {string} path
 * @param {RequestInit} options
 * @returns {Promise<Response>}
 */
async function request(path, options = {}) {
  const key = sessionStorage.getItem(KEY);
  const headers = { ...options.headers, ...(key && { authorization: `Bearer ${key}` }) };
  const response = await fetch(path, { ...options, headers }).catch((error) => {
    throw error.name === "AbortError" ? error : new ApiError(0, "The server cannot be reached.");
  });
  if (response.status === 401) {
    await askForKey(key);
    return request(path, options);
  }
  if (!response.ok) throw new ApiError(response.status, await explain(response));
  return response;
}

/** @param {Response} response */
async function explain(response) {
  const body = await response.json().catch(() => null);
  return body?.error?.message ?? `The server answered with status ${response.status}.`;
}

/** @type {Promise<void> | null} */
let asking = null;

/**
 * Ask for the key, once for all requests that wait for it.
 * @param {string | null} wrong the key that was refused
 */
function askForKey(wrong) {
  const current = sessionStorage.getItem(KEY);
  if (current && current !== wrong) return Promise.resolve(); // somebody has just given it
  asking ??= new Promise((resolve) => {
    const dialog = byId("key-dialog");
    byId("key-error").textContent = wrong ? "That key was refused." : "";
    byId("key").value = "";
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    dialog.addEventListener("close", () => {
      sessionStorage.setItem(KEY, byId("key").value.trim());
      byId("key").value = "";
      asking = null;
      resolve();
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}
