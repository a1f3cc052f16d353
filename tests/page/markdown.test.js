import "./document.js";

import assert from "node:assert/strict";
import { test } from "node:test";

import { render } from "#page/markdown.js";

/** @param {string} text */
function show(text) {
  const element = document.createElement("div");
  render(element, text);
  return element;
}

/** @param {string} text */
const html = (text) => show(text).innerHTML;

/** @type {Record<string, [text: string, html: string]>} */
const LAID_OUT = {
  "a heading is below those of the page": ["# a", "<h3>a</h3>"],
  "the deepest heading is the sixth": ["###### a", "<h6>a</h6>"],
  "seven signs make no heading": ["####### a", "<p>####### a</p>"],
  "lines of a paragraph stay lines": ["a\nb", "<p>a<br>b</p>"],
  "an empty line ends a paragraph": ["a\n\nb", "<p>a</p><p>b</p>"],
  "carriage returns are no text": ["a\r\nb", "<p>a<br>b</p>"],
  "a rule is no list": ["a\n\n---\nb", "<p>a</p><hr><p>b</p>"],
  "an item may have any of three signs": ["- a\n* b\n+ c", "<ul><li>a</li><li>b</li><li>c</li></ul>"],
  "a list begins at its first number": ["3. a\n4. b", '<ol start="3"><li>a</li><li>b</li></ol>'],
  "numbers after signs make another list": ["- a\n1. b", '<ul><li>a</li></ul><ol start="1"><li>b</li></ol>'],
  "what is indented belongs to its item": ["- a\n  - b\n- c", "<ul><li>a<ul><li>b</li></ul></li><li>c</li></ul>"],
  "an item may go on after an empty line": ["- a\n\n  b", "<ul><li>a<p>b</p></li></ul>"],
  "an empty line between items ends no list": ["- a\n\n- b", "<ul><li>a</li><li>b</li></ul>"],
  "a quote holds blocks": ["> # a\n> b", "<blockquote><h3>a</h3><p>b</p></blockquote>"],
  "nothing is emphasized in a block of code": ["```js\n*a*\n```", '<pre tabindex="0"><code>*a*</code></pre>'],
  "a block of code ends at its fence": ["~~~\n```\n~~~\na", '<pre tabindex="0"><code>```</code></pre><p>a</p>'],
  "a block of code may be empty": ["```\n```\na", '<pre tabindex="0"><code></code></pre><p>a</p>'],
  "a block of code that is not over has come so far": ["~~~\na\n", '<pre tabindex="0"><code>a\n</code></pre>'],
  "emphasis": ["**a** *b* _c_", "<p><strong>a</strong> <em>b</em> <em>c</em></p>"],
  "emphasis in emphasis": ["**a _b_**", "<p><strong>a <em>b</em></strong></p>"],
  "stars around spaces are text": ["2 * 3 * 4", "<p>2 * 3 * 4</p>"],
  "low lines in names are text": ["a_b_c", "<p>a_b_c</p>"],
  "nothing is emphasized in code": ["`*a*`", "<p><code>*a*</code></p>"],
  "a sign without a partner is text": ["**a", "<p>**a</p>"],
  "markup is text": ["<b>a</b>", "<p>&lt;b&gt;a&lt;/b&gt;</p>"],
  "dashes without bars make no table": ["a\n-", "<p>a<br>-</p>"],
  "a row of fewer dashes makes no table": ["a|b\n-", "<p>a|b<br>-</p>"],
};

for (const [claim, [text, expected]] of Object.entries(LAID_OUT)) {
  test(claim, () => assert.equal(html(text), expected));
}

test("a table has a head and rows, and a bar behind a backslash is text", () => {
  const table = show("| a | b |\n|---|:-:|\n| 1 | x\\|y |\n| 2 | *z* |\nafter");
  const cells = [...table.querySelectorAll("th, td")].map((each) => each.textContent);
  assert.deepEqual(cells, ["a", "b", "1", "x|y", "2", "z"]);
  assert.equal(table.querySelectorAll("thead th").length, 2);
  assert.equal(table.querySelector("p")?.textContent, "after");
});

test("a link leads to the web, in a window that knows nothing of this one", () => {
  const link = show("[a](https://example.com/b)").querySelector("a");
  assert.equal(link?.getAttribute("href"), "https://example.com/b");
  assert.equal(link?.getAttribute("rel"), "noopener noreferrer");
  assert.equal(link?.getAttribute("target"), "_blank");
});

for (const address of ["javascript:alert`1`", "data:text/html,a", "file:///etc/passwd", "/api/threads", "b"]) {
  test(`a link to ${address} stays text`, () => {
    const shown = show(`[a](${address})`);
    assert.equal(shown.querySelector("a"), null);
    assert.equal(shown.textContent, `[a](${address})`);
  });
}

test("an image is not loaded: it is a link", () => {
  const shown = show("![a](https://example.com/b.png)");
  assert.equal(shown.querySelector("img"), null);
  assert.equal(shown.querySelector("a")?.textContent, "a");
});

test("quotes in quotes are laid out to a depth, and text from there on", () => {
  const shown = show(`${">".repeat(20)} a`);
  assert.equal(shown.querySelectorAll("blockquote").length, 8);
  assert.ok(shown.textContent?.includes(`${">".repeat(12)} a`));
});

test("lists in lists are laid out to a depth, and text from there on", () => {
  const lines = Array.from({ length: 20 }, (_, depth) => `${"  ".repeat(depth)}- a`);
  assert.equal(show(lines.join("\n")).querySelectorAll("ul").length, 8);
});

test("a text that is too long to lay out is shown as it is", () => {
  const text = "# a\n".repeat(50_000);
  assert.equal(show(text).querySelectorAll("h3").length, 50_000);
  const longer = show(`${text}b`);
  assert.equal(longer.children.length, 1);
  assert.equal(longer.querySelector("pre")?.textContent, `${text}b`);
});

test("a new text takes the place of the one before", () => {
  const element = show("a");
  render(element, "b");
  assert.equal(element.textContent, "b");
});
