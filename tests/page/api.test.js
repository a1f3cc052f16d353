import "./document.js";

import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

import { ApiError, events, get, keepToken, post } from "#page/api.js";
import { find } from "#page/dom.js";

/** @type {{ path: string, options: RequestInit }[]} */
let asked = [];
let questions = 0; // for a key

/**
 * Let the server answer so, one request after another.
 * @param {(Response | Error)[]} answers
 */
function answer(...answers) {
  mock.method(globalThis, "fetch", (/** @type {string} */ path, /** @type {RequestInit} */ options) => {
    asked.push({ path, options });
    const next = answers.shift();
    return next instanceof Error ? Promise.reject(next) : Promise.resolve(next);
  });
}

/**
 * Make a response that comes in such pieces.
 * @param {Iterable<Uint8Array>} pieces
 */
const stream = (pieces) => new Response(new ReadableStream({
  start(controller) {
    for (const piece of pieces) controller.enqueue(piece);
    controller.close();
  },
}));

/**
 * Read the events of a stream that comes in such pieces.
 * @param {string[]} pieces
 */
async function read(...pieces) {
  answer(stream(pieces.map((piece) => new TextEncoder().encode(piece))));
  const found = [];
  for await (const event of events("/api/events", { id: "t" }, new AbortController().signal)) found.push(event);
  return found;
}

/**
 * Give a key when the page asks for one.
 * @param {string} key
 * @returns {Promise<string | null>} what it says of the key before
 */
const giveKey = (key) => new Promise((resolve) => {
  mock.method(HTMLDialogElement.prototype, "showModal", () => {
    questions += 1;
    setImmediate(() => {
      resolve(find(document, "#key-error").textContent);
      /** @type {HTMLInputElement} */ (find(document, "#key")).value = key;
      find(document, "#key-dialog").dispatchEvent(new Event("close"));
    });
  });
});

/** @param {{ options: RequestInit }} request */
const keyOf = ({ options }) => new Headers(options.headers).get("authorization");

const refusal = () => new Response("", { status: 401 });

beforeEach(() => {
  [asked, questions] = [[], 0];
  sessionStorage.clear();
});

afterEach(() => mock.restoreAll());

test("parameters that are empty are not sent, and others are escaped", async () => {
  answer(Response.json({}));
  await get("/api/thread", { id: "a&b", checkpoint: null });
  assert.equal(asked[0].path, "./api/thread?id=a%26b");
});

test("a body is sent as JSON", async () => {
  answer(Response.json({ thread: "t" }));
  assert.deepEqual(await post("/api/stop", { thread: "t" }), { thread: "t" });
  assert.equal(asked[0].options.body, '{"thread":"t"}');
  assert.equal(new Headers(asked[0].options.headers).get("content-type"), "application/json");
});

test("an error has the server's message and status", async () => {
  answer(Response.json({ error: { message: "no thread 't'" } }, { status: 404 }));
  await assert.rejects(get("/api/thread"), (error) => {
    assert.ok(error instanceof ApiError);
    assert.deepEqual([error.status, error.message], [404, "no thread 't'"]);
    return true;
  });
});

test("an error that is no JSON has its status", async () => {
  answer(new Response("<html>", { status: 502 }));
  await assert.rejects(get("/api/threads"), /^Error: The server answered with status 502\.$/);
});

test("a server that is not there cannot be reached", async () => {
  answer(new TypeError("Failed to fetch"));
  await assert.rejects(get("/api/threads"), { status: 0, message: "The server cannot be reached." });
});

test("a request that was given up is told from a server that is not there", async () => {
  answer(new DOMException("", "AbortError"));
  await assert.rejects(get("/api/threads"), { name: "AbortError" });
});

test("events come one by one, however the stream is cut", async () => {
  const text = 'data: {"seconds": 1}\r\n\r\n: ping\r\n\r\nevent: a\r\ndata: {"seconds":\r\ndata: 2}\r\n\r\n';
  const expected = [{ seconds: 1 }, { seconds: 2 }];
  assert.deepEqual(await read(text), expected);
  assert.deepEqual(await read(...text), expected);
});

test("an event that was cut off is none", async () => {
  assert.deepEqual(await read('data: {"seconds": 1}\n\ndata: {"sec'), [{ seconds: 1 }]);
});

test("a letter of several bytes may come in pieces", async () => {
  const bytes = new TextEncoder().encode('data: {"error": "é"}\n\n');
  answer(stream([...bytes].map((byte) => Uint8Array.of(byte))));
  const { value } = await events("/api/events", {}, new AbortController().signal).next();
  assert.deepEqual(value, { error: "é" });
});

test("a run that is over has no events", async () => {
  answer(new Response(null, { status: 204 }));
  const { done } = await events("/api/events", {}, new AbortController().signal).next();
  assert.equal(done, true);
});

test("a token in the address is kept for the tab and leaves the address", async () => {
  /** @type {string[]} */
  const addresses = [];
  Object.assign(globalThis, {
    location: { pathname: "/", search: "?a=b&token=t%2Bk", hash: "#thread" },
    history: { replaceState: (/** @type {[null, string, string]} */ ...given) => addresses.push(given[2]) },
  });
  keepToken();
  assert.deepEqual(addresses, ["/?a=b#thread"]);
  answer(Response.json({}));
  await get("/api/threads");
  assert.equal(keyOf(asked[0]), "Bearer t+k");
  Object.assign(globalThis.location, { search: "" });
  keepToken();
  assert.equal(addresses.length, 1);
  assert.equal(sessionStorage.getItem("moa-api-key"), "t+k");
});

test("a key that is asked for is sent, now and from then on", async () => {
  answer(refusal(), Response.json({}), Response.json({}));
  const asking = giveKey(" k ");
  await get("/api/threads");
  assert.equal(await asking, "");
  assert.equal(keyOf(asked[asked.length - 1]), "Bearer k");
  await get("/api/threads");
  assert.equal(keyOf(asked[asked.length - 1]), "Bearer k");
});

test("a key that is wrong is asked for again", async () => {
  sessionStorage.setItem("moa-api-key", "old");
  answer(refusal(), Response.json({}));
  const asking = giveKey("new");
  await get("/api/threads");
  assert.equal(await asking, "That key was refused.");
  assert.equal(keyOf(asked[0]), "Bearer old");
  assert.equal(keyOf(asked[asked.length - 1]), "Bearer new");
});

test("requests that wait for a key ask for it once", async () => {
  answer(refusal(), refusal(), Response.json({}), Response.json({}));
  giveKey("k");
  await Promise.all([get("/api/threads"), get("/api/mixtures")]);
  assert.deepEqual(asked.slice(2).map(keyOf), ["Bearer k", "Bearer k"]);
  assert.equal(questions, 1);
});
