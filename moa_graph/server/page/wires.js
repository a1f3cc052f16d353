// Connections between the tiles of the picture, drawn behind the tiles.

/** @import { Column } from "./picture_columns.js" */
/** @import { RunModel } from "./run_model.js" */
/** @typedef {"in" | "out" | "past"} Side into a layer aggregator, out of it, or past skipped layers */
/**
 * @typedef {object} Wire
 * @property {Element} from
 * @property {Element} to
 * @property {string} node the node whose state the line shows
 * @property {number | null} column the column where it begins
 * @property {SVGPathElement} path
 * @property {Side} side
 */

const SVG = "http://www.w3.org/2000/svg";
const BELOW = 14; // distance in pixels between the columns and a line below them
const UNUSED = ["failed", "cut off", "dropped", "skipped"];

export class Wires {
  /**
   * @param {HTMLElement} graph
   * @param {Map<string, HTMLElement>} tiles by node
   * @param {Column[]} columns
   * @param {RunModel} model
   */
  constructor(graph, tiles, columns, model) {
    this.graph = graph;
    this.tiles = tiles;
    this.svg = document.createElementNS(SVG, "svg");
    this.svg.setAttribute("aria-hidden", "true");
    this.svg.classList.add("wires");
    graph.prepend(this.svg);
    /** @type {Wire[]} */
    this.wires = [];
    this.connect(columns);
    this.connectPast(columns, model);
    this.observer = new ResizeObserver(() => this.place());
    this.observer.observe(graph);
  }

  /** @param {Column[]} columns */
  connect(columns) {
    const router = this.graph.querySelector("[data-router]");
    if (router) this.fan([router], columns[0], null);
    for (const [index, column] of columns.entries()) {
      const next = columns[index + 1];
      if (!next) continue;
      const gather = this.graph.querySelector(`[data-gather="${column.number}"] b`);
      const { number } = column;
      for (const { node } of gather ? column.cells : []) this.add(this.tiles.get(node), gather, node, "in", number);
      const ends = gather ? [gather] : column.cells.map(({ node }) => this.tiles.get(node));
      this.fan(ends, next, number);
    }
  }

  /**
   * @param {(Element | undefined)[]} ends
   * @param {Column} column
   * @param {number | null} before the column where it begins
   */
  fan(ends, column, before) {
    for (const from of ends) {
      for (const { node } of column.cells) this.add(from, this.tiles.get(node), node, "out", before);
    }
  }

  /**
   * Draw the connection past skipped layers.
   * @param {Column[]} columns
   * @param {RunModel} model
   */
  connectPast(columns, model) {
    const depth = model.view?.depth;
    if (!depth || depth.layers >= depth.of) return;
    const from = depth.layers ? this.graph.querySelector(`[data-gather="${depth.layers}"] b`)
      : this.graph.querySelector("[data-router]");
    const { node } = columns[columns.length - 1].cells[0];
    this.add(from, this.tiles.get(node), node, "past", null);
    this.graph.classList.add("passed");
  }

  /**
   * @param {Element | null | undefined} from
   * @param {Element | null | undefined} to
   * @param {string} node
   * @param {Side} side
   * @param {number | null} column
   */
  add(from, to, node, side, column) {
    if (!from || !to) return;
    const path = document.createElementNS(SVG, "path");
    path.dataset.side = side;
    this.svg.append(path);
    this.wires.push({ from, to, node, column, path, side });
  }

  /** Redraw each line between the current positions of its ends. */
  place() {
    const origin = this.graph.getBoundingClientRect();
    for (const { from, to, path, side } of this.wires) {
      const [a, b] = [from.getBoundingClientRect(), to.getBoundingClientRect()];
      const start = { x: a.right - origin.left, y: a.top + a.height / 2 - origin.top };
      const end = { x: b.left - origin.left, y: b.top + b.height / 2 - origin.top };
      path.setAttribute("d", side === "past" ? below(start, end, origin.height - BELOW) : curve(start, end));
    }
  }

  /**
   * Update the state of each line.
   * @param {RunModel} model
   */
  colour(model) {
    for (const { node, column, path, side } of this.wires) {
      const cell = model.cells.get(node);
      if (!cell) continue;
      const before = column === null ? [] : model.layer(column);
      const isPassed = before.length > 0 && before.every(({ status }) => status === "skipped");
      const unused = isPassed || (side === "in" ? UNUSED.includes(cell.status) : cell.status === "skipped");
      const isOver = side === "in" ? cell.status === "answered" : !["waiting", ...UNUSED].includes(cell.status);
      path.classList.toggle("used", isOver && !isPassed);
      path.classList.toggle("none", unused);
      path.classList.toggle("flowing", cell.status === "running" && side !== "in" && !isPassed);
      path.classList.toggle("critical", cell.critical && !unused);
    }
    requestAnimationFrame(() => this.place());
  }
}

/** @typedef {{ x: number, y: number }} Point */

/**
 * @param {Point} start
 * @param {Point} end
 */
function curve(start, end) {
  const middle = (start.x + end.x) / 2;
  return `M${start.x} ${start.y}C${middle} ${start.y} ${middle} ${end.y} ${end.x} ${end.y}`;
}

/**
 * @param {Point} start
 * @param {Point} end
 * @param {number} y vertical position of the line below the columns
 */
function below(start, end, y) {
  const [down, up] = [start.x + 40, end.x - 40];
  return `M${start.x} ${start.y}C${down} ${start.y} ${start.x} ${y} ${down} ${y}`
    + `L${up} ${y}C${end.x} ${y} ${up} ${end.y} ${end.x} ${end.y}`;
}
