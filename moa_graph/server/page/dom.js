// Elements are built, never parsed: text from models cannot become markup.

/**
 * Make an element. `on…` properties are listeners, the others attributes; `null` leaves one out.
 * Children may come in lists: a long text has more of them than a call takes arguments.
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  appendAll(element, children.flat());
  return element;
}

export function appendAll(element, children) {
  for (const child of children) if (child !== null) element.append(child);
}

export const byId = (id) => document.getElementById(id);

export function show(element, visible) {
  element.hidden = !visible;
}

export const seconds = (value) => (value === null ? "" : `${value.toFixed(value < 99.95 ? 1 : 0)} s`);

export const count = (value) => value.toLocaleString("en");

/** Write an estimate of US dollars with as many digits as tell something. */
export function dollars(value) {
  if (value === 0) return "$0";
  return value < 0.0001 ? "<$0.0001" : `~$${value < 0.1 ? value.toFixed(4) : value.toFixed(2)}`;
}
