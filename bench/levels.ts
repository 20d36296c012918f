/**
 * Merging: rows a second, and how many bytes are written for each that was flushed, over a simulated day of
 * changes at three flush intervals. Real files and real merges, each as soon as its window is over; the store is in
 * memory. A flush a second runs over a part of the day, which its name says; `VARVE_LONG=1` for all of it.
 */
import { mergeTasks } from "../compactor/levels.ts";
import type { CommitPlan } from "../compactor/plan.ts";
import { planCommit, planCreate, flushKey } from "../compactor/plan.ts";
import { duckdbEngine } from "../compactor/merge-engine.ts";
import { openMerger } from "../compactor/merge.ts";
import { NO_METRICS } from "../compactor/metrics.ts";
import { openStages } from "../compactor/stage.ts";
import type { CommitBeside } from "../compactor/tip.ts";
import { systemClock } from "../shared/clock.ts";
import type { Row } from "../shared/row.ts";
import { parseSequence } from "../shared/sequence.ts";
import type { Snapshot } from "../shared/snapshot.ts";
import { LEVEL_MS, windowStartMs } from "../shared/window.ts";
import { openMemoryStore } from "./memory-store.ts";
import type { BenchRow } from "./report.ts";

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;
const RUNS = [
  { flushMs: 1_000, spanMs: process.env["VARVE_LONG"] === "1" ? DAY_MS : HOUR_MS, rowsASecond: 10 },
  { flushMs: 10_000, spanMs: DAY_MS, rowsASecond: 10 },
  { flushMs: 60_000, spanMs: DAY_MS, rowsASecond: 10 },
];
const SHARD = "shardId-00000001790000000000-0c5ab1de";
/** A third of the rows are events, the others changes of so many objects. */
const OBJECTS = 2000;

export async function benchLevels(progress: (what: string) => void): Promise<BenchRow[]> {
  const rows: BenchRow[] = [];
  for (const run of RUNS) {
    const name = `flush ${run.flushMs / 1000} s over ${run.spanMs / HOUR_MS} h`;
    progress(name);
    const { rowsMerged, ms, written, flushed, files, live } = await simulate(run);
    const figure = (what: string, value: number, unit: string): BenchRow => ({
      name: `${name}: ${what}`,
      value,
      unit,
      limit: null,
      ratio: null,
    });
    rows.push(
      figure("rows merged", (rowsMerged * 1000) / ms, "rows/s/core"),
      figure("bytes written over bytes flushed", (flushed + written) / flushed, "times"),
      figure("files flushed", files, "files"),
      figure("files live after", live, "files"),
    );
  }
  return rows;
}

type Run = (typeof RUNS)[number];

async function simulate({ flushMs, spanMs, rowsASecond }: Run) {
  const store = openMemoryStore();
  const openStage = openStages(2 ** 25);
  const startMs = windowStartMs(3, Date.now() - 2 * DAY_MS);
  let { next: snapshot } = planCreate("levels", { txnId: "0", nowMs: startMs });
  let [commits, sequence, flushed, files] = [1, 0, 0, 0];
  const take = (plan: CommitPlan): { readonly kind: "committed" } => {
    if (plan.kind === "stale") throw new Error(plan.why);
    snapshot = plan.next;
    commits += 1;
    return { kind: "committed" };
  };
  const identity = (nowMs: number) => ({ txnId: String(commits), nowMs });
  const merging = openMerging(store, {
    snapshot: () => snapshot,
    commit: async (plan) => take(plan(snapshot, identity(snapshot.log.committedMs + 1))),
    forgetRemoved: () => (snapshot = { ...snapshot, removed: new Map() }),
  });

  for (let atMs = startMs; atMs < startMs + spanMs; atMs += flushMs) {
    const stage = openStage();
    const count = Math.round((rowsASecond * flushMs) / 1000);
    const seen = new Set<string>();
    for (let index = 0; index < count; index += 1) {
      const row = rowAt((sequence += 1), atMs + Math.floor((index * flushMs) / count));
      if (!seen.has(row.key)) stage.add(row);
      seen.add(row.key);
    }
    const start = windowStartMs(0, atMs);
    const { bytes, ...file } = await stage.write(start, start + LEVEL_MS[0]);
    stage.close();
    const path = flushKey(start, crypto.randomUUID());
    await store.put(path, bytes, { kind: "always" });
    flushed += bytes.byteLength;
    files += 1;
    const nowMs = atMs + flushMs;
    const upload = {
      path,
      level: 0,
      windowStartMs: start,
      sizeBytes: bytes.byteLength,
      minChangedMs: atMs,
      file,
    } as const;
    const from = snapshot.shards.get(SHARD)?.seq ?? null;
    const seq = parseSequence(String(sequence));
    const position = { from, seq, at: nowMs - 1, parent: null, done: false, stream: "levels" };
    const change = {
      files: [upload],
      positions: new Map([[SHARD, position]]),
      gaps: [],
      discoveredMs: nowMs,
    };
    take(planCommit(snapshot, change, identity(nowMs)));
    if (nowMs % LEVEL_MS[1] === 0) await merging.run();
  }
  await merging.run();
  return { ...merging.figures(), flushed, files, live: snapshot.files.size };
}

/** Merges what the watermark has passed; what was merged away is gone at once. */
function openMerging(
  store: ReturnType<typeof openMemoryStore>,
  log: { snapshot: () => Snapshot; commit: CommitBeside; forgetRemoved: () => void },
) {
  let [rowsMerged, written, cpuUs] = [0, 0, 0];
  const merger = openMerger({
    store: {
      ...store,
      put: (key, body, condition) => {
        written += body.byteLength;
        return store.put(key, body, condition);
      },
    },
    clock: systemClock,
    log: { info: () => {}, warn: (what, fields) => console.error(what, fields) },
    metrics: { ...NO_METRICS, merged: (_, rows) => (rowsMerged += rows) },
    engine: duckdbEngine(128),
  });
  return {
    figures: () => ({ rowsMerged, written, ms: cpuUs / 1000 }),
    run: async (): Promise<void> => {
      const began = process.cpuUsage();
      await merger.run({ ...log, owns: () => true, signal: new AbortController().signal });
      const { user, system } = process.cpuUsage(began);
      cpuUs += user + system;
      if (mergeTasks(log.snapshot()).length > 0) throw new Error("windows are left that were not merged");
      await Promise.all([...log.snapshot().removed.keys()].map((path) => store.delete(path)));
      log.forgetRemoved();
    },
  };
}

function rowAt(sequence: number, changedMs: number): Row {
  const seq = parseSequence(String(sequence));
  if (seq === null) throw new Error("not a sequence number");
  const isEvent = sequence % 3 === 0;
  const id = isEvent ? `message-${sequence}` : `user-${(sequence * 7919) % OBJECTS}`;
  return {
    changedMs,
    op: isEvent ? "insert" : "update",
    key: JSON.stringify({ pk: `${isEvent ? "e" : "o"}#shop#${id}` }),
    seq,
    shard: SHARD,
    changes: 1,
    kind: isEvent ? "event" : "object",
    source: "shop",
    collection: isEvent ? "tracks" : "users",
    id,
    userId: isEvent ? null : id,
    anonymousId: null,
    event: isEvent ? "Order Completed" : null,
    eventMs: changedMs,
    image: JSON.stringify({
      id,
      total: sequence % 1000,
      note: `${sequence}-${sequence * 31}`,
      plan: "pro",
      at: changedMs,
    }),
  };
}
