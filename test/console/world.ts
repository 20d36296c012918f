/**
 * A changelog that has seen three weeks: days, hours and five minutes that were merged, flushes of the last half hour,
 * the last of them with events in them, shards that ended and split, a gap. All as of `NOW`: the same each time.
 *
 * Merged files and older flushes are in the log and not in the store: the console does not read them.
 */
import { seq } from "../../bench/laid.ts";
import type { Change, UploadedFile } from "../../compactor/plan.ts";
import { addAction, flushKey, logAction, planCommit, planCreate, sound } from "../../compactor/plan.ts";
import type { OpenStage } from "../../compactor/stage.ts";
import { openStages } from "../../compactor/stage.ts";
import type { Action, Commit } from "../../shared/delta.ts";
import { encodeCommit } from "../../shared/delta.ts";
import { commitKey, dataKey } from "../../shared/keys.ts";
import type { Position } from "../../shared/position.ts";
import type { Row } from "../../shared/row.ts";
import { parseSetsum } from "../../shared/setsum.ts";
import type { DataFile, Gap, Snapshot } from "../../shared/snapshot.ts";
import { NO_ROWS, addTotals } from "../../shared/snapshot.ts";
import type { ObjectStore } from "../../shared/store.ts";
import type { Level } from "../../shared/window.ts";
import { LEVEL_MS, windowStartMs } from "../../shared/window.ts";
import type { Random } from "../fakes/random.ts";
import { randomOf } from "../fakes/random.ts";

export const NOW = Date.UTC(2026, 10, 23, 15, 47, 3, 400);
export const ROOT = "s3://acme-changelog/varve/eu-west-1/events";
export const HOSTILE = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`;

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const FLUSH_MS = 10_000;
const DAYS = 19;
const FLUSHES_FROM_MS = 47 * MINUTE_MS;
const REAL_FROM_MS = 6 * MINUTE_MS;
const STREAM = "arn:aws:dynamodb:eu-west-1:0:table/events/stream/2026-11-04T00:00:00.000";

type Log = {
  readonly snapshot: () => Snapshot;
  readonly change: (change: Omit<Change, "gaps"> & { gaps?: readonly Gap[] }, nowMs: number) => Promise<void>;
  readonly merge: (level: Level, startMs: number, nowMs: number) => Promise<void>;
};

export async function layWorld(store: ObjectStore): Promise<Snapshot> {
  const random = randomOf(7);
  const log = await openLog(store, windowStartMs(3, NOW) - DAYS * DAY_MS + 9 * HOUR_MS);
  const shards = openShards(log);
  const openStage = openStages(2 ** 25);
  await layPast(log, shards, random);
  for (let ms = windowStartMs(1, NOW - FLUSHES_FROM_MS) + 2 * FLUSH_MS; ms <= NOW - 3_000; ms += FLUSH_MS) {
    const file =
      ms < NOW - REAL_FROM_MS
        ? flushed(ms, random)
        : await realFlush(store, openStage, ms, shards.rowShard, random);
    await log.change({ files: file, positions: shards.at(ms), discoveredMs: ms - 700 }, ms);
    const ended = windowStartMs(1, ms) - LEVEL_MS[1];
    if (Math.floor((ms - windowStartMs(1, ms)) / FLUSH_MS) === 2) await log.merge(1, ended, ms + 900);
  }
  return log.snapshot();
}

async function openLog(store: ObjectStore, startMs: number): Promise<Log> {
  const put = async (commit: Commit, next: Snapshot): Promise<void> => {
    const body = new TextEncoder().encode(encodeCommit(commit));
    await store.put(commitKey(commit.version), body, { kind: "if-absent" });
    snapshot = next;
  };
  const created = planCreate("world", { txnId: "t0", nowMs: startMs });
  let snapshot = created.next;
  await put(created.commit, created.next);
  return {
    snapshot: () => snapshot,
    change: async (change, nowMs) => {
      const plan = planCommit(
        snapshot,
        { gaps: [], ...change },
        { txnId: `t${snapshot.version + 1}`, nowMs },
      );
      if (plan.kind === "stale") throw new Error(plan.why);
      await put(plan.commit, plan.next);
    },
    merge: async (level, startMsOf, nowMs) => {
      const inputs = [...snapshot.files.values()].filter(
        (file) =>
          file.level < level &&
          file.windowStartMs >= startMsOf &&
          file.windowStartMs < startMsOf + LEVEL_MS[level],
      );
      if (inputs.length < 2) return;
      const timestampMs = Math.max(nowMs, snapshot.log.committedMs + 1);
      const actions: Action[] = [
        ...inputs.map(({ path }) => ({ remove: { path, deletionTimestamp: nowMs, dataChange: false } })),
        addAction(merged(level, startMsOf, inputs), nowMs, false),
        logAction({ ...snapshot.log, committedMs: timestampMs }),
      ];
      const info = {
        timestamp: nowMs,
        inCommitTimestamp: timestampMs,
        operation: "OPTIMIZE",
        txnId: `m${timestampMs}`,
      };
      const { commit, next } = sound(snapshot, { version: snapshot.version + 1, info, actions });
      await put(commit, next);
    },
  };
}

function merged(level: Level, startMs: number, inputs: readonly DataFile[]): UploadedFile {
  const totals = inputs.reduce((sum, file) => addTotals(sum, file.totals), NO_ROWS);
  const bytes = inputs.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const first = Math.min(...inputs.map(({ minChangedMs }) => minChangedMs));
  const last = Math.max(...inputs.map(({ maxChangedMs }) => maxChangedMs));
  const changes = inputs.reduce((sum, file) => sum + file.changes, 0);
  return uploaded(level, startMs, Math.round(bytes * 0.7), first, {
    totals,
    changes,
    stats: stats(totals.rows, first, last),
  });
}

const stats = (rows: number, first: number, last: number): string =>
  JSON.stringify({
    numRecords: rows,
    minValues: { changed_ms: first },
    maxValues: { changed_ms: last },
    nullCount: {},
  });

let names = 0;
const uploaded = (
  level: Level,
  startMs: number,
  sizeBytes: number,
  minChangedMs: number,
  file: Omit<UploadedFile["file"], "sha256">,
): UploadedFile => ({
  path: dataKey(level, startMs, `w${(names += 1)}`),
  level,
  windowStartMs: startMs,
  sizeBytes,
  minChangedMs,
  file: { ...file, sha256: "0".repeat(64) },
});

/** A file of which only the log knows. */
function told(level: Level, fromMs: number, toMs: number, rows: number, bytesPerRow: number): UploadedFile {
  const sum = parseSetsum((rows * 977).toString(16).padStart(32, "0")) ?? NO_ROWS.sum;
  return uploaded(level, windowStartMs(level, fromMs), Math.round(rows * bytesPerRow), fromMs, {
    totals: { rows, sum },
    changes: Math.round(rows * 1.08),
    stats: stats(rows, fromMs, toMs),
  });
}

/** A day's course: quiet at night, busy at noon. */
const busy = (ms: number): number => 1 + 0.75 * Math.sin(((ms % DAY_MS) / DAY_MS) * 2 * Math.PI - 2);

async function layPast(log: Log, shards: Shards, random: Random): Promise<void> {
  const today = windowStartMs(3, NOW);
  for (let day = DAYS - 1; day > 0; day -= 1) {
    const start = today - day * DAY_MS;
    const rows = random.between(1_400_000, 2_300_000) * (day % 7 === 1 || day % 7 === 2 ? 0.55 : 1);
    const file = told(3, start + 1, start + DAY_MS - 1, Math.round(rows), 84);
    await log.change(
      { files: [file], positions: shards.at(start + DAY_MS), discoveredMs: start + DAY_MS },
      start + DAY_MS,
    );
  }
  const gap = {
    shard: "shardId-00000001795392000000-7c1e90aa",
    after: "4100000000001",
    reason: "records after it were trimmed before they were read",
    detectedMs: NOW - 9.4 * HOUR_MS,
  };
  for (let start = today; start + HOUR_MS <= NOW; start += HOUR_MS) {
    const file = told(
      2,
      start + 1,
      start + HOUR_MS - 1,
      Math.round(78_000 * busy(start) + random.between(0, 9_000)),
      92,
    );
    const gaps = gap.detectedMs > start && gap.detectedMs <= start + HOUR_MS ? [gap] : [];
    await log.change(
      { files: [file], gaps, positions: shards.at(start + HOUR_MS), discoveredMs: start + HOUR_MS },
      start + HOUR_MS,
    );
  }
  for (
    let start = windowStartMs(2, NOW);
    start + LEVEL_MS[1] <= NOW - FLUSHES_FROM_MS;
    start += LEVEL_MS[1]
  ) {
    const end = start + LEVEL_MS[1];
    const file = told(1, start + 1, end - 1, Math.round(6_500 * busy(start) + random.between(0, 900)), 105);
    await log.change({ files: [file], positions: shards.at(end), discoveredMs: end }, end);
  }
}

function flushed(ms: number, random: Random): UploadedFile[] {
  const rows = Math.round(230 + 90 * Math.sin(ms / 170_000) + random.between(0, 60));
  return [told(0, ms - FLUSH_MS - 900, ms - 1_800, rows, 130)];
}

type Shards = {
  /** Where each stands at a time; those that end there are done, and their children known. */
  readonly at: (ms: number) => ReadonlyMap<string, Position>;
  readonly rowShard: string;
};

/** `[name, parent, begins, ends]`, hours before now; four live on, two of them from one parent. */
const LINEAGE: readonly (readonly [string, string | null, number, number])[] = [
  ["1795305600000-11d0a3f2", null, 480, 23.1],
  ["1795305600000-52bb07e1", null, 480, 21.8],
  ["1795392000000-7c1e90aa", "1795305600000-11d0a3f2", 23.1, 19.2],
  ["1795392000000-0be4412d", "1795305600000-52bb07e1", 21.8, 17.7],
  ["1795406400000-93f5d6c8", "1795392000000-7c1e90aa", 19.2, 15.1],
  ["1795406400000-a8d21b70", "1795392000000-0be4412d", 17.7, 13.6],
  ["1795420800000-2f6ac95e", "1795406400000-93f5d6c8", 15.1, 11.3],
  ["1795420800000-e41c7d03", "1795406400000-a8d21b70", 13.6, 9.5],
  ["1795435200000-64b8f1d9", "1795420800000-2f6ac95e", 11.3, 7.2],
  ["1795435200000-c90d52e7", "1795420800000-2f6ac95e", 11.3, 7.9],
  ["1795435200000-18e3ba46", "1795420800000-e41c7d03", 9.5, 5.4],
  ["1795449600000-d7a10c3b", "1795435200000-64b8f1d9", 7.2, 3.1],
  ["1795449600000-3f59e8c4", "1795435200000-c90d52e7", 7.9, 3.8],
  ["1795449600000-85c2d9f0", "1795435200000-18e3ba46", 5.4, 1.3],
  ["1795464000000-b1e67a2d", "1795449600000-d7a10c3b", 3.1, -1],
  ["1795464000000-40d8c5fa", "1795449600000-3f59e8c4", 3.8, -1],
  ["1795464000000-f27b3e91", "1795449600000-85c2d9f0", 1.3, -1],
  ["1795464000000-6ca9042e", "1795449600000-85c2d9f0", 1.3, -1],
];
const LAG_MS = [1_300, 1_900, 1_500, 4_200];

function openShards(log: Log): Shards {
  const name = (short: string): string => `shardId-0000000${short}`;
  let moves = 0;
  return {
    rowShard: name(LINEAGE.at(-4)?.[0] ?? ""),
    at: (ms) => {
      const known = log.snapshot().shards;
      const positions = new Map<string, Position>();
      for (const [index, [short, parentShort, begins, ends]] of LINEAGE.entries()) {
        const [beginMs, endMs] = [NOW - begins * HOUR_MS, NOW - ends * HOUR_MS];
        const shard = name(short);
        const before = known.get(shard);
        if (beginMs > ms || before?.done === true) continue;
        const done = endMs <= ms;
        const lag = LAG_MS[index % LAG_MS.length] ?? 0;
        positions.set(shard, {
          from: before?.seq ?? null,
          seq: seq((moves += 1) * 1_000_003),
          at: Math.max(before?.at ?? 0, done ? endMs : ms - lag),
          parent: parentShort === null ? null : name(parentShort),
          done,
          stream: STREAM,
        });
      }
      return positions;
    },
  };
}

const NAMES = [
  "Order Completed",
  "Product Viewed",
  "Product Added",
  "Signed Up",
  "Checkout Started",
  "Search Performed",
];
const PEOPLE = ["ada", "grace", "linus", "barbara", "edsger", "katherine", "alan", "radia"];
const REASONS = [
  ["missing_user", "an event needs a userId or an anonymousId: add one"],
  [
    "event_too_large",
    "an event may have 32768 bytes of JSON (65536 with the batch's context): send less in it",
  ],
  ["plan_violation", "Order Completed does not fit the source's plan: total must be a number"],
] as const;

async function realFlush(
  store: ObjectStore,
  openStage: OpenStage,
  ms: number,
  shard: string,
  random: Random,
): Promise<UploadedFile[]> {
  const count = Math.round(230 + 90 * Math.sin(ms / 170_000) + random.between(0, 60));
  const rows = Array.from({ length: count }, (_, index): Row => {
    const changedMs = ms - FLUSH_MS - 900 + Math.floor((index / count) * (FLUSH_MS - 900));
    return rowAt(changedMs, { shard, seq: seq(ms * 1_000 + index) }, random);
  });
  const files: UploadedFile[] = [];
  for (const [start, group] of Map.groupBy(rows, ({ changedMs }) => windowStartMs(0, changedMs))) {
    const stage = openStage();
    for (const row of group) stage.add(row);
    const { bytes, ...file } = await stage.write(start, start + LEVEL_MS[0]);
    stage.close();
    const path = flushKey(start, `w${(names += 1)}`);
    await store.put(path, bytes, { kind: "always" });
    const minChangedMs = group[0]?.changedMs ?? ms;
    files.push({ path, level: 0, windowStartMs: start, sizeBytes: bytes.byteLength, minChangedMs, file });
  }
  return files;
}

function rowAt(changedMs: number, where: Pick<Row, "shard" | "seq">, random: Random): Row {
  const id = random.uuid();
  const person = random.pick(PEOPLE);
  const source = random.pick(["web", "web", "ios", "billing"]);
  const base = {
    changedMs,
    op: "insert",
    ...where,
    changes: 1,
    source,
    eventMs: changedMs - 300,
    anonymousId: null,
  } as const;
  const draw = random.next();
  if (draw < 0.02) {
    const [code, message] = random.pick(REASONS);
    const event = {
      type: "track",
      event: draw < 0.004 ? HOSTILE : "Order Completed",
      messageId: id,
      properties: { total: "12,50" },
    };
    const image = JSON.stringify({ reason: { code, message }, event });
    return {
      ...base,
      key: `{"pk":"r#${source}#${id}"}`,
      kind: "rejected",
      collection: "rejected",
      id,
      userId: null,
      event: null,
      image,
    };
  }
  if (draw < 0.14) {
    const image = JSON.stringify({
      id: person,
      name: person[0]?.toUpperCase() + person.slice(1),
      plan: random.pick(["free", "pro", "team"]),
      logins: random.between(1, 90),
    });
    return {
      ...base,
      op: draw < 0.1 ? "update" : "insert",
      key: `{"pk":"o#${source}#users#${person}"}`,
      kind: "object",
      collection: "users",
      id: person,
      userId: person,
      event: null,
      image,
    };
  }
  const event = random.pick(NAMES);
  const image = JSON.stringify({
    type: "track",
    event,
    messageId: id,
    userId: person,
    properties: {
      total: random.between(100, 9_900) / 100,
      currency: "EUR",
      items: [{ sku: `A-${random.between(1, 99)}`, quantity: random.between(1, 3) }],
      coupon: random.chance(0.3) ? "WELCOME" : null,
    },
    context: {
      library: { name: "analytics-node", version: "3.1.0" },
      page: { path: "/checkout", title: "Checkout" },
    },
    receivedAt: new Date(changedMs).toISOString(),
    timestamp: new Date(changedMs - 300).toISOString(),
  });
  return {
    ...base,
    key: `{"pk":"e#${source}#${id}"}`,
    kind: "event",
    collection: "tracks",
    id,
    userId: person,
    event,
    image,
  };
}

/** What a compactor would say of itself. */
export const METRICS = `${[
  ["GetRecords", 17_080, 0.2e-6, 3.11],
  ["S3 PUT", 4_270, 5e-6, 2.95],
  ["S3 GET", 8_540, 0.4e-6, 0.42],
  ["S3 LIST", 410, 5e-6, 0.36],
  ["DescribeStream", 310, 0, 0],
]
  .map(
    ([call, times, usd, month]) => `varve_requests_total{call="${call}"} ${times}
varve_requests_cost_dollars_total{call="${call}"} ${Number(times) * Number(usd)}
varve_requests_cost_dollars_month{call="${call}"} ${month}`,
  )
  .join("\n")}
varve_retries_total{call="GetRecords"} 3
varve_workers 2
varve_buffer_bytes{lane="0"} 184320
`;
