// The page: connect its parts. It shows a thread at one of its steps, or its active run.

import { act, complain, messageOf } from "./alert.js";
import { get, keepToken } from "./api.js";
import { Dock } from "./dock.js";
import { byId, h, show } from "./dom.js";
import { ignoreSecondClicks } from "./double_click.js";
import { drawClock, drawHeader } from "./header.js";
import { icon } from "./icons.js";
import { Influence } from "./influence.js";
import { isMenuOpen, openMenu } from "./menu.js";
import { Navigation } from "./navigation.js";
import { openReport } from "./report.js";
import { Picture } from "./picture.js";
import { RunModel } from "./run_model.js";
import { Session } from "./session.js";
import { Side } from "./side.js";
import { Stage } from "./stage.js";
import { Strip } from "./strip.js";
import { ThreadList } from "./thread_list.js";
import { Unsent } from "./unsent.js";
import { Welcome } from "./welcome.js";

/** @import { Kind } from "./side.js" */
/** @import { Edit, Layout, Resumption } from "./types.js" */

const model = new RunModel();
const session = new Session(model, { draw, update, complain: (error) => complain(messageOf(error)) });
/** @type {Layout[]} */
let mixtures = [];

const strip = new Strip(byId("strip"), { select, goTo: step, change: changeQuestion, openPicture });
const picture = new Picture(byId("picture"), (node) => {
  if (matchMedia("(max-width: 46rem)").matches) openPicture(); // in narrow windows, the panel replaces the picture
  select(node);
});
const stage = new Stage({
  resume: (how) => act(() => resume(how)), writeLonger: (limit) => act(() => session.writeAgain({ max_tokens: limit })),
  select, goTo: step, change: changeQuestion, open: (kind) => openSide(kind),
  showInfluence: (shown) => act(() => influence.show(shown)),
});
const influence = new Influence(model, session, stage);
const side = new Side(byId("side"), {
  select, edit, undo, closed,
  goTo: (node) => act(() => session.goTo(node)),
  writeAgain: () => act(() => session.writeAgain()),
  proposal: (node) => session.proposal(node),
  tint: (node, answer) => influence.tint(node, answer),
});
const dock = new Dock({
  ask: (...asked) => act(() => ask(...asked)),
  stop: () => act(() => session.stop()),
  resume: () => act(() => resume()),
  goOn: () => act(goOn),
  back: () => act(back),
});
const navigation = new Navigation(model, session);
const threads = new ThreadList(model, {
  startAnew: () => navigation.startAnew(), deleted: () => navigation.leaveDeleted(), renamed: () => drawHeader(model),
});
const unsent = new Unsent();
const welcome = new Welcome(byId("welcome"), { propose });

/**
 * Draw a thread.
 * @param {boolean} moved whether the thread or the step differs from the previous one
 */
function draw(moved) {
  const { drafts, edits } = unsent.at(model);
  [model.edits, side.drafts] = [edits, drafts];
  show(byId("picture"), !byId("picture").hidden && Boolean(model.layout));
  strip.draw(model);
  picture.draw(model);
  stage.draw(model);
  side.draw(model);
  dock.draw(model);
  dock.mixtures.draw(mixtures, model.view?.mixture ?? null);
  drawHeader(model);
  complain(model.view && !model.layout ? model.view.error : null);
  drawWelcome();
  if (moved) stage.toTop();
  threads.refresh();
}

function drawWelcome() {
  if (!model.view) welcome.draw(mixtures, dock.mixtures.chosen);
}

/** Draw the changes of a run. */
function update() {
  strip.update();
  picture.draw(model);
  stage.update(model);
  side.draw(model);
  dock.draw(model);
  drawHeader(model);
}

/** @param {string} checkpoint */
function step(checkpoint) {
  return act(() => session.reopen(checkpoint));
}

/**
 * Select a call; a click on the selected call clears the selection.
 * @param {string} node
 */
function select(node) {
  if (model.selected === node && side.isOpen && side.kind === "proposal") {
    side.close();
    return;
  }
  model.selected = node;
  openSide("proposal", node);
}

/**
 * @param {Kind} kind
 * @param {string} [node]
 */
function openSide(kind, node) {
  side.draw(model);
  side.open(kind, node);
  strip.draw(model);
  picture.draw(model);
}

function closed() {
  model.selected = null;
  strip.draw(model);
  picture.draw(model);
}

/**
 * @param {string} node
 * @param {Edit} change
 */
function edit(node, change) {
  model.edits.set(node, change);
  redraw();
  byId("go-on").focus();
}

/** @param {string} node */
function undo(node) {
  model.edits.delete(node);
  redraw();
}

/** Redraw after a change of a proposal. */
function redraw() {
  strip.draw(model);
  update();
}

function openPicture() {
  const opened = byId("picture").hidden === true;
  show(byId("picture"), opened);
  byId("more").setAttribute("aria-expanded", String(opened));
  picture.draw(model);
  if (opened) byId("picture").focus();
  else byId("more").focus();
}

/** Copy the question into the composer, to edit it and ask again. */
function changeQuestion() {
  const message = model.view?.messages.findLast(({ role }) => role === "human");
  propose(message?.question ?? message?.text ?? "");
}

/**
 * @param {string} question
 * @param {string} [mixture]
 */
function propose(question, mixture) {
  if (mixture) dock.mixtures.choose(mixture);
  byId("question").value = question;
  byId("question").focus();
}

/**
 * @param {string} question
 * @param {string | null} mixture
 * @param {import("./types.js").Attachment[]} attachments
 */
async function ask(question, mixture, attachments) {
  await session.ask(question, mixture, attachments);
  dock.clear();
  uncoverStage();
}

/** @param {Resumption} [how] */
async function resume(how) {
  refuseDrafts();
  await session.resume(how);
  uncoverStage();
}

async function goOn() {
  refuseDrafts();
  const sent = unsent.at(model);
  await session.goOn();
  unsent.forget(sent);
  uncoverStage();
}

/** Close the panel and the picture where they cover the stage, on which an answer is to come. */
function uncoverStage() {
  if (!matchMedia("(max-width: 46rem)").matches) return;
  if (side.isOpen) side.close();
  if (byId("picture").hidden) return;
  const focused = document.activeElement;
  openPicture();
  if (focused instanceof HTMLElement && focused.checkVisibility()) focused.focus();
}

/** Discard the changes and show the newest step. */
async function back() {
  if (model.edits.size) unsent.forget(unsent.at(model));
  await session.reopen();
}

/** Refuse an action while a proposal has an unsaved text. */
function refuseDrafts() {
  const drafts = [...side.drafts.keys()];
  if (!drafts.length) return;
  if (!drafts.includes(model.selected ?? "") || !side.isOpen) select(drafts[0]);
  const names = drafts.map((node) => model.cells.get(node)?.agent);
  throw new Error(`${names.join(", ")}: keep or cancel the change first.`);
}

/** Close the part that was opened last; if none is open, stop the run. */
function escape() {
  if (dock.mixtures.isOpen) dock.mixtures.open(false);
  else if (isMenuOpen()) openMenu(false);
  else if (side.isOpen) side.close();
  else if (!byId("picture").hidden) openPicture();
  else act(() => session.stop());
}

function listen() {
  ignoreSecondClicks();
  byId("report").append(icon("page"), h("span", {}, "Report"));
  byId("report").addEventListener("click", () => act(() => openReport(model.thread ?? "", model.view?.step ?? null)));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !document.querySelector("dialog[open]")) escape();
  });
  window.addEventListener("beforeunload", (event) => unsent.some && event.preventDefault());
  byId("mixes").addEventListener("change", drawWelcome);
  const busy = () => model.running || model.edits.size || side.drafts.size || !model.thread;
  window.addEventListener("focus", () => {
    if (busy()) return;
    threads.refresh();
    act(() => session.catchUp());
  });
  setInterval(() => {
    if (!model.running) return;
    strip.tick();
    drawClock(model);
  }, 100);
  setInterval(() => model.running && stage.say(model), 1000); // a silent agent sends no event
}

keepToken();
listen();
await act(async () => {
  ({ mixtures } = await get("/api/mixtures"));
});
await navigation.follow();
