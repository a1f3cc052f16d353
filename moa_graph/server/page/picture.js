// The layers as a picture: a box for each agent, a hub behind each layer, wires between them.

import { count, dollars, h, seconds } from "./dom.js";
import { Wires } from "./wires.js";

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
  constructor(root, onSelect) {
    this.root = root;
    this.onSelect = onSelect;
    this.boxes = new Map();
    setInterval(() => this.tick(), 100);
  }

  /** Show all cells; what is drawn already stays, and with it the place on the page. */
  show(layout, cells) {
    const shape = JSON.stringify([layout, cells.map((cell) => cell.node)]);
    if (shape === this.shape) this.update(cells);
    else this.build(layout, cells);
    this.shape = shape;
  }

  /** Draw a mixture anew. */
  build(layout, cells) {
    this.cells = new Map(cells.map((cell) => [cell.node, received(cell)]));
    this.layout = layout;
    this.boxes = new Map(cells.map((cell) => [cell.node, this.box(cell)]));
    const columns = layout.layers.flatMap((layer, index) => [this.column(index + 1), hub(index + 1)]);
    columns.push(this.column(layout.layers.length + 1));
    const flow = h("div", { class: "flow" }, ...columns);
    const widest = Math.max(...layout.layers.map((layer) => layer.asked));
    flow.classList.toggle("close", widest > CLOSE);
    flow.classList.toggle("dense", widest > DENSE);
    this.root.replaceChildren(flow, legend());
    this.wires = new Wires(flow, this.boxes, layout.layers.length);
    this.draw(this.cells.keys());
  }

  /** Take in the cells that have changed. */
  update(changes) {
    for (const { more, ...change } of changes) {
      const before = this.cells.get(change.node);
      const text = change.text ?? before.text + more;
      this.cells.set(change.node, received({ ...change, text }));
    }
    this.draw(changes.map((change) => change.node));
  }

  /** Mark the box whose text is shown. */
  select(node) {
    for (const [name, box] of this.boxes) box.setAttribute("aria-pressed", name === node);
  }

  /** Mark the boxes whose proposals are going to be changed. */
  mark(edits) {
    for (const [name, box] of this.boxes) {
      const edit = edits.get(name);
      box.querySelector(".mark").textContent = edit ? MARKS[edit.action] : "";
      box.classList.toggle("marked", Boolean(edit));
    }
  }

  layer(number) {
    return [...this.cells.values()].filter((cell) => cell.layer === number);
  }

  get last() {
    return this.layout.layers.length + 1;
  }

  column(number) {
    const title = number === this.last ? "Aggregator" : `Layer ${number}`;
    const boxes = [...this.cells.values()]
      .filter((cell) => cell.layer === number)
      .map((cell) => h("li", {}, this.boxes.get(cell.node)));
    return h("section", { class: "layer", "data-layer": number, "aria-label": title },
      h("h3", {}, title), h("p", { class: "count" }), h("ul", {}, ...boxes));
  }

  box(cell) {
    const select = () => this.onSelect(cell.node);
    const part = (name) => h("span", { class: name });
    const name = h("span", { class: "name" }, cell.agent);
    const sign = h("span", { class: "sign", "aria-hidden": "true" });
    const about = h("span", { class: "about" }, part("word"), part("model"));
    return h("button", { type: "button", class: "cell", "data-node": cell.node, onclick: select },
      sign, name, part("time"), about, h("span", { class: "tail" }, h("span")), part("sums"), part("mark"),
      h("span", { class: "bar", "aria-hidden": "true" }));
  }

  draw(nodes) {
    const layers = new Set();
    for (const node of nodes) {
      const cell = this.cells.get(node);
      fill(this.boxes.get(node), cell);
      layers.add(cell.layer);
    }
    layers.forEach((layer) => this.sumUp(layer));
    this.tick();
    this.wires.colour(this.cells);
  }

  /** Say of a layer how many have answered. */
  sumUp(number) {
    const cells = this.layer(number);
    const answered = cells.filter((cell) => cell.status === "answered").length;
    const rule = this.layout.layers[number - 1];
    const text = rule ? `${answered}/${cells.length} answered, needs ${rule.needed}` : "";
    this.root.querySelector(`[data-layer="${number}"] .count`).textContent = text;
    const begun = (layer) => this.layer(layer).some((cell) => cell.status !== "waiting");
    for (const each of this.root.querySelectorAll(".hub")) {
      const layer = Number(each.dataset.hub);
      const gathered = this.layer(layer).filter((cell) => cell.status === "answered").length;
      const done = begun(layer + 1);
      each.classList.toggle("done", done);
      each.querySelector("b").textContent = done ? gathered : "";
    }
  }

  /** Let the clocks of running calls go on, each layer's bars measured by its slowest. */
  tick() {
    for (let layer = 1; this.layout && layer <= this.last; layer += 1) {
      const cells = this.layer(layer);
      const slowest = Math.max(...cells.map((cell) => elapsed(cell) ?? 0), 0.1);
      for (const cell of cells) {
        const box = this.boxes.get(cell.node);
        box.querySelector(".time").textContent = seconds(elapsed(cell));
        box.style.setProperty("--part", (elapsed(cell) ?? 0) / slowest);
      }
    }
  }
}

const MARKS = { edit: "edited", drop: "to be dropped", again: "to be asked again" };

/** Note when a cell came: its seconds count from then. */
const received = (cell) => ({ ...cell, at: performance.now() });

function elapsed(cell) {
  if (cell.status !== "running" || cell.seconds === null) return cell.seconds;
  return cell.seconds + (performance.now() - cell.at) / 1000;
}

function hub(layer) {
  return h("div", { class: "hub", "data-hub": layer, title: `Hub: gathers the proposals of layer ${layer}` },
    h("b"), h("span", {}, `hub of layer ${layer}`));
}

function fill(box, cell) {
  const set = (name, text) => { box.querySelector(`.${name}`).textContent = text; };
  box.dataset.status = cell.status;
  box.classList.toggle("critical", cell.critical);
  set("sign", SIGNS[cell.status]);
  set("word", cell.critical ? `${cell.status}, waited for` : cell.status);
  set("tail > span", snippet(cell));
  set("sums", sums(cell));
  set("model", ` · ${cell.model}`);
}

/** Give the beginning of a text, or, while it comes, its end. */
function snippet(cell) {
  if (cell.error) return cell.error;
  const text = cell.status === "running" ? cell.text.slice(-SNIPPET) : cell.text.slice(0, SNIPPET);
  return text.replaceAll(/[*`#]+/g, "").replaceAll(/\s+/g, " ");
}

/** Tell tokens and cost of a call. */
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
  const entry = (status, word = status) =>
    h("li", { "data-status": status }, h("span", { class: "sign", "aria-hidden": "true" }, SIGNS[status]), word);
  return h("ul", { class: "legend", "aria-label": "Signs" },
    ...Object.keys(SIGNS).map((status) => entry(status)),
    h("li", { class: "critical" }, h("span", { class: "sign" }), "waited for: the slowest of its layer"));
}
