// The list of threads from the server, and actions on a thread.

import { act, complain, messageOf } from "./alert.js";
import { get, post } from "./api.js";
import { byId } from "./dom.js";
import { openReport } from "./report.js";
import { Threads } from "./threads.js";

/** @import { RunModel } from "./run_model.js" */

/**
 * @typedef {object} Changed
 * @property {() => void} startAnew show no thread
 * @property {() => void} deleted called after the current thread was deleted
 * @property {() => void} renamed called after the current thread was renamed
 */

export class ThreadList {
  /**
   * @param {RunModel} model
   * @param {Changed} changed
   */
  constructor(model, changed) {
    this.model = model;
    this.changed = changed;
    this.refreshes = 0; // number of requested lists; only the newest is drawn
    this.threads = new Threads(byId("threads"), {
      start: changed.startAnew,
      search: () => this.refresh(),
      rename: (thread, title) => this.rename(thread, title),
      remove: (thread) => this.remove(thread),
      report: (thread) => act(() => openReport(thread, null)),
    });
  }

  /**
   * @param {string} thread
   * @param {string} title
   */
  async rename(thread, title) {
    await post("/api/rename", { thread, title });
    const { model } = this;
    if (model.view && thread === model.thread) model.view.title = title;
    this.changed.renamed();
    this.refresh();
  }

  /** @param {string} thread */
  async remove(thread) {
    await post("/api/delete", { thread });
    if (thread === this.model.thread) this.changed.deleted();
    else this.refresh();
  }

  /** Load and draw the threads. */
  async refresh() {
    this.refreshes += 1;
    const own = this.refreshes;
    const { query } = this.threads;
    try {
      const { threads: listed } = await get("/api/threads", query ? { search: query } : {});
      if (own === this.refreshes) this.threads.draw(listed, this.model.thread);
    } catch (error) {
      complain(messageOf(error));
    }
  }
}
