// Keyboard control of the strip: the tab key reaches the tiles and the steps once each, arrow keys move.

/** @type {Record<string, number>} */
const WAYS = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };

/**
 * Select the next or previous step with the arrow keys.
 * @param {KeyboardEvent} event
 * @param {HTMLElement} root
 * @returns {boolean} whether the key was handled
 */
export function walkStops(event, root) {
  const steps = /** @type {HTMLElement[]} */ ([...root.querySelectorAll("button.at")]);
  const at = steps.indexOf(/** @type {HTMLElement} */ (event.target));
  if (at < 0 || !(event.key in WAYS)) return false;
  event.preventDefault();
  const next = steps[within(at + WAYS[event.key], steps.length)];
  if (next !== steps[at]) {
    next.focus();
    next.click();
  }
  return true;
}

/**
 * Focus another tile with the arrow keys; up and down move within a layer.
 * @param {KeyboardEvent} event
 * @param {HTMLElement} root
 * @returns {boolean} whether the key was handled
 */
export function walkTiles(event, root) {
  const tiles = /** @type {HTMLElement[]} */ ([...root.querySelectorAll(".tile")]).filter(isShown);
  const at = tiles.indexOf(/** @type {HTMLElement} */ (event.target));
  const way = WAYS[event.key] ?? rows(event.key, tiles[at]);
  if (at < 0 || way === undefined) return false;
  event.preventDefault();
  const next = tiles[within(at + way, tiles.length)];
  for (const tile of tiles) tile.tabIndex = tile === next ? 0 : -1;
  next.focus();
  return true;
}

/** @param {HTMLElement} tile */
const isShown = (tile) => !tile.checkVisibility || tile.checkVisibility();

/**
 * @param {number} index
 * @param {number} length
 */
const within = (index, length) => Math.max(0, Math.min(length - 1, index));

/**
 * Return the offset of the tile below or above; 0 if it is outside the layer.
 * @param {string} key
 * @param {HTMLElement | undefined} tile
 */
function rows(key, tile) {
  const lane = tile?.closest(".lane");
  if (!lane || !["ArrowUp", "ArrowDown"].includes(key)) return undefined;
  const columns = Number(/** @type {HTMLElement} */ (lane).style.getPropertyValue("--columns")) || 1;
  const siblings = [...lane.querySelectorAll(".tile")];
  const next = siblings.indexOf(/** @type {HTMLElement} */ (tile)) + (key === "ArrowDown" ? columns : -columns);
  return siblings[next] ? next - siblings.indexOf(/** @type {HTMLElement} */ (tile)) : 0;
}
