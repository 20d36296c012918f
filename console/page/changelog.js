/**
 * The changelog as a picture: time from left to right, a lane a level, a bar a window, as high as its bytes; above
 * them rows a window, below them commits; gaps across all.
 */
/** @import { Picture, PictureFlush, PictureWindow, State } from "../state.ts" */
/** @import { Scale } from "./scale.js" */
import { byId, choice, drawn, element, lazily, say, table, typed } from "./dom.js";
import { bytes, clock, count, many, moment, shardName, short, span } from "./format.js";
import { linearScale, logScale } from "./scale.js";

const LANE = 46;
const LANE_GAP = 10;
const ROWS_LANE = 40;
const COMMITS_LANE = 18;
const LEFT = 84;
const RIGHT = 14;
const TOP = 8;
const AXIS = 22;
/** The foot of the bars, whose height is the logarithm of the bytes. */
const LEAST_BYTES = 500;
const NAMES = /** @type {const} */ (["5 min, as flushed", "5 min, merged", "1 hour", "1 day"]);
const SPANS = /** @type {const} */ ({ all: null, day: 86_400_000, hour: 3_600_000 });

/** @type {keyof typeof SPANS} */
let shownSpan = "all";
/** @type {State | null} */
let state = null;
let now = 0;
let drawnWidth = 0;
/** @type {ReturnType<typeof lazily>[]} */
let fills = [];

export function startChangelog() {
  choice(
    byId("changelog-span"),
    "span",
    [
      ["all", "All, by age"],
      ["day", "1 day"],
      ["hour", "1 hour"],
    ],
    (value) => {
      shownSpan = value in SPANS ? /** @type {keyof typeof SPANS} */ (value) : "all";
      redraw();
    },
  );
  fills = ["changelog-windows", "changelog-commits", "changelog-gaps"].map((id) =>
    lazily(typed(id, HTMLDetailsElement)),
  );
  new ResizeObserver(() => {
    if (Math.abs(drawnWidth - byId("changelog-picture").clientWidth) > 1) redraw();
  }).observe(byId("changelog-picture"));
}

/** @param {State} next @param {number} nowMs */
export function showChangelog(next, nowMs) {
  state = next;
  now = nowMs;
  redraw();
  const { picture, commits, log } = next;
  const [windows, entries, gaps] = fills;
  windows?.(() => windowsTable(picture));
  entries?.(() => commitsTable(commits));
  gaps?.(() => gapsTable(picture));
  say(summaryOf("changelog-commits"), `Commits: the newest ${count(commits.length)}`);
  say(
    summaryOf("changelog-gaps"),
    picture.gaps.length === 0 ? "Gaps: none" : `Gaps: ${count(picture.gaps.length)}`,
  );
  const gone =
    log === null
      ? []
      : [
          [log.rowsSuperseded, "superseded"],
          [log.rowsExpired, "expired"],
          [log.rowsForgotten, "forgotten"],
        ];
  say(
    byId("changelog-about"),
    log === null
      ? ""
      : [
          `${many(log.files, "live file")}, ${bytes(log.bytes)}`,
          `${count(log.rowsLive)} of ${count(log.rowsCommitted)} rows live`,
          ...gone.flatMap(([rows, name]) =>
            rows === 0 ? [] : [`${count(/** @type {number} */ (rows))} ${name}`],
          ),
        ].join(" · "),
  );
}

/** @param {string} id */
const summaryOf = (id) => /** @type {HTMLElement} */ (byId(id).querySelector("summary"));

function redraw() {
  const where = byId("changelog-picture");
  drawnWidth = where.clientWidth;
  if (state === null || drawnWidth === 0) return;
  where.replaceChildren(draw(state, now, drawnWidth));
  say(byId("changelog-info"), hint(state));
}

/** @param {State} shown */
const hint = ({ picture }) =>
  picture.windows.length === 0
    ? "No files yet."
    : "A bar's height is the logarithm of its bytes. Point at one for its numbers.";

/** @param {State} shown @param {number} nowMs @param {number} width */
function draw({ picture, commits, log }, nowMs, width) {
  const left = width < 560 ? 64 : LEFT;
  const right = width - RIGHT;
  const lanesTop = TOP + ROWS_LANE + LANE_GAP;
  const laneTop = (/** @type {number} */ level) => lanesTop + (3 - level) * (LANE + LANE_GAP);
  const commitsTop = laneTop(0) + LANE + LANE_GAP;
  const height = commitsTop + COMMITS_LANE + AXIS;
  const oldestMs = Math.min(
    nowMs,
    ...picture.windows.map(({ startMs }) => startMs),
    ...picture.gaps.map(({ detectedMs }) => detectedMs),
  );
  const spanMs = SPANS[shownSpan];
  const scale =
    spanMs === null
      ? logScale(oldestMs, nowMs, left, right)
      : linearScale(nowMs - spanMs, nowMs, left, right);
  const seen = picture.windows.filter(({ startMs, lengthMs }) => startMs + lengthMs > scale.fromMs);
  const most = Math.max(2 * LEAST_BYTES, ...seen.map((one) => one.bytes));
  const densest = Math.max(1e-9, ...seen.map(density));

  const svg = drawn("svg", {
    viewBox: `0 0 ${width} ${height}`,
    width,
    height,
    role: "img",
    "aria-label": describe(picture),
  });
  for (const { x, label } of scale.ticks) {
    svg.append(
      drawn("line", { class: "tick", x1: x, x2: x, y1: TOP, y2: height - AXIS }),
      drawn(
        "text",
        {
          class: "axis",
          x,
          y: height - 6,
          "text-anchor": x > right - 20 ? "end" : x < left + 20 ? "start" : "middle",
        },
        label,
      ),
    );
  }
  svg.append(laneName(left, TOP + ROWS_LANE / 2, "rows", "a window"));
  for (const level of [3, 2, 1, 0]) {
    const y = laneTop(level);
    const summed = picture.levels[level];
    const sub = summed === undefined || summed.files === 0 ? "empty" : bytes(summed.bytes);
    svg.append(
      drawn("line", { class: "floor", x1: left, x2: right, y1: y + LANE, y2: y + LANE }),
      laneName(left, y + LANE / 2, width < 560 ? `L${level}` : `level ${level}`, sub),
    );
  }
  svg.append(laneName(left, commitsTop + COMMITS_LANE / 2 - 5, "commits", ""));
  for (const one of seen) svg.append(...bars(one, scale, nowMs, laneTop(one.level), most, densest));
  for (const one of picture.flushes) {
    if (one.endMs > scale.fromMs) svg.append(flushBar(one, scale, laneTop(0), most));
  }
  for (const { atMs, operation, version, rows } of commits) {
    if (atMs < scale.fromMs) continue;
    const x = scale.x(atMs);
    const kind = operation === "OPTIMIZE" ? "merge" : rows > 0 ? "write" : "beat";
    const mark = drawn("line", {
      class: `commit ${kind}`,
      x1: x,
      x2: x,
      y1: commitsTop + (rows > 0 ? 0 : 6),
      y2: commitsTop + COMMITS_LANE - 4,
    });
    mark.append(drawn("title", {}, `version ${version}, ${operation}, ${count(rows)} rows, ${clock(atMs)}`));
    svg.append(mark);
  }
  for (const gap of picture.gaps) {
    if (gap.detectedMs < scale.fromMs) continue;
    const x = scale.x(gap.detectedMs);
    const group = drawn(
      "g",
      { class: "gap" },
      drawn("line", { x1: x, x2: x, y1: TOP, y2: height - AXIS }),
      drawn("path", { d: `M${x - 6} ${TOP - 6}h12l-6 10z` }),
    );
    group.append(drawn("title", {}, `gap in ${gap.shard}: ${gap.reason} (seen ${moment(gap.detectedMs)})`));
    svg.append(group);
  }
  if (log !== null && log.watermarkMs > scale.fromMs) {
    const x = scale.x(log.watermarkMs);
    svg.append(
      drawn(
        "g",
        { class: "watermark" },
        drawn("line", { x1: x, x2: x, y1: TOP, y2: height - AXIS }),
        drawn("title", {}, `watermark: complete up to ${clock(log.watermarkMs)}`),
      ),
    );
  }
  return svg;
}

/** @param {PictureWindow} window */
const density = ({ rows, lengthMs }) => rows / lengthMs;

/** @param {PictureWindow} one @param {Scale} scale @param {number} nowMs @param {number} y @param {number} most @param {number} densest */
function bars(one, scale, nowMs, y, most, densest) {
  const from = scale.x(one.startMs);
  const to = scale.x(Math.min(nowMs, one.startMs + one.lengthMs));
  const wide = Math.max(1.5, to - from - 1);
  const high = heightOf(one.bytes, most);
  const dense = Math.max(1.5, Math.sqrt(density(one) / densest) * (ROWS_LANE - 4));
  const words = wordsOf(one);
  const group = drawn(
    "g",
    { class: `window level-${one.level}` },
    drawn("rect", { class: "extent", x: from, y, width: wide, height: LANE }),
    ...(one.level === 0
      ? []
      : [
          drawn("rect", {
            class: "amount",
            x: from,
            y: y + LANE - high,
            width: wide,
            height: high,
            rx: Math.min(2, wide / 2),
          }),
        ]),
    drawn("title", {}, words),
  );
  tellAt(group, words);
  return [
    drawn("rect", {
      class: `rows level-${one.level}`,
      x: from,
      y: TOP + ROWS_LANE - dense,
      width: wide,
      height: dense,
    }),
    group,
  ];
}

/** @param {number} size @param {number} most */
const heightOf = (size, most) =>
  Math.max(3, (Math.log(Math.max(1, size / LEAST_BYTES)) / Math.log(most / LEAST_BYTES)) * (LANE - 4));

/** @param {PictureFlush} flush @param {Scale} scale @param {number} y @param {number} most */
function flushBar({ startMs, endMs, rows, bytes: size }, scale, y, most) {
  const from = scale.x(startMs);
  const wide = Math.max(1, scale.x(endMs) - from - 0.5);
  const high = heightOf(size, most);
  const words = `flush of ${clock(startMs)} to ${clock(endMs)}: ${many(rows, "row")}, ${bytes(size)}`;
  const group = drawn(
    "g",
    { class: "window level-0" },
    drawn("rect", { class: "amount flush", x: from, y: y + LANE - high, width: wide, height: high }),
    drawn("title", {}, words),
  );
  tellAt(group, words);
  return group;
}

/** @param {Element} group @param {string} words */
function tellAt(group, words) {
  group.addEventListener("pointerenter", () => say(byId("changelog-info"), words));
  group.addEventListener("pointerleave", () => {
    if (state !== null) say(byId("changelog-info"), hint(state));
  });
}

/** @param {PictureWindow} window */
const wordsOf = ({ level, startMs, lengthMs, files, rows, changes, bytes: size }) =>
  `level ${level}, ${moment(startMs)} for ${span(lengthMs)}: ${many(files, "file")}, ${count(rows)} rows for ${many(changes, "change")}, ${bytes(size)}`;

/** @param {number} left @param {number} y @param {string} name @param {string} sub */
function laneName(left, y, name, sub) {
  const narrow = left < LEFT;
  return drawn(
    "text",
    { class: "lane", x: left - 8, y: y + (sub === "" || narrow ? 4 : -1), "text-anchor": "end" },
    name,
    ...(sub === "" || narrow ? [] : [drawn("tspan", { class: "sub", x: left - 8, dy: 13 }, sub)]),
  );
}

/** @param {Picture} picture */
function describe({ levels, gaps }) {
  const words = levels
    .filter(({ files }) => files > 0)
    .map(
      ({ level, files, rows, bytes: size }) =>
        `level ${level}: ${many(files, "file")}, ${short(rows)} rows, ${bytes(size)}`,
    );
  const gapWords = gaps.length === 0 ? "no gaps" : many(gaps.length, "gap");
  return `Files of the changelog by level over time. ${words.length === 0 ? "No files yet" : words.join("; ")}; ${gapWords}.`;
}

const TABLE_ROWS_MAX = 200;

/** @param {Picture} picture */
const windowsTable = ({ windows }) =>
  table({
    caption: "Files by level and window, newest first",
    columns: ["Window", "Level", "Length", "Files", "Rows", "Changes", "Bytes"],
    numeric: [1, 3, 4, 5, 6],
    rows: windows
      .toSorted((a, b) => b.startMs - a.startMs || a.level - b.level)
      .slice(0, TABLE_ROWS_MAX)
      .map((one) => [
        moment(one.startMs),
        `${one.level}`,
        one.level === 0 ? NAMES[0] : span(one.lengthMs),
        count(one.files),
        count(one.rows),
        count(one.changes),
        bytes(one.bytes),
      ]),
  });

/** @param {State["commits"]} commits */
const commitsTable = (commits) =>
  table({
    caption: "Commits, newest first",
    columns: [
      "Version",
      "Time",
      "Operation",
      "Rows",
      "Changes",
      "Files added",
      "Files removed",
      "Bytes written",
    ],
    numeric: [0, 3, 4, 5, 6, 7],
    rows: commits.map((one) => [
      count(one.version),
      clock(one.atMs),
      one.operation === "WRITE" && one.filesAdded === 0 ? "watermark only" : one.operation,
      count(one.rows),
      count(one.changes),
      count(one.filesAdded),
      count(one.filesRemoved),
      bytes(one.bytes),
    ]),
  });

/** @param {Picture} picture */
const gapsTable = ({ gaps }) =>
  gaps.length === 0
    ? element("p", { class: "empty" }, "No change is known to be missing.")
    : table({
        caption: "Gaps, newest first",
        columns: ["Seen", "Shard", "Reason"],
        rows: gaps.map(({ detectedMs, shard, reason }) => [
          moment(detectedMs),
          element("span", { title: shard }, shardName(shard)),
          reason,
        ]),
      });
