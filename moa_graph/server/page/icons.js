// Icons: paths on a grid of 16 x 16, in the colour of the adjacent text.

const SVG = "http://www.w3.org/2000/svg";

const LINES = {
  again: "M13.5 8A5.5 5.5 0 1 1 11.6 3.8M13.5 1.5v3.6H10",
  bad: "M3 3l10 10M13 3L3 13",
  clip: "M13.5 7.5l-5.6 5.6a3.2 3.2 0 0 1-4.5-4.5l6-6a2.1 2.1 0 0 1 3 3l-5.8 5.8a1 1 0 0 1-1.5-1.5l5-5",
  copy: "M5.5 5.5h8v8h-8zM10.5 2.5h-8v8",
  cut: "M1.5 5h13M1.5 10h5M9 7.5L7 13",
  down: "M3 6l5 5 5-5",
  drop: "M8 2a6 6 0 1 0 0 12A6 6 0 1 0 8 2M5 8h6",
  edit: "M2.5 13.5l.8-3.2 7.8-7.8 2.4 2.4-7.8 7.8z",
  fallback: "M2 4h7a4 4 0 0 1 0 8H4M7 9l-3 3 3 3",
  hedge: "M2 5h8M7.5 2.5L10 5 7.5 7.5M6 11h8M11.5 8.5L14 11l-2.5 2.5",
  hit: "M9 1.5L3.5 9H8l-1 5.5L12.5 7H8z",
  left: "M10 3L5 8l5 5",
  menu: "M2 4h12M2 8h12M2 12h12",
  more: "M3 8h.01M8 8h.01M13 8h.01",
  nest: "M2.5 2.5h11v11h-11zM6 6h4v4H6z",
  ok: "M2.5 8.5l3.6 3.7 7.4-8",
  page: "M3.5 1.5h6l3 3v10h-9zM6 8h4M6 11h4",
  plus: "M8 3v10M3 8h10",
  reuse: "M3 3v4a4 4 0 0 0 4 4h6M10 8l3 3-3 3",
  right: "M6 3l5 5-5 5",
  run: "M8 2a6 6 0 1 1-6 6",
  stop: "M8 2a6 6 0 1 0 0 12A6 6 0 1 0 8 2M6 6h4v4H6z",
  skip: "M3 3.5l5.5 4.5L3 12.5zM13 3v10",
  wait: "M8 2a6 6 0 1 0 0 12A6 6 0 1 0 8 2M8 5v3.4l2 1.4",
  warn: "M8 2l6.5 11.5h-13zM8 6.5v3M8 11.6v.01",
};

/** @typedef {keyof typeof LINES} IconName */

/**
 * Draw an icon. It is hidden from screen readers, as adjacent text has the same meaning.
 * @param {IconName} name
 */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", "i");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", LINES[name]);
  svg.append(path);
  svg.dataset.icon = name;
  return svg;
}

/**
 * Change the picture of an icon.
 * @param {SVGElement} svg
 * @param {IconName} name
 */
export function setIcon(svg, name) {
  if (svg.dataset.icon === name) return;
  svg.querySelector("path")?.setAttribute("d", LINES[name]);
  svg.dataset.icon = name;
}
