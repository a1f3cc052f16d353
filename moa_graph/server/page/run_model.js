// The model of the shown run, without elements: the thread, its cells, and unsent changes.

/** @import { Cell, Change, Edit, RunEvent, Step, View } from "./types.js" */
/** @typedef {Cell & { at: number }} Received with its time of arrival by this page's clock */
/** @typedef {"here" | "before" | null} Changeable at the current step, at an earlier step, or not */

/**
 * The displayed state of a call: its status, or a more specific state.
 * @typedef {Cell["status"] | Special | "retrying" | "runs again" | "stopped"} CellState
 * @typedef {"edited" | "fallback" | "cached" | "reused" | "hedged"} Special a more specific state of an answered call
 */

export const AGGREGATOR = "aggregator";

export class RunModel {
  constructor() {
    /** @type {string | null} */
    this.thread = null;
    /** @type {View | null} */
    this.view = null; // the server's view of the thread
    /** @type {Map<string, Received>} */
    this.cells = new Map(); // by node
    /** @type {Map<string, Edit>} */
    this.edits = new Map(); // unsent changes of proposals, by node
    /** @type {string | null} */
    this.selected = null; // the selected node
    this.running = false; // until the page has loaded the result
    this.isOver = false; // whether a run has ended and its result is not yet loaded
    this.waits = false; // whether the run is queued
    this.isLost = false; // whether the connection for events is lost
    this.hasHelpers = false; // whether an analyst, votes or windows precede the aggregator
    /** @type {string | null} */
    this.failure = null; // why there is no answer
    this.began = 0; // when the run began, by this page's clock
    this.took = 0; // milliseconds of the run at its last event
    /** @type {string[] | null} */
    this.marked = null; // the answer's blocks with marks, if shown
    /** @type {{ text: string, html?: string[] } | null} */
    this.stale = null; // the answer of the same turn at a later step
  }

  /** Clear the thread. */
  clear() {
    Object.assign(this, new RunModel());
  }

  /**
   * Load a thread at a step, by default the newest.
   * @param {View} view
   * @param {boolean} atStep whether the user chose a step
   * @param {number} [now] by this page's clock
   */
  load(view, atStep, now = performance.now()) {
    const before = this.answerOf(view.id);
    [this.thread, this.view, this.edits] = [view.id, view, new Map()];
    this.running = view.running && !atStep;
    this.isOver = this.waits = this.isLost = false;
    this.failure = this.running ? null : causeOf(view);
    this.began = now;
    this.loadCells(view.cells ?? [], now);
    if (!before || !this.cells.has(this.selected ?? "")) this.selected = null;
    this.marked = null;
    this.stale = before && this.lacks(before.turn) ? before.answer : null;
  }

  /**
   * Return whether the page shows an earlier step of a turn, without its answer.
   * @param {number | undefined} turn
   */
  lacks(turn) {
    return this.isEarlier && !this.hasAnswer && turn === this.step?.turn;
  }

  /**
   * Return the shown answer and its turn, if it belongs to the thread.
   * @param {string} thread
   */
  answerOf(thread) {
    return thread === this.thread ? { turn: this.step?.turn, answer: this.answer } : null;
  }

  /**
   * @param {Cell[]} cells
   * @param {number} now
   */
  loadCells(cells, now) {
    const layers = this.layout?.layers.length ?? 0;
    this.hasHelpers = cells.some((cell) => cell.layer > layers && cell.node !== AGGREGATOR);
    this.cells = new Map(cells.map((cell) => [cell.node, { ...this.placed(cell), at: now }]));
  }

  /** The answer of the current turn; at an earlier step, the newest answer of the turn. */
  get answer() {
    const cell = this.aggregator;
    return cell?.text && !this.isPart ? { text: cell.text, html: cell.html } : this.stale;
  }

  /** Whether the answer is partial, because the aggregator was stopped or failed. */
  get isPart() {
    return this.hasAnswer && !["answered", "running"].includes(this.aggregator?.status ?? "");
  }

  /**
   * Apply an event of a run.
   * @param {RunEvent} event
   * @param {number} [now] by this page's clock
   * @returns {string[]} the changed nodes
   */
  apply(event, now = performance.now()) {
    this.began = now - event.seconds * 1000;
    this.took = event.seconds * 1000;
    this.waits = event.waiting;
    this.isLost = false;
    this.isOver = event.status !== "running";
    if (event.status === "failed") this.failure = event.error;
    for (const change of event.cells) this.cells.set(change.node, this.grown(change, now));
    return event.cells.map((change) => change.node);
  }

  /**
   * @param {Change} change
   * @param {number} now
   * @returns {Received}
   */
  grown({ more, html_from: from, html_more: blocks, ...change }, now) {
    const before = this.cells.get(change.node);
    const text = change.text ?? `${before?.text ?? ""}${more ?? ""}`;
    const kept = change.text === undefined ? before?.html : undefined;
    const html = change.html ?? (blocks ? [...(before?.html ?? []).slice(0, from), ...blocks] : kept);
    return { ...this.placed(change), text, ...(html && { html }), at: now };
  }

  /**
   * Put helpers of the aggregator into the layer after the proposers, and the aggregator into the last.
   * @template {Omit<Cell, "text">} C
   * @param {C} cell
   * @returns {C}
   */
  placed(cell) {
    const layers = this.layout?.layers.length ?? 0;
    if (cell.layer <= layers) return cell;
    return { ...cell, layer: cell.node === AGGREGATOR ? this.last : layers + 1 };
  }

  get layout() {
    return this.view?.layout;
  }

  /** Number of the aggregator's layer; its helpers are in the layer before. */
  get last() {
    return (this.layout?.layers.length ?? 0) + (this.hasHelpers ? 2 : 1);
  }

  get aggregator() {
    return this.cells.get(AGGREGATOR);
  }

  /** Whether there is a complete or growing answer. */
  get hasAnswer() {
    return Boolean(this.aggregator?.text);
  }

  /** @param {number} number */
  layer(number) {
    return [...this.cells.values()].filter((cell) => cell.layer === number);
  }

  get proposers() {
    const layers = this.layout?.layers.length ?? 0;
    return [...this.cells.values()].filter((cell) => cell.layer <= layers);
  }

  /**
   * Return whether a call helps the aggregator: an analysis, a vote or a window.
   * @param {Pick<Cell, "node" | "layer">} cell
   */
  isHelper(cell) {
    return cell.node !== AGGREGATOR && cell.layer > (this.layout?.layers.length ?? cell.layer);
  }

  /** The current step. */
  get step() {
    return this.view?.steps.find((step) => step.id === this.view?.step);
  }

  /** Whether the page shows a step other than the newest. */
  get isEarlier() {
    return !this.running && this.step !== undefined && this.view?.newest === false;
  }

  /** Whether the run can be resumed: it was stopped, or failed. */
  get isUnfinished() {
    return Boolean(this.layout) && !this.running && this.view?.finished === false;
  }

  /** The steps of the current turn. */
  get steps() {
    const turn = this.step?.turn;
    return (this.view?.steps ?? []).filter((step) => step.turn === turn);
  }

  /**
   * Find the step of a stop of the strip: 0 is the question, 1 the first layer, the last is the answer.
   * @param {number} stop
   * @returns {Step | undefined}
   */
  stepAt(stop) {
    const there = this.steps.filter((step) => this.stopOf(step) === stop);
    return there.findLast((step) => step.layer === stop) ?? there.at(-1);
  }

  /**
   * @param {Step} step
   * @returns {number}
   */
  stopOf(step) {
    if (step.label === "Answer") return this.last;
    return step.layer ?? Number(/^Layer (\d+)/.exec(step.label)?.[1] ?? 0);
  }

  /** The stop of the current step, or of an active or ended run. */
  get stop() {
    if (this.step && !this.running && !this.isBroken) return this.stopOf(this.step);
    const over = this.running ? ["waiting", "answered", "failed", "cut off"] : ["waiting"];
    const active = [...this.cells.values()].findLast((cell) => !over.includes(cell.status));
    return active?.layer ?? 0;
  }

  /** Whether the page shows the newest step of a run that ended without an answer. */
  get isBroken() {
    return this.isUnfinished && !this.isEarlier;
  }

  /**
   * Return where a proposal can be changed.
   * @param {Cell} cell
   * @returns {Changeable}
   */
  changeable(cell) {
    if (this.running || cell.layer > (this.layout?.layers.length ?? 0)) return null;
    if (["waiting", "dropped", "skipped"].includes(cell.status)) return null;
    if (this.step?.layer === cell.layer) return "here";
    return this.stepOf(cell) ? "before" : null;
  }

  /**
   * Find the step after a cell's layer, before its proposals are gathered.
   * @param {Cell} cell
   * @returns {Step | undefined}
   */
  stepOf(cell) {
    const now = this.step;
    const steps = now ? this.steps.slice(0, this.steps.indexOf(now) + 1) : [];
    return steps.findLast((step) => step.layer === cell.layer);
  }

  /**
   * Return the displayed state of a cell.
   * @param {Cell} cell
   * @returns {CellState}
   */
  stateOf(cell) {
    const edit = this.edits.get(cell.node);
    if (edit) return EDITED[edit.action];
    if (cell.status === "running") return cell.retrying ? "retrying" : "running";
    if (cell.status === "waiting" && cell.stopped) return cell.text ? "cut off" : "stopped";
    if (cell.status === "waiting") return this.isEarlier ? "runs again" : "waiting";
    if (cell.status !== "answered") return cell.status;
    return SPECIAL.find((name) => cell[name]) ?? (cell.ending_note ? "cut off" : "answered");
  }

  /**
   * Return the seconds of a completed or running cell.
   * @param {Received} cell
   * @param {number} [now] by this page's clock
   */
  elapsed(cell, now = performance.now()) {
    if (cell.status !== "running" || cell.seconds === null) return cell.seconds;
    return cell.seconds + (now - cell.at) / 1000;
  }

  /**
   * Return the seconds of the run.
   * @param {number} [now] by this page's clock
   */
  seconds(now = performance.now()) {
    if (!this.running) return this.view?.seconds ?? 0;
    return (this.isOver ? this.took : now - this.began) / 1000;
  }
}

/** @param {View} view */
const causeOf = ({ error, failure }) => failure?.what ?? error ?? null;

/** @type {Special[]} */
const SPECIAL = ["edited", "fallback", "cached", "reused", "hedged"]; // in order of priority
/** @type {Record<Edit["action"], CellState>} */
const EDITED = { edit: "edited", drop: "dropped", again: "asked again" };
