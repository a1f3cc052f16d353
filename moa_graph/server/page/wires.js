// Lines between the boxes of the picture, drawn behind them.

const SVG = "http://www.w3.org/2000/svg";

export class Wires {
  constructor(flow, boxes, layers) {
    this.flow = flow;
    this.svg = document.createElementNS(SVG, "svg");
    this.svg.setAttribute("aria-hidden", "true");
    this.svg.classList.add("wires");
    flow.prepend(this.svg);
    this.wires = [];
    for (let layer = 1; layer <= layers; layer += 1) this.connect(layer, boxes);
    this.observer = new ResizeObserver(() => this.place());
    this.observer.observe(flow);
  }

  connect(layer, boxes) {
    const hub = this.flow.querySelector(`[data-hub="${layer}"] b`);
    const inside = (number) =>
      [...boxes].filter(([, box]) => box.closest(".layer").dataset.layer === String(number));
    for (const [node, box] of inside(layer)) this.add(box, hub, node, "in");
    for (const [node, box] of inside(layer + 1)) this.add(hub, box, node, "out");
  }

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

  /** Show which lines something has gone through. */
  colour(cells) {
    for (const { node, path, side } of this.wires) {
      const { status, critical } = cells.get(node);
      const used = side === "in" ? status === "answered" : !["waiting", "dropped"].includes(status);
      path.classList.toggle("used", used);
      path.classList.toggle("flowing", status === "running" && side === "out");
      path.classList.toggle("critical", critical);
    }
    requestAnimationFrame(() => this.place());
  }
}
