// Types of the server's API, for the type checker; the page does not load this file.

/**
 * @typedef {"waiting" | "running" | "answered" | "failed" | "cut off" | "dropped" | "skipped" | "asked again"} Status
 */

/**
 * The state of a call.
 * @typedef {object} Cell
 * @property {string} node
 * @property {number} layer
 * @property {string} agent
 * @property {string} model
 * @property {Status} status
 * @property {string | null} error
 * @property {string | null} [ending_note] why the answer is incomplete
 * @property {boolean} [hedged] whether a slow first request caused a second request
 * @property {boolean} [cached] whether the answer comes from the cache
 * @property {boolean} [reused] whether the answer comes from an earlier run
 * @property {boolean} [edited] whether a person wrote the text
 * @property {string | null} [fallback] the fallback model that answered
 * @property {boolean} [retrying] whether it repeats a failed call
 * @property {boolean} [stopped] whether it was stopped; its status is then `waiting`, its text partial or empty
 * @property {number | null} [attempts] number of requests
 * @property {string | null} [served_model] the model that the provider reported
 * @property {number | null} [began] worked seconds of the run at its start
 * @property {number | null} seconds
 * @property {number | null} read tokens
 * @property {number | null} written tokens; while it runs, an estimate
 * @property {number | null} cost estimated US dollars
 * @property {boolean} critical whether its layer waited for it
 * @property {string} text
 * @property {string[]} [html] the rendered blocks in order, each one element
 */

/**
 * A changed cell, with its `text` or the addition `more`. `html_more` replaces the blocks from
 * `html_from` on.
 * @typedef {Omit<Cell, "text"> & { text?: string, more?: string, html_from?: number, html_more?: string[] }} Change
 */

/**
 * A change of a proposal.
 * @typedef {object} Edit
 * @property {"edit" | "drop" | "again"} action
 * @property {string} [text] the new text, for `edit`
 */

/**
 * An agent of a mixture.
 * @typedef {object} LayoutAgent
 * @property {string} name
 * @property {string} model
 * @property {number} [samples] number of calls
 */

/**
 * A layer of a mixture: the number of calls, and the required number of answers.
 * @typedef {object} LayoutLayer
 * @property {number} asked
 * @property {number} needed
 * @property {LayoutAgent[]} [agents]
 */

/**
 * The shape of a mixture.
 * @typedef {object} Layout
 * @property {string} name
 * @property {LayoutLayer[]} layers
 * @property {string} aggregator
 * @property {boolean} [router] whether a router decides the number of layers of a turn
 * @property {boolean | number | null} [early_stop] whether agreement of the proposals skips layers
 * @property {string[]} [missing_keys] missing environment variables
 */

/**
 * @typedef {object} Message
 * @property {string} role `human` or `ai`
 * @property {string} text
 * @property {string[]} [html] the rendered blocks of an answer
 * @property {string} [question] the question without its attached files
 * @property {string[]} [attachments] names of attached files
 */

/**
 * A checkpoint of a thread.
 * @typedef {object} Step
 * @property {string} id
 * @property {string} label
 * @property {string} when
 * @property {number} turn
 * @property {number | null} layer the layer whose proposals can be changed here
 */

/** @typedef {"answered" | "degraded" | "failed" | "stopped" | "running"} Outcome */

/**
 * A thread in the list.
 * @typedef {object} Thread
 * @property {string} id
 * @property {string} when
 * @property {string} [title] a title from a person, or the first question
 * @property {string} question the last question
 * @property {string} [state] the state of the last turn, in words
 * @property {Outcome} [outcome] the outcome of the last turn
 * @property {string | null} mixture `null` if another program wrote it
 * @property {boolean} finished
 * @property {boolean} running
 * @property {number} [turns]
 */

/**
 * A claim on which proposals differ.
 * @typedef {object} Dispute
 * @property {string} claim
 * @property {string[]} for agents
 * @property {string[]} against agents
 */

/**
 * The agreement of the proposals of the last layer.
 * @typedef {object} Agreement
 * @property {number | null} figure from 0 to 1
 * @property {"vote" | "wording"} [method] the measure
 * @property {Dispute[]} dissent
 * @property {Analysis | null} [analysis] the analysis by a model
 * @property {Record<string, string>} [html] the rendered texts of claims and of the analysis, by text
 */

/**
 * A model's analysis of the proposals. Nodes name the holders of a position.
 * @typedef {object} Analysis
 * @property {string[]} consensus
 * @property {{ issue: string, positions: { stance: string, held_by: string[] }[] }[]} contradictions
 * @property {{ point: string, held_by: string }[]} unique
 * @property {string[]} blind_spots
 */

/**
 * The number of layers of a turn with a router or an early stop.
 * @typedef {object} Depth
 * @property {number} layers number of layers that ran
 * @property {number} of number of layers of the mixture
 * @property {string} why
 * @property {number} skipped number of skipped proposers
 * @property {string} [route] the router's decision
 */

/**
 * The failure of a run without an answer, and its remedy.
 * @typedef {object} Failure
 * @property {string} what
 * @property {string | null} [whose]
 * @property {string | null} [kept]
 * @property {string | null} [remedy]
 * @property {string[]} [asks] the nodes that resuming calls
 * @property {string[]} [aggregators] the models that can replace a failed aggregator
 * @property {number | null} [answers] the answers with which a layer without its quorum can go on
 */

/**
 * Changes of a resumed run.
 * @typedef {object} Resumption
 * @property {string} [aggregator] the model that writes in place of the aggregator
 * @property {boolean} [lower_quorum] whether a layer without its quorum goes on with its answers
 */

/**
 * A thread at one of its steps. If the state is unreadable, the properties of the state are missing.
 * @typedef {object} View
 * @property {string} id
 * @property {string} [title]
 * @property {string | null} mixture
 * @property {boolean} finished
 * @property {boolean} running
 * @property {boolean} newest whether the step is the newest
 * @property {Step[]} steps
 * @property {Step[]} branches the last step of each branch
 * @property {Message[]} messages
 * @property {string | null} [notice] a notice about the messages
 * @property {string} [step]
 * @property {Layout} [layout]
 * @property {Cell[]} [cells]
 * @property {string | null} [error]
 * @property {number} [seconds] worked seconds, without pauses between runs
 * @property {number | null} [cost] estimated US dollars of the whole run
 * @property {Outcome | null} [outcome] the outcome of the turn
 * @property {Agreement | null} [agreement]
 * @property {Depth | null} [depth]
 * @property {string[] | null} [degraded] why the answer is degraded
 * @property {Failure | null} [failure]
 * @property {number | null} [larger_limit] the next limit in tokens for an answer that ended at its limit
 */

/**
 * The changes of a run since the previous event.
 * @typedef {object} RunEvent
 * @property {"running" | "answered" | "failed" | "stopped"} status
 * @property {string | null} error
 * @property {boolean} waiting whether the run waits for other runs
 * @property {number} seconds
 * @property {Change[]} cells
 */

/**
 * A proposal, compared with the answer and with the agent's previous proposal.
 * @typedef {object} Proposal
 * @property {string} text
 * @property {string} html
 * @property {string | null} in_answer the rendered text, with `<mark>` around the wording shared with the answer
 * @property {string[] | null} answer the answer's blocks, with `<mark data-who>`
 * @property {number | null} share share of the answer's words, from 0 to 1
 * @property {string | null} since the changes since the previous layer, as `<ins>` and `<del>`
 */

/** @typedef {{ name: string, text: string }} Attachment */

/**
 * The server's responses, by path.
 * @typedef {{
 *   "/api/mixtures": { mixtures: Layout[] },
 *   "/api/threads": { threads: Thread[] },
 *   "/api/thread": View,
 *   "/api/proposal": Proposal,
 * }} Answers
 */

export {};
