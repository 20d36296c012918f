/** What flows now: figures, and their course of late as charts. */
/** @import { Flow, State } from "../state.ts" */
/** @import uPlot from "uplot" */
import { element, byId, lazily, say, table } from "./dom.js";
import { bytes, clock, count, duration, many, rate, short, span } from "./format.js";
import { colour } from "./theme.js";

/**
 * @typedef {{ label: string, colour: string, dash?: number[], fill?: boolean, bars?: boolean, of: (flow: Flow) => readonly (number | null)[] }} Line
 * @typedef {{ id: string, title: string, unit: string, height: number, show: (value: number | null | undefined) => string, axis: (value: number) => string, steps?: number[], least: number, lines: readonly Line[], summary: (flow: Flow) => string }} Chart
 */

/** @type {readonly Chart[]} */
const CHARTS = [
  {
    id: "rates",
    title: "Rows a second",
    unit: "/s",
    height: 232,
    least: 1,
    show: rate,
    axis: rate,
    lines: [
      { label: "accepted", colour: "accepted", fill: true, of: ({ accepted }) => accepted },
      { label: "committed", colour: "committed", dash: [6, 3], of: ({ committed }) => committed },
      { label: "rejected", colour: "rejected", of: ({ rejected }) => rejected },
    ],
    summary: ({ accepted, committed, rejected }) =>
      `accepted at most ${rate(most(accepted))} a second, committed at most ${rate(most(committed))}, rejected at most ${rate(most(rejected))}`,
  },
  {
    id: "lag",
    title: "Watermark lag",
    unit: "",
    height: 92,
    least: 1000,
    show: duration,
    axis: (ms) => (ms === 0 ? "0" : span(ms)),
    steps: [0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600, 86_400, 604_800].map(
      (s) => s * 1000,
    ),
    lines: [{ label: "behind", colour: "lag", fill: true, of: ({ lagMs }) => lagMs }],
    summary: ({ lagMs }) => `at most ${duration(most(lagMs))} behind`,
  },
  {
    id: "errors",
    title: "Retries and conflicts",
    unit: "",
    height: 92,
    least: 1,
    show: count,
    axis: (value) => (Number.isInteger(value) ? count(value) : ""),
    lines: [{ label: "in each step", colour: "rejected", bars: true, of: ({ errors }) => errors }],
    summary: ({ errors }) => {
      const sum = errors.reduce((/** @type {number} */ total, value) => total + (value ?? 0), 0);
      return sum === 0 ? "none" : `${count(sum)} in all`;
    },
  },
];

/** @param {readonly (number | null)[]} values */
const most = (values) => values.reduce((/** @type {number} */ top, value) => Math.max(top, value ?? 0), 0);

/** @type {{ remake: () => void, show: (flow: Flow) => void }[]} */
let charts = [];

export function startFlow() {
  charts = CHARTS.map((chart) => openChart(chart));
}

export function recolourFlow() {
  for (const chart of charts) chart.remake();
}

/** @param {State} state */
export function showFlow({ flow }) {
  for (const chart of charts) chart.show(flow);
}

/** @param {State} state @param {number} nowMs */
export function showTiles({ flow, log, bufferedBytes, picture, workers }, nowMs) {
  const { now } = flow;
  const lagMs = log === null || log.watermarkMs === 0 ? null : Math.max(0, nowMs - log.watermarkMs);
  const errors = now.errors;
  const gaps = picture.gaps.length;
  /** Nothing is said of a log that was not read yet. @param {string} more */
  const once = (more) => (log === null ? "" : more);
  tile(
    "accepted",
    "Accepted",
    rate(now.acceptedPerSecond),
    "/s",
    once(`${short(log?.changes)} changes in all`),
  );
  tile(
    "committed",
    "Committed",
    rate(now.committedPerSecond),
    "/s",
    once(`${short(log?.rowsCommitted)} rows in all`),
  );
  tile(
    "rejected",
    "Rejected",
    rate(now.rejectedPerSecond),
    "/s",
    once(now.rejectedPerSecond === null ? "not known of every file" : "refused at the edge"),
    (now.rejectedPerSecond ?? 0) > 0,
  );
  tile(
    "lag",
    "Watermark lag",
    ...unitOf(duration(lagMs)),
    once(lagMs === null ? "no watermark yet" : `complete up to ${clock(log?.watermarkMs ?? 0)}`),
  );
  tile(
    "errors",
    "Errors",
    count(errors),
    "",
    errors === null ? "this process counts none" : `retries and conflicts in ${span(now.errorsSpanMs)}`,
    (errors ?? 0) > 0,
  );
  tile(
    "gaps",
    "Gaps",
    log === null ? "–" : count(gaps),
    "",
    once(gaps === 0 ? "nothing is missing" : "changes that could not be read"),
    gaps > 0,
  );
  tile(
    "held",
    "Buffered",
    ...unitOf(bytes(bufferedBytes)),
    workers === null ? "" : `${many(workers, "worker")} alive`,
  );
}

/** @param {string} text @returns {[string, string]} */
function unitOf(text) {
  const at = text.indexOf(" ");
  return at < 0 || text.indexOf(" ", at + 1) > 0 ? [text, ""] : [text.slice(0, at), text.slice(at)];
}

/** @param {string} id @param {string} name @param {string} value @param {string} unit @param {string} more @param {boolean} [bad] */
function tile(id, name, value, unit, more, bad = false) {
  let made = document.getElementById(`tile-${id}`);
  if (made === null) {
    made = element(
      "div",
      { class: "tile", id: `tile-${id}` },
      element("dt", {}, name),
      element("dd", { class: "value" }, element("b"), element("span")),
      element("dd", { class: "more" }),
    );
    byId("tiles").append(made);
  }
  made.classList.toggle("bad", bad);
  const [, figure, rest] = /** @type {HTMLElement[]} */ ([...made.children]);
  if (figure === undefined || rest === undefined) return;
  const [number, mark] = /** @type {HTMLElement[]} */ ([...figure.children]);
  if (number !== undefined) say(number, value);
  if (mark !== undefined) say(mark, unit);
  say(rest, more);
}

/** @param {Chart} chart */
function openChart(chart) {
  const plot = element("div", { class: "plot", role: "img" });
  const summary = element("p", { class: "hidden" });
  const values = chart.lines.map(() => element("b"));
  const legend = element(
    "p",
    { class: "legend", "aria-hidden": true },
    ...chart.lines.map((line, at) =>
      element(
        "span",
        { class: `key ${line.colour}${line.dash === undefined ? "" : " dashed"}` },
        line.label,
        " ",
        values[at],
      ),
    ),
  );
  const details = element("details", {}, element("summary", {}, "As a table"));
  const fill = lazily(details);
  const title = element("h3", { id: `chart-${chart.id}` }, chart.title);
  byId("charts").append(
    element(
      "figure",
      { class: `chart ${chart.id}`, "aria-labelledby": `chart-${chart.id}` },
      element("figcaption", {}, title, legend),
      plot,
      summary,
      details,
    ),
  );
  /** @type {Flow | null} */
  let flow = null;
  /** @type {uPlot | null} */
  let drawing = null;

  const data = () =>
    /** @type {uPlot.AlignedData} */ ([
      (flow?.endsMs ?? []).map((ms) => ms / 1000),
      ...chart.lines.map((line) => (flow === null ? [] : line.of(flow))),
    ]);
  const tell = () => {
    const at = drawing?.cursor.idx;
    chart.lines.forEach((line, index) => {
      const course = flow === null ? [] : line.of(flow);
      const value = typeof at === "number" ? course[at] : course.findLast((one) => one !== null);
      const where = values[index];
      if (where !== undefined)
        say(where, `${chart.show(value)}${value === null || value === undefined ? "" : chart.unit}`);
    });
  };
  const remake = () => {
    drawing?.destroy();
    drawing = plot.clientWidth === 0 ? null : draw(chart, plot, data(), tell);
  };
  new ResizeObserver(() => {
    if (drawing === null) remake();
    else if (Math.abs(drawing.width - plot.clientWidth) > 1)
      drawing.setSize({ width: plot.clientWidth, height: chart.height });
  }).observe(plot);

  return {
    remake,
    show: (/** @type {Flow} */ next) => {
      flow = next;
      if (drawing === null) remake();
      else drawing.setData(data());
      tell();
      const first = next.endsMs[0] ?? 0;
      const words = `${chart.title} of the last ${span(Math.max(1000, (next.endsMs.at(-1) ?? 0) - first))}: ${chart.summary(next)}.`;
      plot.setAttribute("aria-label", words);
      say(summary, words);
      fill(() => asTable(chart, next));
    },
  };
}

const ROWS_MAX = 60;

/** @param {Chart} chart @param {Flow} flow */
function asTable(chart, flow) {
  const courses = chart.lines.map((line) => line.of(flow));
  return table({
    caption: `${chart.title}, newest first, in steps of ${span(flow.stepMs)}`,
    columns: ["Up to", ...chart.lines.map(({ label }) => label)],
    numeric: chart.lines.map((_, at) => at + 1),
    rows: flow.endsMs
      .map((endMs, at) => [
        clock(endMs),
        ...courses.map((course) => `${chart.show(course[at])}${course[at] === null ? "" : chart.unit}`),
      ])
      .toReversed()
      .slice(0, ROWS_MAX),
  });
}

/** The axis ends with a mark where its steps are given. @param {Chart} chart @param {number} top */
const topOf = ({ least, steps = [] }, top) =>
  Math.max(least, steps.find((step) => step >= top * 1.02) ?? top * 1.12);

/** @param {Chart} chart @param {HTMLElement} where @param {uPlot.AlignedData} data @param {() => void} moved */
function draw(chart, where, data, moved) {
  const Plot = /** @type {{ uPlot?: typeof uPlot }} */ (/** @type {unknown} */ (globalThis)).uPlot;
  // A browser that it does not start in still has the figures and the tables.
  if (typeof Plot !== "function") return null;
  const axis = {
    stroke: colour("faint"),
    font: "11px system-ui, sans-serif",
    grid: { stroke: colour("grid"), width: 1 },
    ticks: { show: false },
  };
  return new Plot(
    {
      width: where.clientWidth,
      height: chart.height,
      cursor: { sync: { key: "flow" }, y: false, points: { size: 6 }, drag: { x: false, y: false } },
      legend: { show: false },
      padding: [8, 22, 0, 0],
      hooks: { setCursor: [moved] },
      scales: { y: { range: (_plot, _least, top) => [0, topOf(chart, top ?? 0)] } },
      axes: [
        {
          ...axis,
          space: 64,
          size: 22,
          values: (_plot, marks) =>
            marks.map((s, at) =>
              (marks[1] ?? s) - (marks[0] ?? s) >= 60 || at < 0
                ? clock(s * 1000).slice(0, 5)
                : clock(s * 1000),
            ),
        },
        {
          ...axis,
          size: 48,
          space: 28,
          ...(chart.steps === undefined ? {} : { incrs: chart.steps }),
          values: (_plot, marks) => marks.map((value) => chart.axis(value)),
        },
      ],
      series: [
        {},
        ...chart.lines.map((line) => ({
          label: line.label,
          stroke: colour(line.colour),
          width: 1.75,
          points: { show: false },
          spanGaps: false,
          ...(line.dash === undefined ? {} : { dash: line.dash }),
          ...(line.fill === true || line.bars === true ? { fill: colour(`${line.colour}-fill`) } : {}),
          ...(line.bars === true && Plot.paths.bars !== undefined
            ? { paths: Plot.paths.bars({ size: [0.8, 12] }) }
            : {}),
        })),
      ],
    },
    data,
    where,
  );
}
