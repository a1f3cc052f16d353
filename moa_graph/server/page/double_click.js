// Ignore the second click of a double click: the first may have put another button at this position.

/** Ignore a second click at the position of a click on a button. */
export function ignoreSecondClicks() {
  document.addEventListener("click", (event) => {
    const isButton = event.target instanceof Element && event.target.closest("button");
    if (event.detail < 2 || !isButton) return;
    event.preventDefault();
    event.stopPropagation();
  }, { capture: true });
}
