// The strip of a run: a column for each layer, with stops that open steps and tiles that open proposals.

import { byId, count, h } from "./dom.js";
import { icon } from "./icons.js";
import { nameOfLayer } from "./picture_columns.js";
import { AGGREGATOR } from "./run_model.js";
import { drawFold, drawRest } from "./strip_folds.js";
import { walkStops, walkTiles } from "./strip_keys.js";
import { planStrip } from "./strip_plan.js";
import { drawStops, stop } from "./strip_stops.js";
import { drawTile, drawTime, makeTile } from "./tile.js";

/** @import { Received, RunModel } from "./run_model.js" */
/** @import { Fold, Open, Plan } from "./strip_plan.js" */

/**
 * @typedef {object} StripActions
 * @property {(node: string) => void} select
 * @property {(step: string) => void} goTo
 * @property {() => void} change edit the question
 * @property {() => void} openPicture
 */

export class Strip {
  /**
   * @param {HTMLElement} root
   * @param {StripActions} actions
   */
  constructor(root, actions) {
    this.root = root;
    this.actions = actions;
    /** @type {RunModel | null} */
    this.model = null;
    /** @type {Map<string, HTMLElement>} */
    this.tiles = new Map(); // by node
    /** @type {number | null} */
    this.unfolded = null; // the layer that the user unfolded
    this.stop = -1; // the stop of the run at that time
    this.drawn = ""; // key of the drawn plan
    root.addEventListener("keydown", (event) => walkTiles(event, root) || walkStops(event, root));
    new ResizeObserver(() => this.model?.layout && this.draw(this.model)).observe(root);
  }

  /**
   * Draw a run.
   * @param {RunModel} model
   */
  draw(model) {
    this.model = model;
    this.root.hidden = !model.layout;
    if (!model.layout) return;
    const sizes = Array.from({ length: model.last - 1 }, (_, index) => model.layer(index + 1).length);
    const plan = planStrip(this.width(), sizes, this.focus(model));
    const shape = JSON.stringify([plan, model.thread, [...model.cells.keys()]]);
    if (shape !== this.drawn) this.build(model, plan);
    this.drawn = shape;
    this.update();
  }

  /** Draw the changes of the run. */
  update() {
    const { model } = this;
    if (!model?.layout) return;
    for (const [node, tile] of this.tiles) {
      const cell = model.cells.get(node);
      if (cell) drawTile(tile, cell, model);
    }
    for (const fold of this.root.querySelectorAll(".fold")) drawFold(fold, model);
    for (const rest of this.root.querySelectorAll(".rest")) drawRest(rest, model);
    drawStops(this.root, model, this.actions.goTo);
    this.tick();
  }

  /** Update the clocks of running calls. */
  tick() {
    const { model } = this;
    if (!model) return;
    const passed = new Map([...model.cells].map(([node, cell]) => [node, model.elapsed(cell)]));
    const slowest = Math.max(0.1, ...[...passed.values()].map((each) => each ?? 0));
    for (const [node, tile] of this.tiles) drawTime(tile, passed.get(node) ?? null, slowest);
  }

  /** The width for columns in pixels. */
  width() {
    const style = getComputedStyle(this.root);
    return this.root.clientWidth - (parseFloat(style.paddingLeft) || 0) - (parseFloat(style.paddingRight) || 0);
  }

  /**
   * Return the focused layer: the unfolded layer, the layer of the selected call, or the active layer.
   * @param {RunModel} model
   */
  focus(model) {
    if (model.stop !== this.stop) this.unfolded = null;
    this.stop = model.stop;
    const looked = model.selected === AGGREGATOR ? undefined : model.cells.get(model.selected ?? "")?.layer;
    return Math.max(1, Math.min(this.unfolded ?? looked ?? model.stop, model.last - 1));
  }

  /**
   * @param {RunModel} model
   * @param {Plan} plan
   */
  build(model, plan) {
    const focused = this.root.contains(document.activeElement) ? keyOf(document.activeElement) : null;
    this.tiles = new Map();
    this.root.classList.toggle("phone", plan.phone);
    this.root.classList.toggle("narrow", plan.narrow);
    const lanes = plan.lanes.map((lane) => ("columns" in lane ? this.layer(lane, model) : this.fold(lane)));
    this.root.replaceChildren(h("div", { class: "lanes" }, this.question(model), ...lanes, this.answer(model)));
    const tiles = /** @type {HTMLElement[]} */ ([...this.root.querySelectorAll(".tile")]);
    for (const tile of tiles) tile.tabIndex = -1; // the tab key reaches only one tile
    const reached = this.tiles.get(model.selected ?? "") ?? this.tiles.values().next().value;
    if (reached) reached.tabIndex = 0;
    if (focused) /** @type {HTMLElement | null} */ (this.root.querySelector(focused))?.focus();
  }

  /** @param {RunModel} model */
  question(model) {
    const message = model.view?.messages.findLast(({ role }) => role === "human");
    const asked = message?.question ?? message?.text ?? "";
    const length = `${count(asked.length)} ${asked.length === 1 ? "char" : "chars"}`;
    const tile = h("button", { type: "button", class: "tile you", onclick: () => this.actions.change() },
      icon("edit"), h("b", {}, "you"), h("span", { class: "about" }, length),
      h("span", { class: "model" }, "change…"));
    return h("div", { class: "lane ask" }, stop(0), tile);
  }

  /**
   * @param {Open} lane
   * @param {RunModel} model
   */
  layer({ layer, columns, hidden }, model) {
    const cells = model.layer(layer);
    const shown = hidden ? cells.slice(0, cells.length - hidden) : cells;
    const tiles = h("div", { class: "tiles", role: "group", "aria-label": nameOfLayer(layer, model) });
    for (const cell of shown) tiles.append(this.tile(cell));
    if (hidden) tiles.append(this.rest(cells.slice(-hidden)));
    const column = h("div", { class: "lane", "data-layer": layer }, stop(layer), tiles);
    column.style.setProperty("--columns", String(columns));
    return column;
  }

  /** @param {Received} cell */
  tile(cell) {
    const tile = makeTile(cell.node, cell.agent, this.actions.select);
    this.tiles.set(cell.node, tile);
    return tile;
  }

  /**
   * Build the tile for calls that have no tile, for lack of room.
   * @param {Received[]} cells
   */
  rest(cells) {
    const nodes = JSON.stringify(cells.map((cell) => cell.node));
    return h("button", {
      type: "button", class: "tile rest", "data-nodes": nodes, onclick: () => this.actions.openPicture(),
    }, h("b", {}, `+${cells.length}`), h("span"));
  }

  /** @param {Fold} lane */
  fold({ from, to }) {
    const unfold = () => {
      this.unfolded = to;
      if (this.model) this.draw(this.model);
      /** @type {HTMLElement | null} */ (this.root.querySelector(`[data-layer="${to}"] .tile`))?.focus();
    };
    const tile = h("button", { type: "button", class: "tile", onclick: unfold },
      icon("ok"), h("b"), h("span", { class: "about" }), h("span", { class: "model" }),
      h("span", { class: "unseen" }, ", unfold"));
    return h("div", { class: "lane fold", "data-from": from, "data-to": to }, stop(from, to), tile);
  }

  /** @param {RunModel} model */
  answer(model) {
    const more = h("button", {
      type: "button", id: "more", class: "quiet", "aria-expanded": String(!byId("picture").hidden),
      "aria-controls": "picture", onclick: () => this.actions.openPicture(),
    }, h("b", {}, "Picture"), icon("down"));
    const stops = stop(model.last);
    stops.append(more);
    const cell = model.aggregator;
    return h("div", { class: "lane agg" }, stops, cell ? this.tile(cell) : null);
  }
}

/**
 * Return a selector of an element of the strip, to find it after the strip is redrawn.
 * @param {Element | null} element
 */
function keyOf(element) {
  for (const name of ["data-node", "data-step", "id"]) {
    const value = element?.getAttribute(name);
    if (value) return `[${name}="${CSS.escape(value)}"]`;
  }
  return null;
}
