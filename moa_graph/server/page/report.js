// Open the report of a run in a new tab. A new tab cannot send the key, so its address grants access.

import { post } from "./api.js";

/**
 * @param {string} thread
 * @param {string | null} checkpoint
 */
export async function openReport(thread, checkpoint) {
  const tab = window.open("", "_blank"); // immediately, as browsers block a tab that opens later
  try {
    const { url = "" } = await post("/api/report", { thread, ...(checkpoint && { checkpoint }) });
    const address = new URL(url, location.href);
    if (tab) tab.location.replace(address);
    else location.assign(address);
  } catch (error) {
    tab?.close();
    throw error;
  }
}
