// Lines between the boxes of the picture, drawn behind them.

import { find } from "./dom.js";

/** @import { Cell } from "./types.js" */
/** @typedef {"in" | "out"} Side of a layer aggregator, as a line reaches or leaves it */
/** @typedef {{ from: Element, to: Element, node: string, path: SVGElement, side: Side }} Wire */

const SVG = "http://www.w3.org/2000/svg";

export class Wires {
  /**
   * @param {HTMLElement} flow
   * @param {Map<string, HTMLElement>} boxes by node
   * @param {number} layers of proposers
   */
  constructor(flow, boxes, layers) {
    this.flow = flow;
    this.svg = document.createElementNS(SVG, "svg");
    this.svg.setAttribute("aria-hidden", "true");
    this.svg.classList.add("wires");
    flow.prepend(this.svg);
    /** @type {Wire[]} */
    this.wires = [];
    for (let layer = 1; layer <= layers; layer += 1) this.connect(layer, boxes);
    this.observer = new ResizeObserver(() => this.place());
    this.observer.observe(flow);
  }

  /**
   * @param {number} layer
   * @param {Map<string, HTMLElement>} boxes
   */
  connect(layer, boxes) {
    const aggregator = find(this.flow, `[data-layer-aggregator="${layer}"] b`);
    /** @param {number} number */
    const inside = (number) =>
      [...boxes].filter(([, box]) => box.closest(`[data-layer="${number}"]`));
    for (const [node, box] of inside(layer)) this.add(box, aggregator, node, "in");
    for (const [node, box] of inside(layer + 1)) this.add(aggregator, box, node, "out");
  }

  /**
   * @param {Element} from
   * @param {Element} to
   * @param {string} node
   * @param {Side} side
   */
  add(from, to, node, side) {
    const path = document.createElementNS(SVG, "path");
    path.dataset.side = side;
    this.svg.append(path);
    this.wires.push({ from, to, node, path, side });
  }

  /** Draw each line anew between where its ends now are. */
  place() {
    const origin = this.flow.getBoundingClientRect();
    for (const { from, to, path } of this.wires) {
      const [a, b] = [from.getBoundingClientRect(), to.getBoundingClientRect()];
      const [x1, y1] = [a.right - origin.left, a.top + a.height / 2 - origin.top];
      const [x2, y2] = [b.left - origin.left, b.top + b.height / 2 - origin.top];
      const middle = (x1 + x2) / 2;
      path.setAttribute("d", `M${x1} ${y1}C${middle} ${y1} ${middle} ${y2} ${x2} ${y2}`);
    }
  }

  /**
   * Show which lines something has gone through.
   * @param {Map<string, Pick<Cell, "status" | "critical">>} cells by node
   */
  colour(cells) {
    for (const { node, path, side } of this.wires) {
      const cell = cells.get(node);
      if (!cell) continue;
      const { status, critical } = cell;
      const used = side === "in" ? status === "answered" : !["waiting", "dropped"].includes(status);
      path.classList.toggle("used", used);
      path.classList.toggle("flowing", status === "running" && side === "out");
      path.classList.toggle("critical", critical);
    }
    requestAnimationFrame(() => this.place());
  }
}
