// The plan of the strip's columns: the layers with a tile for each proposer, and the folded layers.

/**
 * A column: a layer with its tiles, without `hidden` tiles for lack of room, or folded layers.
 * @typedef {{ kind: "layer", layer: number, columns: number, hidden: number }} Open
 * @typedef {{ kind: "fold", from: number, to: number }} Fold
 * @typedef {{ phone: boolean, narrow: boolean, lanes: (Open | Fold)[] }} Plan
 */

const ROWS = 2; // maximum number of rows of tiles
const TILE = 44; // minimum width in pixels of a touch target
const ROOMY = 92; // minimum width in pixels of a tile with its tokens
const TILE_GAP = 3;
const PHONE = 736; // maximum width in pixels with short ends
const WIDE = { ends: [86, 148], fold: 64, gap: 12 };
const SHORT = { ends: [56], fold: 48, gap: 5 };

/**
 * Divide a width among layers of the given sizes. The layers farthest from the focused layer fold first.
 * @param {number} width pixels
 * @param {number[]} sizes
 * @param {number} focus number of the focused layer
 * @returns {Plan}
 */
export function planStrip(width, sizes, focus) {
  const phone = width < PHONE;
  const { ends, fold, gap } = phone ? SHORT : WIDE;
  const room = width - ends.reduce((sum, end) => sum + end + gap, 0) + gap;
  /** @param {(Open | Fold)[]} lanes */
  const left = (lanes) => room - lanes.length * gap - lanes.filter(({ kind }) => kind === "fold").length * fold;
  /** @param {(Open | Fold)[]} lanes */
  const fits = (lanes) => left(lanes) >= lanes.reduce((sum, lane) => sum + needed(lane), 0);
  const plans = foldings(sizes, focus);
  const merging = plans.map(merged);
  const least = merging.at(-1) ?? [];
  const shortest = least.map((lane) => ("layer" in lane ? shortened(lane, sizes[lane.layer - 1], left(least)) : lane));
  const lanes = [...plans, ...merging].find(fits) ?? shortest;
  const columns = lanes.reduce((sum, lane) => sum + ("columns" in lane ? lane.columns : 0), 0);
  return { phone, narrow: left(lanes) < columns * (ROOMY + TILE_GAP), lanes };
}

/**
 * Return the plans with an increasing number of folded layers, up to all except the focused layer.
 * @param {number[]} sizes
 * @param {number} focus
 */
function foldings(sizes, focus) {
  const plans = [sizes.map((size, index) => open(index + 1, size))];
  for (const layer of byDistance(sizes.length, focus)) {
    const before = plans[plans.length - 1];
    plans.push(before.map((lane) => ("layer" in lane && lane.layer === layer ? folded(layer) : lane)));
  }
  return plans;
}

/**
 * @param {number} layer
 * @param {number} size
 * @returns {Open | Fold}
 */
const open = (layer, size) => ({ kind: "layer", layer, columns: Math.max(1, Math.ceil(size / ROWS)), hidden: 0 });

/**
 * @param {number} layer
 * @returns {Open | Fold}
 */
const folded = (layer) => ({ kind: "fold", from: layer, to: layer });

/** @param {Open | Fold} lane */
const needed = (lane) => ("columns" in lane ? lane.columns * (TILE + TILE_GAP) - TILE_GAP : 0);

/**
 * Return all layers except the focused layer, the farthest first.
 * @param {number} layers
 * @param {number} focus
 */
function byDistance(layers, focus) {
  const others = Array.from({ length: layers }, (_, index) => index + 1).filter((layer) => layer !== focus);
  return others.sort((a, b) => Math.abs(b - focus) - Math.abs(a - focus) || a - b);
}

/**
 * Merge adjacent folded layers into one column.
 * @param {(Open | Fold)[]} lanes
 */
function merged(lanes) {
  /** @type {(Open | Fold)[]} */
  const result = [];
  for (const lane of lanes) {
    const last = result.at(-1);
    if (lane.kind === "fold" && last?.kind === "fold") result[result.length - 1] = { ...last, to: lane.to };
    else result.push(lane);
  }
  return result;
}

/**
 * Hide the tiles that do not fit; the last tile shows their number.
 * @param {Open} lane
 * @param {number} size
 * @param {number} room
 * @returns {Open}
 */
function shortened(lane, size, room) {
  const columns = Math.max(1, Math.floor((room + TILE_GAP) / (TILE + TILE_GAP)));
  return columns < lane.columns ? { ...lane, columns, hidden: size - columns * ROWS + 1 } : lane;
}
