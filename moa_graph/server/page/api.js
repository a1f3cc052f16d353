// The server's API. A key, where one is asked for, lives as long as the browser's tab.

import { byId } from "./dom.js";

const KEY = "moa-api-key";

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export const get = (path, parameters = {}) => request(withParameters(path, parameters)).then(json);

export const post = (path, body) =>
  request(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  }).then(json);

/** Read server-sent events; `fetch`, for an `EventSource` cannot show a key. */
export async function* events(path, parameters, signal) {
  const response = await request(withParameters(path, parameters), { signal });
  if (response.status === 204) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let unread = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (unread + value).replaceAll("\r", "").split("\n\n");
    unread = blocks.pop();
    for (const block of blocks) {
      const data = block.split("\n").filter((line) => line.startsWith("data:"));
      if (data.length) yield JSON.parse(data.map((line) => line.slice(5)).join("\n"));
    }
  }
}

const json = (response) => response.json();

function withParameters(path, parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value);
  return given.length ? `${path}?${new URLSearchParams(given)}` : path;
}

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

async function explain(response) {
  const body = await response.json().catch(() => null);
  return body?.error?.message ?? `The server answered with status ${response.status}.`;
}

let asking = null;

/** Ask for the key, once for all requests that wait for it. */
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
