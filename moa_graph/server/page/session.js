// User actions on threads and runs: request the action from the server, then show the result.

import { ApiError, events, get, post } from "./api.js";

/** @import { RunModel } from "./run_model.js" */
/** @import { Attachment, Edit, Proposal, Resumption, RunEvent } from "./types.js" */

const AGAIN = 1000; // milliseconds before a reconnect

/**
 * @typedef {object} Shown
 * @property {(moved: boolean) => void} draw draw a thread, and whether it or its step is new
 * @property {() => void} update draw the changes of a run
 * @property {(error: unknown) => void} complain
 */

export class Session {
  /**
   * @param {RunModel} model
   * @param {Shown} shown
   */
  constructor(model, shown) {
    this.model = model;
    this.shown = shown;
    /** @type {AbortController | null} */
    this.watching = null; // ends the current event stream
    /** @type {Set<"start" | "stop">} */
    this.pending = new Set(); // pending requests to the server
  }

  /**
   * Run an action on the server; ignore further clicks until it completes.
   * @param {"start" | "stop"} what
   * @param {() => Promise<void>} action
   */
  async once(what, action) {
    if (this.pending.has(what)) return;
    this.pending.add(what);
    try {
      await action();
    } finally {
      this.pending.delete(what);
    }
  }

  /**
   * Show a thread at a step, by default the newest, and follow its active run.
   * @param {string} id
   * @param {string | null} [checkpoint]
   * @param {boolean} [moved] whether the thread or the step is new
   */
  async open(id, checkpoint = null, moved = true) {
    this.watching?.abort();
    this.watching = new AbortController();
    await this.show(id, checkpoint, moved);
  }

  /**
   * @param {string} id
   * @param {string | null} [checkpoint]
   * @param {boolean} [moved]
   */
  async show(id, checkpoint = null, moved = false) {
    const aborted = this.watching?.signal ?? AbortSignal.abort();
    const view = await get("/api/thread", { id, checkpoint });
    if (aborted.aborted) return;
    this.model.load({ ...view, id }, Boolean(checkpoint));
    location.hash = encodeURIComponent(id);
    this.shown.draw(moved);
    if (this.model.running) this.watch(id, aborted);
  }

  /**
   * Reload the thread at a step, by default the newest.
   * @param {string | null} [checkpoint]
   * @param {boolean} [moved]
   */
  async reopen(checkpoint = null, moved = true) {
    if (this.model.thread) await this.open(this.model.thread, checkpoint, moved);
  }

  /** Show no thread. */
  leave() {
    this.watching?.abort();
    this.model.clear();
    this.shown.draw(true);
  }

  /**
   * Apply the events of a run until it ends, then reload the thread without scrolling.
   * @param {string} id
   * @param {AbortSignal} aborted
   */
  async watch(id, aborted) {
    try {
      for await (const event of events("/api/events", { id }, aborted)) this.take(event);
      if (!aborted.aborted) await this.show(id);
    } catch (error) {
      if (aborted.aborted) return;
      if (error instanceof ApiError && error.status === 404) return;
      this.model.isLost = true;
      this.shown.update();
      setTimeout(() => aborted.aborted || this.watch(id, aborted), AGAIN);
    }
  }

  /** @param {RunEvent} event */
  take(event) {
    this.model.apply(event);
    this.shown.update();
  }

  /**
   * Ask a question. If another client has started a run, show that run and keep the question.
   * @param {string} question
   * @param {string | null} mixture
   * @param {Attachment[]} attachments
   */
  ask(question, mixture, attachments) {
    const files = attachments.length ? { attachments } : {};
    return this.once("start", async () => {
      try {
        const { thread } = await post("/api/ask", { question, thread: this.model.thread, mixture, ...files });
        await this.open(thread);
      } catch (error) {
        if (error instanceof ApiError && error.code === "running") await this.reopen();
        throw error;
      }
    });
  }

  /** Stop the run; ignore a run that has just ended. */
  stop() {
    return this.once("stop", async () => {
      if (this.model.running) await post("/api/stop", { thread: this.model.thread }).catch(unless("not_running"));
    });
  }

  /**
   * Resume the run, or show it if another client has resumed it.
   * @param {Resumption} [how]
   */
  resume(how = {}) {
    return this.once("start", async () => {
      await post("/api/resume", { thread: this.model.thread, ...how }).catch(unless("running", "answered"));
      await this.reopen();
    });
  }

  /** Continue from the current step with its changes. */
  goOn() {
    const { edits, view } = this.model;
    return this.continueFrom(view?.step, Object.fromEntries(edits));
  }

  /**
   * Call the aggregator again with the gathered proposals.
   * @param {{ max_tokens?: number }} [how] another limit of tokens
   */
  async writeAgain(how = {}) {
    const step = this.model.steps.findLast(({ label }) => label.endsWith("gathered"));
    if (!step) throw new Error("No step of this turn lets the aggregator write again.");
    await this.continueFrom(step.id, {}, how);
  }

  /**
   * @param {string | undefined} checkpoint
   * @param {Record<string, Edit>} edits
   * @param {{ max_tokens?: number }} [how]
   */
  continueFrom(checkpoint, edits, how = {}) {
    return this.once("start", async () => {
      await post("/api/continue", { thread: this.model.thread, checkpoint, edits, ...how });
      await this.reopen();
    });
  }

  /**
   * Show the step at which a proposal can be changed.
   * @param {string} node
   */
  async goTo(node) {
    const cell = this.model.cells.get(node);
    await this.reopen(cell ? this.model.stepOf(cell)?.id : null);
  }

  /**
   * Compare a proposal with the answer.
   * @param {string} node
   * @returns {Promise<Proposal>}
   */
  proposal(node) {
    return get("/api/proposal", { id: this.model.thread, checkpoint: this.model.view?.step ?? null, node });
  }

  /** Load changes that another tab or the command line has made. */
  async catchUp() {
    const before = this.model.view;
    const now = await get("/api/thread", { id: this.model.thread }).catch(() => null);
    if (!now || !before || this.model.view !== before) return; // nothing is new, or the user has changed the thread
    if (now.running || (before.newest && now.step !== before.step)) await this.reopen(null, false);
  }
}

/**
 * Return a handler that rethrows errors, except errors that make the action unnecessary.
 * @param {...string} codes error codes of the server
 * @returns {(error: unknown) => void}
 */
const unless = (...codes) => (error) => {
  if (!(error instanceof ApiError) || !codes.includes(error.code ?? "")) throw error;
};
