// The data of the server's API, as types. No file loads this one; a checker of types reads it.

/** @typedef {"waiting" | "running" | "answered" | "failed" | "cut off" | "dropped"} Status */

/**
 * What one agent is doing, or has done.
 * @typedef {object} Cell
 * @property {string} node
 * @property {number} layer
 * @property {string} agent
 * @property {string} model
 * @property {Status} status
 * @property {string | null} error
 * @property {string | null} [ending_note] What is to be told of an answer that is not whole.
 * @property {boolean} [hedged] whether a second request was sent, because nothing had come in time
 * @property {number | null} seconds
 * @property {number | null} read tokens
 * @property {number | null} written tokens; while it runs, an estimate
 * @property {number | null} cost US dollars, estimated
 * @property {boolean} critical whether its layer waited for it
 * @property {string} text
 */

/**
 * A cell that has changed: with its text, or with what its text grew by.
 * @typedef {Omit<Cell, "text"> & { text?: string, more?: string }} Change
 */

/**
 * What becomes of a proposal.
 * @typedef {object} Edit
 * @property {"edit" | "drop" | "again"} action
 * @property {string} [text] the new text, for `edit`
 */

/**
 * The shape of a mixture. Of each layer: how many agents are asked, and how many must answer.
 * @typedef {object} Layout
 * @property {string} name
 * @property {{ asked: number, needed: number }[]} layers
 * @property {string} aggregator
 */

/** @typedef {{ role: string, text: string }} Message */

/**
 * A checkpoint of a thread.
 * @typedef {object} Step
 * @property {string} id
 * @property {string} label
 * @property {string} when
 * @property {number} turn
 * @property {number | null} layer the layer whose proposals can be changed here
 */

/**
 * A thread in the list.
 * @typedef {object} Thread
 * @property {string} id
 * @property {string} when
 * @property {string} [title] the first question
 * @property {string} question the last question
 * @property {string} [state] how the last question fared, in words
 * @property {string | null} mixture `null` if another program wrote it
 * @property {boolean} finished
 * @property {boolean} running
 */

/**
 * A thread at one of its steps. Without a state to show, what tells of the state is missing.
 * @typedef {object} View
 * @property {string} id
 * @property {string | null} mixture
 * @property {boolean} finished
 * @property {boolean} running
 * @property {boolean} newest whether the step is the newest
 * @property {Step[]} steps
 * @property {Step[]} branches the last step of each
 * @property {Message[]} messages
 * @property {string | null} [notice] what is to be known of the messages
 * @property {string} [step]
 * @property {Layout} [layout]
 * @property {Cell[]} [cells]
 * @property {string | null} [error]
 * @property {number} [seconds]
 */

/**
 * What has changed in a run since the event before.
 * @typedef {object} RunEvent
 * @property {"running" | "answered" | "failed" | "stopped"} status
 * @property {string | null} error
 * @property {number} seconds
 * @property {Change[]} cells
 */

/**
 * What the server answers, by path.
 * @typedef {{
 *   "/api/mixtures": { mixtures: Layout[] },
 *   "/api/threads": { threads: Thread[] },
 *   "/api/thread": View,
 * }} Answers
 */

export {};
