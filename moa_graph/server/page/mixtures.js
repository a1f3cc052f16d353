// The menu of mixtures, with their models.

import { byId, h, show } from "./dom.js";
import { icon } from "./icons.js";

/** @import { Layout, LayoutLayer } from "./types.js" */

export class Mixtures {
  constructor() {
    /** @type {Layout[]} */
    this.all = [];
    /** @type {string | null} */
    this.before = null; // the mixture of the thread
    this.name = h("span");
    byId("mix").append(this.name, icon("down"));
    byId("mix").addEventListener("click", () => this.open(!this.isOpen));
    byId("mixes").addEventListener("change", () => this.tell());
    byId("mixes").addEventListener("click", (event) => {
      if (event instanceof MouseEvent && event.detail > 0 && isOption(event.target)) this.open(false);
    });
    byId("mixes").addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      this.open(false);
    });
    document.addEventListener("click", (event) => {
      const inside = event.target instanceof Element && event.target.closest("#mixes, #mix");
      if (!inside) show(byId("mixes"), false);
    });
  }

  /**
   * Draw the mixtures of the server.
   * @param {Layout[]} all
   * @param {string | null} before the default: the mixture of the thread
   */
  draw(all, before) {
    const kept = before === this.before ? this.chosen : null; // the user's choice for this thread
    [this.all, this.before] = [all, before];
    const options = all.map((mixture) => option(mixture.name, mixture.name, mixture));
    if (before) options.unshift(option("", `${before} (as before)`, all.find(({ name }) => name === before)));
    byId("mixes").replaceChildren(h("legend", {}, "Mixture"), ...options);
    this.choose(kept ?? (before ? "" : all.find((each) => !each.missing_keys?.length)?.name ?? ""));
  }

  /** Name of the chosen mixture; `null` for the mixture of the thread, or the server's first. */
  get chosen() {
    const input = /** @type {HTMLInputElement | null} */ (byId("mixes").querySelector("input:checked"));
    return input?.value || null;
  }

  /**
   * Choose a mixture by its name.
   * @param {string} name
   */
  choose(name) {
    const inputs = /** @type {NodeListOf<HTMLInputElement>} */ (byId("mixes").querySelectorAll("input"));
    for (const input of inputs) input.checked = input.value === name;
    this.tell();
  }

  tell() {
    const name = this.chosen ?? this.before;
    const mixture = this.all.find((each) => each.name === name);
    const [shape, ...words] = mixture ? briefShape(mixture) : [];
    this.name.replaceChildren(h("b", {}, name ?? "no mixture"), shape ? `, ${shape}` : "",
      h("span", { class: "words" }, words.map((word) => `, ${word}`)));
    byId("mix").title = mixture ? `${name}: ${[shapeOf(mixture), ...wordsOf(mixture)].join(", ")}` : "";
  }

  get isOpen() {
    return !byId("mixes").hidden;
  }

  /** @param {boolean} opened */
  open(opened) {
    show(byId("mixes"), opened);
    byId("mix").setAttribute("aria-expanded", String(opened));
    /** @type {HTMLElement | null} */
    const input = byId("mixes").querySelector("input:checked");
    if (opened) input?.focus();
    else byId("mix").focus();
  }
}

/** @param {EventTarget | null} target */
const isOption = (target) => target instanceof Element && target.closest(".opt") !== null;

/**
 * @param {string} value
 * @param {string} title
 * @param {Layout | undefined} mixture
 */
function option(value, title, mixture) {
  const rows = mixture ? describe(mixture) : [];
  const missing = mixture?.missing_keys ?? [];
  const lacks = missing.length ? h("span", { class: "warn" }, ` needs ${missing.join(", ")}`) : null;
  return h("label", { class: "opt" },
    h("input", { type: "radio", name: "mixture", value, disabled: missing.length > 0 }),
    h("span", {}, h("strong", {}, title), " ", h("span", { class: "dim" }, mixture ? shapeOf(mixture) : ""), lacks),
    rows.length ? h("dl", {}, rows.map(([name, text]) => [h("dt", { class: "dim" }, name), h("dd", {}, text)])) : null);
}

/**
 * Return the shape of a mixture, `2 × 6` or `6+3`, and the names of options that may skip layers.
 * @param {Layout} mixture
 */
export function briefShape(mixture) {
  const widths = mixture.layers.map((layer) => layer.asked);
  const alike = new Set(widths).size === 1;
  return [alike ? `${widths.length} × ${widths[0]}` : widths.join("+"), ...wordsOf(mixture)];
}

/** @param {Layout} mixture */
const wordsOf = ({ early_stop: early, router }) => [...(router ? ["router"] : []), ...(early ? ["early stop"] : [])];

/**
 * Describe the shape of a mixture: `2 layers × 6`.
 * @param {Layout} mixture
 */
export function shapeOf({ layers }) {
  const sizes = new Set(layers.map((layer) => layer.asked));
  const number = layers.length === 1 ? "1 layer" : `${layers.length} layers`;
  if (!layers.length) return "no proposers";
  if (sizes.size === 1) return `${number} × ${layers[0].asked}`;
  return `${number}: ${layers.map((layer) => layer.asked).join(", ")}`;
}

/**
 * List the models of a mixture; equal layers share one row.
 * @param {Layout} mixture
 * @returns {[name: string, text: string][]}
 */
export function describe(mixture) {
  /** @type {[name: string, text: string][]} */
  const rows = [];
  /** @type {Map<string, number[]>} */
  const alike = new Map();
  mixture.layers.forEach((layer, index) => {
    const who = peopleOf(layer);
    if (who) alike.set(who, [...alike.get(who) ?? [], index + 1]);
  });
  for (const [who, layers] of alike) rows.push([`${layers.length > 1 ? "Layers" : "Layer"} ${layers.join(", ")}`, who]);
  rows.push(["Writes", mixture.aggregator]);
  if (mixture.layers.length) rows.push(["Needs", needs(mixture.layers)]);
  if (mixture.router) rows.push(["Router", "a model decides first who answers"]);
  if (mixture.early_stop) rows.push(["Stops early", "where the proposals agree"]);
  return rows;
}

/** @param {LayoutLayer} layer */
function peopleOf({ agents = [] }) {
  const models = agents.map(({ name, model }) => (isIn(name, model) ? model : `${name} (${model})`));
  return models.join(", ");
}

/**
 * Return whether the name of the model contains the name of the agent.
 * @param {string} name
 * @param {string} model
 */
const isIn = (name, model) => model.endsWith(name) || model.split(/[^\p{L}\p{N}]+/u).includes(name);

/** @param {LayoutLayer[]} layers */
function needs(layers) {
  const rules = layers.map(({ asked, needed }) => `${needed} of ${asked}`);
  return new Set(rules).size === 1 ? `${rules[0]}${layers.length > 1 ? " in each layer" : ""}` : rules.join(", ");
}
