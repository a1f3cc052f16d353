// The layers as a picture: a box for each agent, a layer aggregator behind each layer, wires between them.

import { count, dollars, find, h, seconds } from "./dom.js";
import { Wires } from "./wires.js";

/** @import { Cell, Change, Edit, Layout, Status } from "./types.js" */
/** @typedef {Cell & { at: number }} Received with when it came, by this page's clock */

/** @type {Record<Status, string>} */
const SIGNS = {
  waiting: "○",
  running: "",
  answered: "✓",
  failed: "✕",
  "cut off": "✂\uFE0E",
  dropped: "⊘",
};
const SNIPPET = 160; // characters of an answer that a box shows
const CLOSE = 4; // proposers of a layer beyond which boxes get smaller,
const DENSE = 6; // and beyond which they show a name and a state alone

export class Picture {
  /**
   * @param {HTMLElement} root
   * @param {(node: string) => void} onSelect
   */
  constructor(root, onSelect) {
    this.root = root;
    this.onSelect = onSelect;
    /** @type {Layout | null} */
    this.layout = null;
    /** @type {Map<string, Received>} */
    this.cells = new Map();
    /** @type {Map<string, HTMLElement>} */
    this.boxes = new Map();
    /** @type {Wires | null} */
    this.wires = null;
    this.shape = ""; // of what is drawn
    setInterval(() => this.tick(), 100);
  }

  /**
   * Show all cells; what is drawn already stays, and with it the place on the page.
   * @param {Layout} layout
   * @param {Cell[]} cells
   */
  show(layout, cells) {
    const shape = JSON.stringify([layout, cells.map((cell) => cell.node)]);
    if (shape === this.shape) this.update(cells);
    else this.build(layout, cells);
    this.shape = shape;
  }

  /**
   * Draw a mixture anew.
   * @param {Layout} layout
   * @param {Cell[]} cells
   */
  build(layout, cells) {
    this.cells = new Map(cells.map((cell) => [cell.node, received(cell)]));
    this.layout = layout;
    this.boxes = new Map(cells.map((cell) => [cell.node, this.box(cell)]));
    const columns = layout.layers.flatMap((_, index) => [this.column(index + 1), layerAggregator(index + 1)]);
    columns.push(this.column(layout.layers.length + 1));
    const flow = h("div", { class: "flow" }, ...columns);
    const widest = Math.max(...layout.layers.map((layer) => layer.asked));
    flow.classList.toggle("close", widest > CLOSE);
    flow.classList.toggle("dense", widest > DENSE);
    this.root.replaceChildren(flow, legend());
    this.wires = new Wires(flow, this.boxes, layout.layers.length);
    this.draw(this.cells.keys());
  }

  /**
   * Take in the cells that have changed.
   * @param {Change[]} changes
   */
  update(changes) {
    for (const { more, ...change } of changes) {
      const before = this.cells.get(change.node);
      const text = change.text ?? `${before?.text ?? ""}${more ?? ""}`;
      this.cells.set(change.node, received({ ...change, text }));
    }
    this.draw(changes.map((change) => change.node));
  }

  /**
   * Mark the box whose text is shown.
   * @param {string | null} node
   */
  select(node) {
    for (const [name, box] of this.boxes) box.setAttribute("aria-pressed", String(name === node));
  }

  /**
   * Mark the boxes whose proposals are going to be changed.
   * @param {Map<string, Edit>} edits
   */
  mark(edits) {
    for (const [name, box] of this.boxes) {
      const edit = edits.get(name);
      find(box, ".mark").textContent = edit ? MARKS[edit.action] : "";
      box.classList.toggle("marked", Boolean(edit));
    }
  }

  /** @param {number} number */
  layer(number) {
    return [...this.cells.values()].filter((cell) => cell.layer === number);
  }

  /** The number of the aggregator's layer. */
  get last() {
    return (this.layout?.layers.length ?? 0) + 1;
  }

  /** @param {number} number */
  column(number) {
    const title = number === this.last ? "Aggregator" : `Layer ${number}`;
    const boxes = this.layer(number).map((cell) => h("li", {}, this.boxes.get(cell.node) ?? null));
    return h("section", { class: "layer", "data-layer": number, "aria-label": title },
      h("h3", {}, title), h("p", { class: "count" }), h("ul", {}, ...boxes));
  }

  /** @param {Cell} cell */
  box(cell) {
    const select = () => this.onSelect(cell.node);
    /** @param {string} word */
    const part = (word) => h("span", { class: word });
    const name = h("span", { class: "name" }, cell.agent);
    const sign = h("span", { class: "sign", "aria-hidden": "true" });
    const about = h("span", { class: "about" }, part("word"), part("model"));
    return h("button", { type: "button", class: "cell", "data-node": cell.node, onclick: select },
      sign, name, part("time"), about, h("span", { class: "tail" }, h("span")), part("sums"), part("mark"),
      h("span", { class: "bar", "aria-hidden": "true" }));
  }

  /** @param {Iterable<string>} nodes */
  draw(nodes) {
    const layers = new Set();
    for (const node of nodes) {
      const [cell, box] = [this.cells.get(node), this.boxes.get(node)];
      if (!cell || !box) continue;
      fill(box, cell);
      layers.add(cell.layer);
    }
    layers.forEach((layer) => this.sumUp(layer));
    this.tick();
    this.wires?.colour(this.cells);
  }

  /**
   * Say of a layer how many have answered.
   * @param {number} number
   */
  sumUp(number) {
    const cells = this.layer(number);
    const answered = cells.filter((cell) => cell.status === "answered").length;
    const rule = this.layout?.layers[number - 1];
    const text = rule ? `${answered}/${cells.length} answered, needs ${rule.needed}` : "";
    find(this.root, `[data-layer="${number}"] .count`).textContent = text;
    this.countGathered();
  }

  /** Say of each layer aggregator that has gathered how many proposals it has. */
  countGathered() {
    for (let layer = 1; layer < this.last; layer += 1) {
      const gathered = this.layer(layer).filter((cell) => cell.status === "answered").length;
      const done = this.layer(layer + 1).some((cell) => cell.status !== "waiting");
      const box = find(this.root, `[data-layer-aggregator="${layer}"]`);
      box.classList.toggle("done", done);
      find(box, "b").textContent = done ? String(gathered) : "";
    }
  }

  /** Let the clocks of running calls go on, each layer's bars measured by its slowest. */
  tick() {
    for (let layer = 1; this.layout && layer <= this.last; layer += 1) {
      const cells = this.layer(layer);
      const slowest = Math.max(...cells.map((cell) => elapsed(cell) ?? 0), 0.1);
      for (const cell of cells) {
        const box = this.boxes.get(cell.node);
        if (!box) continue;
        find(box, ".time").textContent = seconds(elapsed(cell));
        box.style.setProperty("--part", String((elapsed(cell) ?? 0) / slowest));
      }
    }
  }
}

const MARKS = { edit: "edited", drop: "to be dropped", again: "to be asked again" };

/**
 * Note when a cell came: its seconds count from then.
 * @param {Cell} cell
 * @returns {Received}
 */
const received = (cell) => ({ ...cell, at: performance.now() });

/** @param {Received} cell */
function elapsed(cell) {
  if (cell.status !== "running" || cell.seconds === null) return cell.seconds;
  return cell.seconds + (performance.now() - cell.at) / 1000;
}

/** @param {number} layer */
function layerAggregator(layer) {
  const title = `Layer aggregator: gathers the proposals of layer ${layer}`;
  return h("div", { class: "layer-aggregator", "data-layer-aggregator": layer, title },
    h("b"), h("span", {}, `aggregator of layer ${layer}`));
}

/**
 * @param {HTMLElement} box
 * @param {Cell} cell
 */
function fill(box, cell) {
  /** @type {(name: string, text: string) => void} */
  const set = (name, text) => { find(box, `.${name}`).textContent = text; };
  box.dataset.status = cell.status;
  box.classList.toggle("critical", cell.critical);
  set("sign", SIGNS[cell.status]);
  const words = [cell.status, ...(cell.ending_note ? ["not whole"] : []), ...(cell.critical ? ["waited for"] : [])];
  set("word", words.join(", "));
  set("tail > span", snippet(cell));
  set("sums", sums(cell));
  set("model", ` · ${cell.model}`);
}

/**
 * Give the beginning of a text, or, while it comes, its end.
 * @param {Cell} cell
 */
function snippet(cell) {
  if (cell.error) return cell.node === "aggregator" ? "" : cell.error; // the answer's place tells it
  const text = cell.status === "running" ? cell.text.slice(-SNIPPET) : cell.text.slice(0, SNIPPET);
  return text.replaceAll(/[*`#]+/g, "").replaceAll(/\s+/g, " ");
}

/**
 * Tell tokens and cost of a call.
 * @param {Cell} cell
 */
export function sums(cell) {
  const parts = [];
  if (cell.written !== null) {
    const about = cell.status === "running" ? "~" : "";
    parts.push(`${about}${count((cell.read ?? 0) + cell.written)} tokens`);
  }
  if (cell.cost !== null && cell.status !== "running") parts.push(dollars(cell.cost));
  return parts.join(" · ");
}

function legend() {
  const entries = Object.entries(SIGNS).map(([status, sign]) =>
    h("li", { "data-status": status }, h("span", { class: "sign", "aria-hidden": "true" }, sign), status));
  return h("ul", { class: "legend", "aria-label": "Signs" },
    ...entries,
    h("li", { class: "critical" }, h("span", { class: "sign" }), "waited for: the slowest of its layer"));
}
