// The steps of a thread, to go back to.

import { byId, h, show } from "./dom.js";

export class Timeline {
  constructor(onStep) {
    this.onStep = onStep;
    byId("steps").addEventListener("keydown", (event) => this.walk(event));
    byId("branch").addEventListener("change", (event) => onStep(event.target.value));
  }

  /** Draw the steps of a thread; none while it runs. */
  draw(view, running) {
    const steps = running ? [] : view.steps;
    show(byId("history"), steps.length > 0);
    const inside = byId("steps").contains(document.activeElement);
    byId("steps").replaceChildren(...steps.map((step, index) =>
      this.item(step, step.id === view.step, steps[index - 1])));
    if (inside) byId("steps").querySelector("[aria-current]")?.focus();
    byId("steps").querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
    this.branches(view, steps);
  }

  item(step, current, before) {
    const button = h("button", {
      type: "button",
      "aria-current": current ? "step" : null,
      tabindex: current ? 0 : -1,
      title: new Date(step.when).toLocaleString(),
      "data-step": step.id,
      onclick: () => this.onStep(step.id),
    }, step.label);
    const later = before && before.turn !== step.turn;
    return h("li", { class: later ? "turn" : null }, button);
  }

  branches(view, steps) {
    show(byId("branch-label"), view.branches.length > 1);
    const end = steps.at(-1)?.id;
    byId("branch").replaceChildren(...view.branches.map((branch, index) => {
      const time = new Date(branch.when).toLocaleTimeString();
      const newest = index === view.branches.length - 1 ? " (newest)" : "";
      return h("option", { value: branch.id, selected: branch.id === end },
        `${index + 1}: ${branch.label.toLowerCase()}, ${time}${newest}`);
    }));
  }

  /** Go a step with the arrow keys. */
  walk(event) {
    const ways = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
    if (!(event.key in ways)) return;
    const buttons = [...byId("steps").querySelectorAll("button")];
    const at = buttons.findIndex((button) => button.getAttribute("aria-current"));
    const next = Math.max(0, Math.min(buttons.length - 1, at + ways[event.key]));
    event.preventDefault();
    if (next !== at) this.onStep(buttons[next].dataset.step);
  }
}
