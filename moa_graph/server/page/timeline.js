// The steps of a thread, to go back to.

import { byId, h, show } from "./dom.js";

/** @import { Step, View } from "./types.js" */

/** @type {Record<string, number>} */
const WAYS = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };

export class Timeline {
  /** @param {(step: string) => void} onStep */
  constructor(onStep) {
    this.onStep = onStep;
    byId("steps").addEventListener("keydown", (event) => this.walk(event));
    byId("branch").addEventListener("change", () => onStep(byId("branch").value));
  }

  /**
   * Draw the steps of a thread; none while it runs.
   * @param {View} view
   * @param {boolean} running
   */
  draw(view, running) {
    const steps = running ? [] : view.steps;
    show(byId("history"), steps.length > 0);
    const inside = byId("steps").contains(document.activeElement);
    byId("steps").replaceChildren(...steps.map((step, index) =>
      this.item(step, step.id === view.step, steps[index - 1])));
    /** @type {HTMLElement | null} */
    const current = byId("steps").querySelector("[aria-current]");
    if (inside) current?.focus();
    current?.scrollIntoView({ block: "nearest", inline: "center" });
    this.branches(view, steps);
  }

  /**
   * @param {Step} step
   * @param {boolean} current
   * @param {Step | undefined} before
   */
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

  /**
   * @param {View} view
   * @param {Step[]} steps
   */
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

  /**
   * Go a step with the arrow keys.
   * @param {KeyboardEvent} event
   */
  walk(event) {
    if (!(event.key in WAYS)) return;
    const buttons = [...byId("steps").querySelectorAll("button")];
    const at = buttons.findIndex((button) => button.getAttribute("aria-current"));
    const next = Math.max(0, Math.min(buttons.length - 1, at + WAYS[event.key]));
    event.preventDefault();
    if (next !== at) this.onStep(buttons[next].dataset.step ?? "");
  }
}
