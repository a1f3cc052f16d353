// The picture of a run: a column of tiles for each layer, the layer aggregators, and connections.

import { find, h } from "./dom.js";
import { icon } from "./icons.js";
import { columnsOf, skippedBy } from "./picture_columns.js";
import { ICONS, drawTile, drawTime, makeTile } from "./tile.js";
import { Wires } from "./wires.js";

/** @import { Column } from "./picture_columns.js" */
/** @import { RunModel } from "./run_model.js" */

const TICK = 100; // milliseconds between two updates of running clocks
const MANY = 8; // maximum number of tiles in a single row of a column

export class Picture {
  /**
   * @param {HTMLElement} root
   * @param {(node: string) => void} select
   */
  constructor(root, select) {
    this.root = root;
    this.select = select;
    /** @type {RunModel | null} */
    this.model = null;
    /** @type {Map<string, HTMLElement>} */
    this.tiles = new Map();
    /** @type {Wires | null} */
    this.wires = null;
    this.shape = ""; // of the drawn run
    setInterval(() => this.model?.running && !this.root.hidden && this.tick(this.model), TICK);
  }

  /**
   * Draw the run, unless the picture is closed.
   * @param {RunModel} model
   */
  draw(model) {
    this.model = model;
    if (this.root.hidden || !model.layout) return;
    const columns = columnsOf(model);
    const shape = JSON.stringify([model.layout, [...model.cells.keys()], model.view?.depth]);
    if (shape !== this.shape) this.build(model, columns);
    this.shape = shape;
    for (const [node, tile] of this.tiles) {
      const cell = model.cells.get(node);
      if (cell) drawTile(tile, cell, model);
    }
    this.sumUp(model, columns);
    this.tick(model);
    this.wires?.colour(model);
    this.legend(model);
  }

  /**
   * @param {RunModel} model
   * @param {Column[]} columns
   */
  build(model, columns) {
    this.tiles.clear();
    const graph = h("div", { class: "graph" }, router(model), columns.flatMap((column) => this.column(column)));
    graph.style.setProperty("--columns", String(columns.length));
    this.legendList = h("ul", { class: "legend", "aria-label": "Legend" });
    const why = skippedBy(model);
    this.root.replaceChildren(graph, ...(why ? [h("p", { class: "why small" }, why)] : []), this.legendList);
    this.wires = new Wires(graph, this.tiles, columns, model);
  }

  /**
   * Build a column; the layer aggregator follows a layer of proposers.
   * @param {Column} column
   * @returns {HTMLElement[]}
   */
  column(column) {
    const tiles = column.cells.map((cell) => {
      const tile = makeTile(cell.node, cell.agent, this.select);
      this.tiles.set(cell.node, tile);
      return tile;
    });
    const wide = tiles.length > MANY ? " wide" : "";
    const section = h("section", { class: `col${wide}`, "data-column": column.number, "aria-label": column.name },
      h("h2", {}, column.name, " ", h("span", { class: "count" })), h("div", { class: "rows" }, tiles));
    if (!column.gathers) return [section];
    const title = `Gathers the answers of ${column.name.toLowerCase()}; it calls no model.`;
    return [section, h("div", { class: "gather", "data-gather": column.number, title },
      h("b"), h("span", { class: "unseen" }))];
  }

  /**
   * Show the number of answers and of gathered proposals of each layer.
   * @param {RunModel} model
   * @param {Column[]} columns
   */
  sumUp(model, columns) {
    for (const [index, column] of columns.entries()) {
      if (!column.gathers) continue;
      const cells = model.layer(column.number);
      const answered = cells.filter((cell) => cell.status === "answered").length;
      const isSkipped = cells.every((cell) => cell.status === "skipped");
      const count = isSkipped ? "skipped" : `${answered}/${cells.length}, needs ${column.needed}`;
      find(this.root, `[data-column="${column.number}"] .count`).textContent = count;
      const next = columns[index + 1]?.cells ?? [];
      const isGathered = !isSkipped && next.some(({ node }) => model.cells.get(node)?.status !== "waiting");
      const gather = find(this.root, `[data-gather="${column.number}"]`);
      gather.classList.toggle("done", isGathered);
      gather.classList.toggle("none", isSkipped);
      find(gather, "b").textContent = isGathered ? String(answered) : "";
      find(gather, "span").textContent = isGathered ? `${answered} proposals gathered` : "nothing gathered yet";
    }
  }

  /** @param {RunModel} model */
  tick(model) {
    const cells = [...model.cells.values()];
    const slowest = Math.max(...cells.map((cell) => model.elapsed(cell) ?? 0), 0.1);
    for (const cell of cells) {
      const tile = this.tiles.get(cell.node);
      if (tile) drawTime(tile, model.elapsed(cell), slowest);
    }
  }

  /**
   * Explain the symbols in the picture.
   * @param {RunModel} model
   */
  legend(model) {
    const states = [...new Set([...model.cells.values()].map((cell) => model.stateOf(cell)))];
    const key = states.join();
    if (!this.legendList || this.legendList.dataset.key === key) return;
    this.legendList.dataset.key = key;
    this.legendList.replaceChildren(
      ...states.map((state) => h("li", { "data-state": state }, icon(ICONS[state]), state)),
      h("li", {}, h("span", { class: "line", "aria-hidden": "true" }), "waited for"),
      h("li", {}, h("span", { class: "circle", "aria-hidden": "true" }),
        "gathers proposals for the next layer; calls no model"));
  }
}

/**
 * Draw the router.
 * @param {RunModel} model
 * @returns {HTMLElement[]}
 */
function router(model) {
  const route = model.view?.depth?.route;
  if (!model.layout?.router && !route) return [];
  const to = route === undefined ? "" : route === "full" ? "to the layers" : `past the layers: ${route}`;
  return [h("div", { class: "router", "data-router": "" }, h("b", {}, "Router"), h("span", { class: "dim" }, to))];
}
