// The welcome text without a thread: the mixture, or how to set up a model.

import { copyButton } from "./copy.js";
import { h } from "./dom.js";
import { icon } from "./icons.js";
import { describe } from "./mixtures.js";

/** @import { Layout } from "./types.js" */

/**
 * @typedef {object} WelcomeActions
 * @property {(question: string, mixture?: string) => void} propose fill in a question for a mixture
 */

const OFFLINE = "offline:";
const QUESTIONS = [
  "Compare two ways of backing up a small office’s files.",
  "What speaks for and against a four-day week?",
  "Explain the law of large numbers to a child of ten.",
];
const ONLY_QUOTES = "It only quotes your text, and calls no model.";
const EXAMPLE = `Who built the bridge, and when?

The bridge over the Alma was built by Ada Lind in 1910. It replaced a ferry, which had crossed the river since
1720. In 1954 the deck was widened for cars. The bridge was closed to lorries in 1988 and restored in 2011.`;

const OLLAMA = "ollama pull llama3.2 && ollama pull qwen2.5 && ollama pull gemma3\nmoa serve --preset ollama";
const MIXTURE = `cat > mixture.toml << END
name = "mine"
layers = [["openai:gpt-6.1-sol", "openai:gpt-6.1-terra"]]
aggregator = "openai:gpt-6.1-terra"
END
moa serve --config mixture.toml`;

/** @param {Layout} mixture */
const modelsOf = (mixture) => [...mixture.layers.flatMap(({ agents = [] }) => agents).map((agent) => agent.model),
  mixture.aggregator];

/** @param {Layout} mixture */
const isOffline = (mixture) => modelsOf(mixture).every((model) => model.startsWith(OFFLINE));

/** @param {Layout} mixture */
const isReady = (mixture) => !isOffline(mixture) && !mixture.missing_keys?.length;

export class Welcome {
  /**
   * @param {HTMLElement} root
   * @param {WelcomeActions} actions
   */
  constructor(root, actions) {
    this.root = root;
    this.actions = actions;
  }

  /**
   * @param {Layout[]} mixtures
   * @param {string | null} [chosen] the chosen mixture
   */
  draw(mixtures, chosen) {
    const ready = mixtures.filter(isReady);
    const mixture = mixtures.find((each) => each.name === chosen) ?? ready[0] ?? mixtures[0];
    this.root.className = "welcome";
    this.root.replaceChildren(h("h2", {}, "Ask several models at once"), h("p", { class: "dim" },
      "Several models write proposals and read the proposals of the others. One model writes the answer. You can "
      + "watch a run, stop it, go back to a step, edit a proposal, and continue from there."),
    ...(ready.length && mixture ? this.ready(mixture) : this.unready(mixtures)));
  }

  /** @param {Layout} mixture */
  ready(mixture) {
    const rows = describe(mixture).flatMap(([name, text]) => [h("dt", {}, name), h("dd", {}, text)]);
    const button = (/** @type {string} */ question) => h("li", {},
      h("button", { type: "button", onclick: () => this.actions.propose(question) }, question));
    const quotes = isOffline(mixture) ? [h("p", {}, ONLY_QUOTES)] : [];
    return [
      h("h3", {}, `Mixture: ${mixture.name}`), h("dl", { class: "panel" }, rows), ...quotes,
      h("h3", {}, "Examples"),
      h("ul", { class: "starters" }, (isOffline(mixture) ? [EXAMPLE] : QUESTIONS).map(button)),
    ];
  }

  /** @param {Layout[]} mixtures */
  unready(mixtures) {
    const offline = mixtures.find(isOffline);
    const missing = [...new Set(mixtures.flatMap((mixture) => mixture.missing_keys ?? []))];
    return [
      h("div", { class: "box warn", role: "note" },
        h("h3", {}, icon("warn"), "No model is set up yet"),
        h("p", {}, ...(offline ? ["Questions go to ", h("strong", {}, offline.name), `. ${ONLY_QUOTES}`]
          : [`Not set: ${missing.join(", ")}.`]))),
      h("h3", {}, "Set one up, then start the server again"),
      h("ol", { class: "ways" }, ways(missing).map((way) => h("li", {}, way)),
        offline ? this.tryOffline(offline) : null),
    ];
  }

  /** @param {Layout} mixture */
  tryOffline(mixture) {
    const propose = () => this.actions.propose(EXAMPLE, mixture.name);
    return h("li", {}, h("strong", {}, "Try the page without a model"),
      h("p", { class: "small" }, "An example with a text shows all functions of the page. It costs nothing."),
      h("div", { class: "row" }, h("button", { type: "button", onclick: propose }, "Fill in an example")));
  }
}

/**
 * Explain how to set up models: with keys, a local server, or a file.
 * @param {string[]} missing missing environment variables
 */
function ways(missing) {
  const keys = missing.length ? missing : ["OPENAI_API_KEY"];
  return [
    [h("strong", {}, "Use a provider: set its key"),
      ...keys.slice(0, 2).map((key) => shell(`export ${key}=…\nmoa serve`, `With ${key}`))],
    [h("strong", {}, "Use models on this machine, with Ollama"),
      shell(OLLAMA, "With Ollama")],
    [h("strong", {}, "Use your own mixture"), shell(MIXTURE, "With a file")],
  ];
}

/**
 * @param {string} text
 * @param {string} label
 */
function shell(text, label) {
  return h("div", { class: "code" },
    h("div", {}, h("span", {}, "shell"), copyButton(() => text)),
    h("pre", { tabindex: 0, role: "region", "aria-label": label }, h("code", {}, text)));
}
