// The page: one thread at one of its steps, or the run that goes on in it.

import { ApiError, events, get, keepToken, post } from "./api.js";
import { drawConversation } from "./conversation.js";
import { Detail } from "./detail.js";
import { byId, h, seconds, show } from "./dom.js";
import { render } from "./markdown.js";
import { Picture } from "./picture.js";
import { answerTitle, changes, outcome, progress, totals } from "./summary.js";
import { drawThreads, openMenu, threadOf } from "./threads.js";
import { Timeline } from "./timeline.js";

/** @import { Changeable } from "./detail.js" */
/** @import { Cell, Edit, Layout, RunEvent, Step, View } from "./types.js" */

const AGGREGATOR = "aggregator";
const AGAIN = 1000; // milliseconds until a lost connection is tried again

const picture = new Picture(byId("board"), select);
const timeline = new Timeline((step) => act(() => reopen(step)));
const detail = new Detail(byId("detail"), { edit, undo, goTo });

/** @type {string | null} */
let thread = null; // the id of the thread that is shown
/** @type {View | null} */
let view = null; // what the server says of it
let running = false;
/** @type {string | null} */
let selected = null; // the node whose text is shown
/** @type {Map<string, Edit>} */
let edits = new Map(); // changes of proposals that are not sent yet
/** @type {AbortController | null} */
let watching = null; // ends the stream that is being read
/** @type {string | null} */
let failure = null; // why the run that is shown has no answer
let began = 0; // when the run that is watched began, by this page's clock

/**
 * Show a thread at a step, by default the newest, and the run that goes on there.
 * @param {string} id
 * @param {string | null} checkpoint
 */
async function open(id, checkpoint = null) {
  watching?.abort();
  watching = new AbortController();
  const aborted = watching.signal;
  const shown = await get("/api/thread", { id, checkpoint });
  if (aborted.aborted) return;
  if (id !== thread) selected = null;
  [thread, view, running, edits] = [id, shown, shown.running && !checkpoint, new Map()];
  failure = running ? null : shown.error ?? null;
  detail.drafts.clear();
  began = performance.now();
  location.hash = encodeURIComponent(id);
  draw(shown);
  refreshThreads();
  if (running) watch(id, aborted);
}

/**
 * Show the thread again, at a step, by default the newest.
 * @param {string | null} checkpoint
 */
async function reopen(checkpoint = null) {
  if (thread) await open(thread, checkpoint);
}

/**
 * Read what a run does until it is over.
 * @param {string} id
 * @param {AbortSignal} aborted
 */
async function watch(id, aborted) {
  try {
    for await (const event of events("/api/events", { id }, aborted)) {
      began = performance.now() - event.seconds * 1000;
      if (event.status !== "running") ended(event);
      picture.update(event.cells);
      drawRun();
    }
    if (!aborted.aborted) await open(id);
  } catch (error) {
    if (aborted.aborted) return;
    if (error instanceof ApiError && error.status === 404) return;
    setTimeout(() => aborted.aborted || act(() => open(id)), AGAIN);
  }
}

/** @param {RunEvent} event */
function ended({ status, error }) {
  running = false;
  failure = status === "failed" ? error : null;
}

/** @param {View} shown */
function draw(shown) {
  const { cells, layout } = shown;
  show(byId("welcome"), false);
  show(byId("board"), Boolean(layout));
  show(byId("texts"), Boolean(layout));
  complain(layout ? null : shown.error);
  drawConversation(shown.messages, shown.notice);
  if (layout && cells) picture.show(layout, cells);
  timeline.draw(shown, running);
  drawMixtures();
  if (layout) drawRun();
  else clearRun();
}

/** Leave nothing of a run that was shown. */
function clearRun() {
  show(byId("resume"), false);
  byId("totals").textContent = "";
  drawComposer();
  say("");
}

/** Draw what changes while a run goes on. */
function drawRun() {
  if (!view) return;
  if (selected && !picture.cells.has(selected)) selected = null;
  picture.select(selected);
  picture.mark(edits);
  drawAnswer(picture.cells.get(AGGREGATOR));
  drawDetail();
  drawControls(view);
  drawTotals();
  say(running ? progress(picture) : outcome(picture, view, current()));
}

/** @param {Cell | undefined} cell */
function drawAnswer(cell) {
  const text = byId("answer-text");
  const cause = failure ?? cell?.error ?? null;
  [byId("answer").dataset.outcome, byId("answer-title").textContent] = answerTitle(picture, running, cause);
  text.setAttribute("aria-busy", String(running));
  if (running && cell?.text && !text.querySelector("p:not(.meta)")) {
    byId("answer").scrollIntoView({ block: "nearest" }); // it begins to come
  }
  if (cell?.text) {
    render(text, cell.text);
    if (cell.ending_note) text.append(h("p", { class: "error" }, `The answer is ${cell.ending_note}.`));
  } else text.replaceChildren(h("p", { class: "meta" }, cause ?? "The aggregator has not written yet."));
}

function drawDetail() {
  const cell = picture.cells.get(selected ?? "");
  detail.draw(cell, cell ? changeable(cell) : null, edits.get(selected ?? ""));
}

/**
 * Tell where a proposal can be changed.
 * @param {Cell} cell
 * @returns {Changeable}
 */
function changeable(cell) {
  if (running || cell.node === AGGREGATOR || ["waiting", "dropped"].includes(cell.status)) return null;
  if (current()?.layer === cell.layer) return "here";
  return stepOf(cell) ? "before" : null;
}

const current = () => view?.steps.find((step) => step.id === view?.step);

/**
 * Find the step at which the proposals of a cell's layer were in, and not yet gathered.
 * @param {Cell} cell
 * @returns {Step | undefined}
 */
function stepOf(cell) {
  const now = current();
  if (!view || !now) return undefined;
  const steps = view.steps.slice(0, view.steps.indexOf(now) + 1);
  return steps.findLast((step) => step.layer === cell.layer && step.turn === now.turn);
}

/** @param {View} shown */
function drawControls({ finished, layout, newest }) {
  const step = current();
  const unfinished = Boolean(layout) && !running && !finished;
  const elsewhere = !running && step && !newest;
  const answer = step?.label === "Answer";
  drawComposer();
  show(byId("resume"), unfinished && !edits.size && (newest || !step));
  show(byId("continue"), edits.size > 0 || Boolean(elsewhere));
  show(byId("go-on"), !answer);
  byId("changes").textContent = answer ? "An earlier answer." : changes(picture, edits);
}

function drawComposer() {
  show(byId("stop"), running);
  show(byId("ask"), !running);
  byId("question").placeholder = running ? "Running; Esc stops it" : "Ask a question";
  if (!running) byId("note").textContent = "";
}

function drawTotals() {
  byId("totals").replaceChildren(h("span", { id: "clock" }), " · ", totals(picture, running));
  drawClock();
}

function drawClock() {
  const clock = document.getElementById("clock");
  const passed = running ? (performance.now() - began) / 1000 : view?.seconds;
  if (clock) clock.textContent = seconds(passed ?? 0);
}

/** @param {string} text */
function say(text) {
  if (byId("status").textContent !== text) byId("status").textContent = text;
}

/** @param {string | null} [text] */
function complain(text) {
  byId("alert").textContent = text ?? "";
  show(byId("alert"), Boolean(text));
}

/** @param {string} node */
function select(node) {
  selected = selected === node ? null : node;
  drawRun();
  if (selected) byId("detail").scrollIntoView({ block: "nearest" });
}

/**
 * @param {string} node
 * @param {Edit} change
 */
function edit(node, change) {
  edits.set(node, change);
  drawRun();
  byId("go-on").focus();
}

/** @param {string} node */
function undo(node) {
  edits.delete(node);
  drawRun();
}

/** @param {Cell} cell */
function goTo(cell) {
  act(async () => {
    await reopen(stepOf(cell)?.id);
    byId("detail").focus();
  });
}

/**
 * Do what a person asked for, and say what went wrong.
 * @param {() => void | Promise<void>} action
 */
async function act(action) {
  try {
    complain(null);
    await action();
  } catch (error) {
    complain(messageOf(error));
  }
}

/** @param {unknown} error */
const messageOf = (error) => (error instanceof Error ? error.message : String(error));

async function ask() {
  const question = byId("question").value.trim();
  if (running) byId("note").textContent = "Running; Esc stops it. Then you can ask this.";
  if (!question || running) return;
  const answer = await post("/api/ask", { question, thread, mixture: byId("mixture").value || null });
  byId("question").value = "";
  await open(answer.thread);
}

async function stop() {
  if (running) await post("/api/stop", { thread });
}

async function resume() {
  refuseDrafts();
  await post("/api/resume", { thread });
  await reopen();
}

async function goOn() {
  refuseDrafts();
  await post("/api/continue", { thread, checkpoint: view?.step, edits: Object.fromEntries(edits) });
  await reopen();
}

/** Let nothing go on as if a text that is being written did not count. */
function refuseDrafts() {
  const names = [...detail.drafts.keys()].map((node) => picture.cells.get(node)?.agent);
  if (names.length) throw new Error(`${names.join(", ")}: save or cancel the change first.`);
}

function startAnew() {
  watching?.abort();
  [thread, view, running, selected, edits] = [null, null, false, null, new Map()];
  history.replaceState(null, "", location.pathname);
  for (const id of ["board", "texts", "history", "conversation"]) show(byId(id), false);
  show(byId("welcome"), true);
  detail.drafts.clear();
  clearRun();
  complain(null);
  drawMixtures();
  refreshThreads();
  byId("question").focus();
}

/** @type {Layout[]} */
let mixtures = [];

function drawMixtures() {
  const before = view?.mixture ? [h("option", { value: "" }, `${view.mixture} (as before)`)] : [];
  const others = mixtures.map(({ name }) => h("option", { value: name }, name));
  byId("mixture").replaceChildren(...before, ...others);
}

function refreshThreads() {
  drawThreads(thread).catch((error) => complain(messageOf(error)));
}

/** Follow the address: the thread that it names, or none. */
async function follow() {
  const id = threadOf(location.hash);
  if (!id) startAnew();
  else if (id !== thread) await act(() => open(id));
  openMenu(false);
}

function listen() {
  byId("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    act(ask);
  });
  byId("question").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    act(ask);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !document.querySelector("dialog[open]")) act(stop);
  });
  const clicks = { stop, resume, "go-on": goOn, discard: () => reopen(), new: startAnew };
  for (const [id, action] of Object.entries(clicks)) {
    byId(id).addEventListener("click", () => act(action));
  }
  window.addEventListener("hashchange", follow);
  const busy = () => running || edits.size || detail.drafts.size || byId("edit") || !thread;
  window.addEventListener("focus", () => busy() || catchUp());
  setInterval(() => running && drawClock(), 100);
  setInterval(() => running && say(progress(picture)), 1000); // silence is no event
}

/** See what another tab or the command line has done meanwhile. */
async function catchUp() {
  refreshThreads();
  const before = view;
  const now = await get("/api/thread", { id: thread }).catch(() => null);
  if (!now || !view || view !== before) return; // nothing to catch up with, or another thread by now
  if (now.running || (view.newest && now.step !== view.step)) act(() => reopen());
}

keepToken();
listen();
await act(async () => {
  ({ mixtures } = await get("/api/mixtures"));
  drawMixtures();
});
await follow();
