// Text files attached to a question.

import { byId, count, h, show } from "./dom.js";
import { icon } from "./icons.js";

/** @import { Attachment } from "./types.js" */

export const MAX_FILES = 20; // limit of the server
export const MAX_CHARS = 2_000_000; // limit of the server for all files together

export class Attachments {
  /** @param {(problem: string) => void} complain */
  constructor(complain) {
    this.complain = complain;
    /** @type {Attachment[]} */
    this.files = [];
    byId("attach").append(icon("clip"));
    byId("attach").addEventListener("click", () => byId("file").click());
    byId("file").addEventListener("change", () => {
      this.add([...byId("file").files ?? []]);
      byId("file").value = "";
    });
    byId("question").addEventListener("paste", (event) => this.take(event, event.clipboardData));
    document.addEventListener("dragover", (event) => this.drag(event));
    document.addEventListener("dragleave", () => mark(false));
    document.addEventListener("drop", (event) => {
      mark(false);
      this.take(event, event.dataTransfer);
    });
  }

  /**
   * Accept files dropped anywhere; otherwise the browser would replace the page with the file.
   * @param {DragEvent} event
   */
  drag(event) {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    mark(true);
  }

  /**
   * Attach dropped or pasted files; the browser handles dropped or pasted text.
   * @param {Event} event
   * @param {DataTransfer | null} data
   */
  take(event, data) {
    const files = [...data?.files ?? []];
    if (!files.length) return;
    event.preventDefault();
    if (byId("composer").hidden) return; // at an earlier step, no question can be sent
    this.add(files);
  }

  /**
   * Attach files; report and skip files that are too long or not text.
   * @param {File[]} files
   */
  async add(files) {
    /** @type {Map<string, string[]>} */
    const problems = new Map(); // names of files, by problem
    for (const file of files) {
      const found = await readText(file);
      const problem = typeof found === "string" ? found : this.append(found);
      if (problem) problems.set(problem, [...problems.get(problem) ?? [], file.name]);
    }
    this.draw();
    this.complain([...problems].map(([problem, names]) => `${listNames(names)}: ${problem}`).join("; "));
  }

  /**
   * @param {Attachment} file
   * @returns {string | null} why the file is skipped
   */
  append(file) {
    const files = [...this.files.filter((each) => each.name !== file.name), file];
    if (files.length > MAX_FILES) return `at most ${MAX_FILES} files`;
    const chars = files.reduce((sum, each) => sum + each.text.length, 0);
    if (chars > MAX_CHARS) return TOO_LONG;
    this.files = files;
    return null;
  }

  clear() {
    this.files = [];
    this.draw();
  }

  draw() {
    show(byId("files"), this.files.length > 0);
    byId("files").replaceChildren(...this.files.map((file) => h("li", {},
      h("span", {}, file.name),
      h("button", { type: "button", class: "quiet", "aria-label": `Remove ${file.name}`, onclick: () => {
        this.files = this.files.filter((each) => each !== file);
        this.draw();
        byId("attach").focus();
      } }, icon("bad")))));
  }
}

const TOO_LONG = `at most ${count(MAX_CHARS)} characters in all`;
const NAMED = 3; // maximum number of named files for a problem

/** @param {string[]} names */
function listNames(names) {
  const more = names.length - NAMED;
  return [...names.slice(0, NAMED), ...(more > 0 ? [`${more} more`] : [])].join(", ");
}

/** @param {boolean} on whether files are dragged over the page */
const mark = (on) => byId("composer").classList.toggle("takes", on);

/**
 * @param {File} file
 * @returns {Promise<Attachment | string>} the text, or why it is unreadable
 */
async function readText(file) {
  if (file.size > 4 * MAX_CHARS) return TOO_LONG;
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
    if (!text.trim()) return "the file is empty";
    return text.includes("\0") ? "not a text file" : { name: file.name, text };
  } catch {
    return "not a text file in UTF-8";
  }
}
