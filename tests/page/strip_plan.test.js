import assert from "node:assert/strict";
import { test } from "node:test";

import { planStrip } from "#page/strip_plan.js";

/**
 * Write a plan: `6` for an open layer of six tiles, `4+9` where nine of them have no place, `(2)` for a
 * folded layer, `(2-5)` for several.
 * @param {number} width
 * @param {number[]} sizes
 * @param {number} focus
 */
function plan(width, sizes, focus) {
  return planStrip(width, sizes, focus).lanes.map((lane) => {
    if (lane.kind === "fold") return lane.from === lane.to ? `(${lane.from})` : `(${lane.from}-${lane.to})`;
    const size = sizes[lane.layer - 1];
    return lane.hidden ? `${size - lane.hidden}+${lane.hidden}` : `${size}`;
  }).join(" ");
}

/** @type {[name: string, width: number, sizes: number[], focus: number, lanes: string][]} */
const PLANS = [
  ["two layers of six on a desktop", 1000, [6, 6], 2, "6 6"],
  ["three layers of eight on a desktop", 1000, [8, 8, 8], 3, "8 8 8"],
  ["two layers of six on a phone", 378, [6, 6], 2, "6 6"],
  ["two layers of six on the smallest phone", 308, [6, 6], 2, "(1) 6"],
  ["three layers of eight on a phone", 378, [8, 8, 8], 3, "(1) (2) 8"],
  ["three layers of eight on a phone, the first asked", 378, [8, 8, 8], 1, "8 (2) (3)"],
  ["three layers of eight on the smallest phone", 308, [8, 8, 8], 3, "(1-2) 8"],
  ["four layers of twelve on a phone", 378, [12, 12, 12, 12], 2, "(1) 7+5 (3-4)"],
  ["one layer of forty on a desktop", 1000, [40], 1, "29+11"],
  ["nine layers of six on a desktop", 1000, Array(9).fill(6), 9, "(1-5) 6 6 6 6"],
  ["no layer at all", 1000, [], 1, ""],
];

for (const [name, width, sizes, focus, lanes] of PLANS) {
  test(`the strip shows ${name} as ${lanes}`, () => assert.equal(plan(width, sizes, focus), lanes));
}

for (const width of [308, 378, 720, 1000, 1160, 1640]) {
  test(`at ${width} pixels, tiles are at least 44 wide, whatever the mixture`, () => {
    for (const sizes of [[6, 6], [8, 8, 8], [12, 12, 12, 12], Array(9).fill(3), [1], [50, 50]]) {
      for (let focus = 1; focus <= sizes.length; focus += 1) {
        const { lanes, phone } = planStrip(width, sizes, focus);
        const [ends, fold, gap] = phone ? [56, 48, 5] : [234, 64, 12];
        const gaps = (lanes.length + (phone ? 0 : 1)) * gap;
        const folds = lanes.filter(({ kind }) => kind === "fold").length;
        const columns = lanes.reduce((sum, lane) => sum + ("columns" in lane ? lane.columns : 0), 0);
        const each = (width - ends - gaps - folds * fold) / columns;
        assert.ok(each >= 44 - 3, `${each} pixels for ${sizes}, ${focus}`);
        assert.ok(lanes.some((lane) => "layer" in lane && lane.layer === focus));
      }
    }
  });
}
