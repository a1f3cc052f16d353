// The list of threads as a menu, for narrow windows.

import { byId } from "./dom.js";
import { icon } from "./icons.js";

export const isMenuOpen = () => document.body.classList.contains("menu-open");

/** @param {boolean} opened */
export function openMenu(opened) {
  const had = byId("threads").contains(document.activeElement);
  byId("menu").setAttribute("aria-expanded", String(opened));
  document.body.classList.toggle("menu-open", opened);
  if (opened) byId("threads").querySelector("button")?.focus();
  else if (had && byId("menu").checkVisibility?.()) byId("menu").focus();
}

byId("menu").append(icon("menu"));
byId("menu").addEventListener("click", () => openMenu(!isMenuOpen()));
document.addEventListener("click", (event) => {
  const inside = event.target instanceof Element && event.target.closest("#threads, #menu, dialog");
  if (isMenuOpen() && !inside && event.target instanceof Element && event.target.isConnected) openMenu(false);
});
