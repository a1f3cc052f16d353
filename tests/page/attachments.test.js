import "./document.js";

import assert from "node:assert/strict";
import { test } from "node:test";

import { Attachments, MAX_CHARS, MAX_FILES } from "#page/attachments.js";
import { byId } from "#page/dom.js";

let problem = "";
const attachments = new Attachments((told) => { problem = told; });

/**
 * @param {string} name
 * @param {BlobPart} content
 */
const file = (name, content = "text") => new File([content], name);

test("text files are taken, shown by name, and can be removed", async () => {
  await attachments.add([file("a.txt"), file("b.md", "é")]);
  assert.deepEqual(attachments.files, [{ name: "a.txt", text: "text" }, { name: "b.md", text: "é" }]);
  assert.equal(byId("files").textContent, "a.txtb.md");
  byId("files").querySelector("button")?.click();
  assert.deepEqual(attachments.files.map(({ name }) => name), ["b.md"]);
  attachments.clear();
  assert.equal(byId("files").hidden, true);
});

test("a file of the same name takes the place of the first", async () => {
  await attachments.add([file("a", "1"), file("a", "2")]);
  assert.deepEqual(attachments.files, [{ name: "a", text: "2" }]);
  attachments.clear();
});

test("what is no text, or too long, is told and left out", async () => {
  await attachments.add([file("a", "a\0b"), file("b", Uint8Array.of(255, 254)), file("c", "x".repeat(MAX_CHARS + 1))]);
  assert.deepEqual(attachments.files, []);
  assert.equal(problem, "a: not a text file; b: not a text file in UTF-8; c: at most 2,000,000 characters in all");
});

test("there are only so many files", async () => {
  await attachments.add(Array.from({ length: MAX_FILES + 1 }, (_, index) => file(`${index}`)));
  assert.equal(attachments.files.length, MAX_FILES);
  assert.match(problem, /^20: at most 20 files$/);
});

test("what is wrong with many files is told once", async () => {
  attachments.clear();
  await attachments.add(Array.from({ length: MAX_FILES + 10 }, (_, index) => file(`${index}`)));
  assert.equal(problem, "20, 21, 22, 7 more: at most 20 files");
});

test("a file without a text is left out, and says so", async () => {
  attachments.clear();
  await attachments.add([file("a", ""), file("b", " \n")]);
  assert.deepEqual(attachments.files, []);
  assert.equal(problem, "a, b: the file is empty");
});

test("names are shown as they are, whatever stands in them", async () => {
  attachments.clear();
  await attachments.add([file("../<b>x</b>.txt")]);
  assert.equal(byId("files").querySelector("b"), null);
  assert.equal(byId("files").querySelector("span")?.textContent, "../<b>x</b>.txt");
});

/**
 * @param {string} kind
 * @param {string} property
 * @param {File[]} files
 */
function send(kind, property, files) {
  const event = new Event(kind, { bubbles: true, cancelable: true });
  Object.defineProperty(event, property, { value: { files, types: files.length ? ["Files"] : ["text/plain"] } });
  byId("question").dispatchEvent(event);
  return event;
}

const settled = () => new Promise((resolve) => { setTimeout(resolve); });

for (const [kind, property] of [["drop", "dataTransfer"], ["paste", "clipboardData"]]) {
  test(`files are taken that come by ${kind}, and texts are left to the browser`, async () => {
    attachments.clear();
    assert.equal(send(kind, property, []).defaultPrevented, false);
    assert.equal(send(kind, property, [file("a.txt")]).defaultPrevented, true);
    await settled();
    assert.deepEqual(attachments.files.map(({ name }) => name), ["a.txt"]);
  });
}

test("files may be dropped anywhere, which the field shows while they are held above it", () => {
  assert.equal(send("dragover", "dataTransfer", []).defaultPrevented, false);
  assert.equal(send("dragover", "dataTransfer", [file("a")]).defaultPrevented, true);
  assert.ok(byId("composer").classList.contains("takes"));
  send("dragleave", "dataTransfer", [file("a")]);
  assert.equal(byId("composer").classList.contains("takes"), false);
});

test("at an earlier step nothing is attached, and the page stays", async () => {
  attachments.clear();
  byId("composer").hidden = true;
  assert.equal(send("drop", "dataTransfer", [file("a")]).defaultPrevented, true);
  await settled();
  assert.deepEqual(attachments.files, []);
  byId("composer").hidden = false;
});
