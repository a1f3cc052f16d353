// Unsent changes of proposals, stored for each step of each thread.

/** @import { RunModel } from "./run_model.js" */
/** @import { Edit } from "./types.js" */

/**
 * @typedef {object} Changes
 * @property {Map<string, Edit>} edits by node
 * @property {Map<string, string>} drafts unsaved texts, by node
 */

export class Unsent {
  constructor() {
    /** @type {Map<string, Changes>} */
    this.all = new Map(); // by thread and step
  }

  /** Whether closing the page would lose changes. */
  get some() {
    return [...this.all.values()].some(isSome);
  }

  /**
   * Return the changes at the current step; the returned object stays stored.
   * @param {RunModel} model
   * @returns {Changes}
   */
  at(model) {
    const place = placeOf(model);
    for (const [other, changes] of this.all) if (!isSome(changes) && other !== place) this.all.delete(other);
    const changes = this.all.get(place) ?? { edits: new Map(), drafts: new Map() };
    this.all.set(place, changes);
    return changes;
  }

  /**
   * Delete the changes at a step.
   * @param {Changes} changes
   */
  forget({ edits, drafts }) {
    edits.clear();
    drafts.clear();
  }
}

/** @param {RunModel} model */
const placeOf = ({ thread, view }) => JSON.stringify([thread, view?.step ?? null]);

/** @param {Changes} changes */
const isSome = ({ edits, drafts }) => edits.size > 0 || drafts.size > 0;
