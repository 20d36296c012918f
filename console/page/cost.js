/** What it has cost so far, and what it comes to in a month at the rate of late. */
/** @import { Cost, State } from "../state.ts" */
import { byId, element, say, table } from "./dom.js";
import { bytes, count, duration, rate, usd, usdRange } from "./format.js";

let shown = "";

/** @param {State} state @param {number} nowMs */
export function showCost({ cost }, nowMs) {
  say(
    byId("cost-about"),
    `List prices of ${cost.pricesAsOf}, in US dollars, without discounts or free tiers`,
  );
  const text = JSON.stringify(cost);
  const body = byId("cost-body");
  // What is open or scrolled stays so while nothing changes; counters alone move too often to redraw for.
  const isBusy = body.contains(document.activeElement) || body.matches(":hover");
  if (text === shown || (isBusy && shown !== "")) return;
  shown = text;
  body.replaceChildren(monthCard(cost), soFarCard(cost, nowMs));
}

/** @param {Cost} cost */
function monthCard({ month }) {
  const title = element("h3", {}, "A month at this rate");
  if (month === null) {
    return element(
      "div",
      { class: "card" },
      title,
      element("p", { class: "figure" }, "–"),
      element("p", { class: "about" }, "Not known before some changes have been committed for a while."),
    );
  }
  const most = Math.max(1e-9, ...month.lines.map(({ highUsd }) => highUsd));
  const lines = month.lines.map(({ what, formula, lowUsd, highUsd }) => {
    const bar = element("span", { class: "bar-track", "aria-hidden": true });
    const level = element("meter", { min: 0, max: most, value: highUsd, "aria-hidden": true, tabindex: -1 });
    bar.append(level);
    return [element("span", {}, what, element("small", {}, formula)), bar, usdRange(lowUsd, highUsd)];
  });
  return element(
    "div",
    { class: "card", id: "cost-month" },
    title,
    element("p", { class: "figure" }, usdRange(month.lowUsd, month.highUsd)),
    element(
      "p",
      { class: "about" },
      `${month.name}, compactor included: ${rate(month.changesPerSecond)} changes a second, measured over ${duration(month.spanMs)}`,
    ),
    table({
      caption: "The month by what it is for",
      columns: ["For", "Share", "A month"],
      numeric: [2],
      rows: lines,
    }),
    ...(month.dominatedBy.length === 0
      ? []
      : [element("p", { class: "about" }, `Dominated by ${month.dominatedBy.join(", ")}.`)]),
  );
}

/** @param {Cost} cost @param {number} nowMs */
function soFarCard({ calls, callsSinceMs, callsUsd, storedBytes, storedUsdMonth }, nowMs) {
  const rows = (calls ?? [])
    .toSorted((a, b) => b.usd - a.usd || b.times - a.times)
    .map(({ call, times, usd: price, monthUsd }) => [call, count(times), usd(price), usd(monthUsd)]);
  return element(
    "div",
    { class: "card" },
    element("h3", {}, "So far"),
    element("p", { class: "figure" }, callsUsd === null ? "–" : usd(callsUsd)),
    element(
      "p",
      { class: "about" },
      callsSinceMs === null
        ? "The process that serves this page makes no calls of its own that are counted."
        : `for the calls that this compactor made since it started, ${duration(Math.max(0, nowMs - callsSinceMs))} ago`,
    ),
    ...(rows.length === 0
      ? []
      : [
          table({
            caption: "Calls so far",
            columns: ["Call", "Times", "So far", "A month"],
            numeric: [1, 2, 3],
            rows,
          }),
        ]),
    element(
      "p",
      { class: "about" },
      `${bytes(storedBytes)} are live in the changelog: ${usd(storedUsdMonth)} a month to keep.`,
    ),
  );
}
