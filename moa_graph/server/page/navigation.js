// The address of the page names the current thread: a reload, a link and "back" find it.

import { act } from "./alert.js";
import { byId } from "./dom.js";
import { openMenu } from "./menu.js";

/** @import { RunModel } from "./run_model.js" */
/** @import { Session } from "./session.js" */

export class Navigation {
  /**
   * @param {RunModel} model
   * @param {Session} session
   */
  constructor(model, session) {
    this.model = model;
    this.session = session;
    window.addEventListener("hashchange", () => this.follow());
  }

  /** Show no thread; "back" shows the current thread again. */
  startAnew() {
    if (this.model.thread) history.pushState(null, "", location.pathname);
    this.leave();
  }

  /** Leave the deleted thread; "back" must not find it. */
  leaveDeleted() {
    history.replaceState(null, "", location.pathname);
    this.leave();
  }

  leave() {
    this.session.leave();
    openMenu(false);
    byId("question").focus();
  }

  /** Show the thread in the address, or none. */
  async follow() {
    const id = threadOf(location.hash);
    if (!id) this.session.leave();
    else if (id !== this.model.thread) await act(() => this.open(id));
    openMenu(false);
  }

  /**
   * Show a thread; if it cannot be loaded, show the page without a thread.
   * @param {string} id
   */
  async open(id) {
    try {
      await this.session.open(id);
    } catch (error) {
      this.session.leave();
      throw error;
    }
  }
}

/**
 * Return the thread in an address.
 * @param {string} hash
 */
export function threadOf(hash) {
  const address = hash.slice(1);
  try {
    return decodeURIComponent(address);
  } catch {
    return address; // the address is not percent-encoded
  }
}
