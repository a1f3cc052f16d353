// The client of the server's API. It keeps the key for the lifetime of the tab, and not in a cookie:
// the browser would send a cookie to the servers on all ports of the host.

import { askForKey } from "./key_dialog.js";

/** @import { Answers, RunEvent } from "./types.js" */
/** @typedef {Record<string, string | null>} Parameters */

const KEY = "moa-api-key";

export class ApiError extends Error {
  /**
   * @param {number} status `0` if there was no response
   * @param {string} message
   * @param {string | null} [code] the server's error code
   */
  constructor(status, message, code = null) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** Store the token of the page's address and remove it from the address. */
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
 * @returns {Promise<{ thread: string, url?: string }>}
 */
export const post = (path, body) =>
  request(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  }).then(json);

/**
 * Read server-sent events with `fetch`, because an `EventSource` cannot send a key.
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
 * Send a request relative to the page's address, because a proxy may serve the page under a prefix.
 * @param {string} path
 * @param {RequestInit} options
 * @returns {Promise<Response>}
 */
async function request(path, options = {}) {
  const key = sessionStorage.getItem(KEY);
  const headers = { ...options.headers, ...(key && { authorization: `Bearer ${key}` }) };
  const response = await fetch(`.${path}`, { ...options, headers }).catch((error) => {
    throw error.name === "AbortError" ? error : new ApiError(0, "The server cannot be reached.");
  });
  if (response.status === 401) {
    await replaceKey(key);
    return request(path, options);
  }
  if (!response.ok) throw await errorOf(response);
  return response;
}

/** @param {Response} response */
async function errorOf(response) {
  const body = await response.json().catch(() => null);
  const { message = `The server answered with status ${response.status}.`, code } = body?.error ?? {};
  return new ApiError(response.status, message, code);
}

/**
 * Ask for a new key after the server refused one, unless another request has already replaced it.
 * @param {string | null} wrong
 */
async function replaceKey(wrong) {
  const current = sessionStorage.getItem(KEY);
  if (current && current !== wrong) return;
  sessionStorage.setItem(KEY, await askForKey(wrong !== null));
}
