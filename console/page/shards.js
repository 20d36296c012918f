/** Shards as a lineage: a bar from where each began to how far it is read; what is not read yet, up to now, is its lag. */
/** @import { Lineage, LineageShard, State } from "../state.ts" */
import { byId, drawn, element, lazily, say, table, typed } from "./dom.js";
import { clock, count, duration, many, moment, shardName } from "./format.js";
import { linearScale } from "./scale.js";

const LINE = 26;
const BAR = 12;
const TOP = 10;
const AXIS = 24;
const LEFT = 8;
const HOUR_MS = 3_600_000;
/** Shards end after some four hours; one that begun nobody knows when is shown for so long. */
const ROOT_MS = 4 * HOUR_MS;
/** Further behind than this, somebody should look. */
const LATE_MS = 15 * 60_000;

/** @type {State | null} */
let state = null;
let now = 0;
let drawnWidth = 0;
/** @type {ReturnType<typeof lazily> | null} */
let fill = null;

export function startShards() {
  fill = lazily(typed("shards-table", HTMLDetailsElement));
  new ResizeObserver(() => {
    if (Math.abs(drawnWidth - byId("shards-picture").clientWidth) > 1) redraw();
  }).observe(byId("shards-picture"));
}

/** @param {State} next @param {number} nowMs */
export function showShards(next, nowMs) {
  state = next;
  now = nowMs;
  redraw();
  const { lineage } = next;
  const open = lineage.shards.filter(({ done, waiting }) => !done && !waiting);
  const worst = open.reduce((most, { atMs }) => Math.max(most, nowMs - atMs), 0);
  say(
    byId("shards-about"),
    lineage.shards.length === 0
      ? "none known yet"
      : [
          `${count(lineage.open)} open, the furthest ${duration(Math.max(0, worst))} behind`,
          `${count(lineage.done)} read to the end`,
          ...(lineage.hidden > 0 ? [`${count(lineage.hidden)} not drawn`] : []),
        ].join(" · "),
  );
  fill?.(() => shardsTable(lineage, nowMs));
}

function redraw() {
  const where = byId("shards-picture");
  drawnWidth = where.clientWidth;
  if (state === null || drawnWidth === 0) return;
  if (state.lineage.shards.length === 0)
    where.replaceChildren(element("p", { class: "empty" }, "No shard has been read yet."));
  else where.replaceChildren(draw(state.lineage, state.log?.createdMs ?? null, now, drawnWidth));
}

/** @param {Lineage} lineage @param {number | null} createdMs @param {number} nowMs @param {number} width */
function draw({ shards, lines, open }, createdMs, nowMs, width) {
  const labels = width < 560 ? 112 : 160;
  const right = width - labels;
  const height = TOP + lines * LINE + AXIS;
  const begins = shards.map(({ startMs, atMs, done }) => startMs ?? (done ? atMs - HOUR_MS : atMs));
  const firstMs = Math.max(Math.min(...begins, nowMs - 10 * 60_000), createdMs ?? 0);
  const fromMs = shards.some(({ startMs }) => startMs !== null)
    ? firstMs
    : Math.max(createdMs ?? 0, Math.min(firstMs, nowMs - ROOT_MS));
  const scale = linearScale(Math.min(fromMs, nowMs - 60_000), nowMs, LEFT, right);
  const y = (/** @type {number} */ line) => TOP + line * LINE + LINE / 2;

  const svg = drawn("svg", {
    viewBox: `0 0 ${width} ${height}`,
    width,
    height,
    role: "img",
    "aria-label": `Lineage of ${many(shards.length, "shard")}, ${count(open)} of them open; the table below has the same.`,
  });
  svg.append(
    drawn(
      "defs",
      {},
      drawn(
        "pattern",
        { id: "behind", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
        drawn("line", { class: "hatch", x1: 0, x2: 0, y1: 0, y2: 6 }),
      ),
    ),
  );
  for (const { x, label } of scale.ticks) {
    svg.append(
      drawn("line", { class: "tick", x1: x, x2: x, y1: TOP, y2: height - AXIS }),
      drawn(
        "text",
        { class: "axis", x, y: height - 7, "text-anchor": x > right - 20 ? "end" : "middle" },
        label,
      ),
    );
  }
  const byShard = new Map(shards.map((shard) => [shard.id, shard]));
  for (const shard of shards) {
    const parent = byShard.get(shard.parent ?? "");
    if (parent === undefined || parent.line === shard.line) continue;
    const [x, from, to] = [scale.x(parent.atMs), y(parent.line), y(shard.line)];
    svg.append(drawn("path", { class: "descent", d: `M${x - 3} ${from + BAR / 2}V${to - 4}q0 4 4 4` }));
  }
  for (const shard of shards) svg.append(...bar(shard, scale, nowMs, y(shard.line), right));
  return svg;
}

/** @param {LineageShard} shard @param {ReturnType<typeof linearScale>} scale @param {number} nowMs @param {number} y @param {number} right */
function bar(shard, scale, nowMs, y, right) {
  const { id, startMs, atMs, done, waiting, scan } = shard;
  const from = startMs === null ? LEFT : scale.x(startMs);
  const to = Math.max(from + 2, scale.x(atMs));
  const lagMs = Math.max(0, nowMs - atMs);
  const late = !done && !waiting && lagMs > LATE_MS;
  const behind = waiting ? "waits for its parent" : `${duration(lagMs)} behind`;
  const kind = done ? "done" : late ? "late" : "open";
  const words = `${id}: ${done ? `read to its end, ${moment(atMs)}` : behind}${scan ? ", a segment of the bootstrap" : ""}`;
  const group = drawn(
    "g",
    { class: `shard ${kind}` },
    drawn("rect", {
      class: "read",
      x: from + 1,
      y: y - BAR / 2,
      width: Math.max(2, to - from - 2),
      height: BAR,
      rx: 3,
    }),
  );
  if (startMs === null)
    group.append(
      drawn("path", { class: "before", d: `M${from} ${y - BAR / 2 - 1}l4 3.500l-4 3.500l4 3.500l-4 3.500` }),
    );
  const name = shardName(id);
  if (done) {
    if (to - from > name.length * 7 + 12)
      group.append(drawn("text", { class: "inside", x: from + 7, y: y + 3.5 }, name));
  } else {
    const width = scale.x(nowMs) - to;
    if (width >= 1 && !waiting)
      group.append(drawn("rect", { class: "lag", x: to, y: y - BAR / 2, width, height: BAR }));
    group.append(
      drawn(
        "text",
        { class: "name", x: right + 8, y: y + 4 },
        `${name} `,
        drawn("tspan", { class: "sub" }, waiting ? "waits" : duration(lagMs)),
      ),
    );
  }
  group.append(drawn("title", {}, words));
  return [group];
}

/** @param {Lineage} lineage @param {number} nowMs */
const shardsTable = ({ shards }, nowMs) =>
  table({
    caption: "Shards, the furthest behind first",
    columns: ["Shard", "Follows", "State", "Behind", "Read up to"],
    numeric: [3],
    rows: shards
      .toSorted((a, b) => Number(a.done) - Number(b.done) || a.atMs - b.atMs)
      .map(({ id, parent, done, waiting, scan, atMs }) => [
        id,
        parent ?? "–",
        `${done ? "read to its end" : waiting ? "waits for its parent" : "open"}${scan ? ", bootstrap" : ""}`,
        done || waiting ? "–" : duration(Math.max(0, nowMs - atMs)),
        `${moment(atMs).slice(0, 10)} ${clock(atMs)}`,
      ]),
  });
