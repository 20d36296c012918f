/**
 * A simulated year of the log: a commit a minute, every window merged when it is complete, checkpoints and
 * clean-up as the compactor does them. Data files are made up; entries, totals and checkpoints are real.
 */
import { mergeTasks, planMerge } from "../compactor/levels.ts";
import type { MergeTask } from "../compactor/levels.ts";
import type { CommitPlan, UploadedFile } from "../compactor/plan.ts";
import { flushKey, planCommit, planCreate } from "../compactor/plan.ts";
import { writeCheckpoint } from "../shared/checkpoint.ts";
import { encodeCommit } from "../shared/delta.ts";
import { checkpointKey, commitKey, dataKey } from "../shared/keys.ts";
import { loadSnapshot } from "../shared/log.ts";
import type { Position } from "../shared/position.ts";
import { parseSequence } from "../shared/sequence.ts";
import { setsumOf } from "../shared/setsum.ts";
import type { Snapshot, Totals } from "../shared/snapshot.ts";
import { NO_ROWS, addTotals } from "../shared/snapshot.ts";
import type { Level } from "../shared/window.ts";
import { LEVEL_MS, windowStartMs } from "../shared/window.ts";
import { openMemoryStore } from "./memory-store.ts";
import type { BenchRow } from "./report.ts";

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
const DAYS = 365;
const CHECKPOINT_EVERY = 30;
const LOG_KEPT_MS = 2 * DAY_MS;
const SHARD = "shardId-00000001790000000000-0c5ab1de";
const ROWS_A_FLUSH = 6000;
const BYTES_A_ROW = 120;
/** What of a row's bytes is left in a merged file: sorted, it packs better. */
const MERGED_BYTES_A_ROW = 90;

export async function benchGrowth(progress: (what: string) => void): Promise<BenchRow[]> {
  const startMs = windowStartMs(3, Date.now() - DAYS * DAY_MS);
  let uploads = 0;
  let commits = 1;
  let logBytes = 0;
  let written = 0;
  let { next: snapshot } = planCreate("growth", { txnId: "0", nowMs: startMs });
  const kept: { readonly version: number; readonly atMs: number; readonly text: string }[] = [];

  const take = (plan: CommitPlan, nowMs: number): void => {
    if (plan.kind === "stale") throw new Error(plan.why);
    snapshot = plan.next;
    commits += 1;
    const text = encodeCommit(plan.commit);
    logBytes += text.length;
    kept.push({ version: plan.commit.version, atMs: nowMs, text });
  };
  const fileOf = (
    level: Level,
    windowMs: number,
    changedMs: number,
    totals: Totals,
    changes: number,
  ): UploadedFile => {
    const unique = String((uploads += 1)).padStart(12, "0");
    const path = level === 0 ? flushKey(windowMs, unique) : dataKey(level, windowMs, unique);
    const sizeBytes = totals.rows * (level === 0 ? BYTES_A_ROW : MERGED_BYTES_A_ROW);
    written += sizeBytes;
    const last = Math.min(changedMs + MINUTE_MS, windowMs + LEVEL_MS[level]) - 1;
    const stats = JSON.stringify({
      numRecords: totals.rows,
      minValues: {
        changed_ms: changedMs,
        source: "a",
        collection: "accounts",
        id: "00000000-0000-0000-0000-000000000000",
      },
      maxValues: {
        changed_ms: last,
        source: "z",
        collection: "users",
        id: "ffffffff-ffff-ffff-ffff-ffffffffffff",
      },
      nullCount: {},
    });
    const file = { totals, changes, stats, sha256: "0".repeat(64) };
    return { path, level, windowStartMs: windowMs, sizeBytes, minChangedMs: changedMs, file };
  };
  const mergeOf = (task: MergeTask): Parameters<typeof planMerge>[2] => {
    const totals = task.inputs.reduce((sum, file) => addTotals(sum, file.totals), NO_ROWS);
    const changes = task.inputs.reduce((sum, file) => sum + file.changes, 0);
    const least = Math.min(...task.inputs.map((file) => file.minChangedMs));
    return {
      outputs: [fileOf(task.level, task.windowStartMs, least, totals, changes)],
      read: totals,
      survivors: totals,
    };
  };

  let flushed = 0;
  for (let minute = 0; minute < DAYS * 1440; minute += 1) {
    if (minute % (30 * 1440) === 0) progress(`day ${minute / 1440} of ${DAYS}`);
    const atMs = startMs + minute * MINUTE_MS;
    const nowMs = atMs + MINUTE_MS;
    const totals = {
      rows: ROWS_A_FLUSH,
      sum: setsumOf(BigInt(minute + 1) * 0x9e3779b97f4a7c15f39cc0605cedc835n),
    };
    const file = fileOf(0, windowStartMs(0, atMs), atMs, totals, ROWS_A_FLUSH);
    flushed += file.sizeBytes;
    const seq = parseSequence(String(minute + 1));
    const from = snapshot.shards.get(SHARD)?.seq ?? null;
    const position: Position = { from, seq, at: nowMs - 1, parent: null, done: false, stream: "growth" };
    const change = { files: [file], positions: new Map([[SHARD, position]]), gaps: [], discoveredMs: nowMs };
    take(planCommit(snapshot, change, { txnId: String(commits), nowMs }), nowMs);
    if ((minute + 1) % 5 > 0) continue;
    for (let task = mergeTasks(snapshot)[0]; task !== undefined; task = mergeTasks(snapshot)[0]) {
      take(planMerge(snapshot, task, mergeOf(task), { txnId: String(commits), nowMs }), nowMs);
    }
    // Tombstones and entries that clean-up would have taken.
    if ((minute + 1) % 1440 === 0) snapshot = forget(snapshot, nowMs - LOG_KEPT_MS, kept);
  }

  const store = openMemoryStore();
  for (const { version, text } of kept)
    await store.put(commitKey(version), new TextEncoder().encode(text), { kind: "always" });
  const tip = snapshot.version;
  const checkpointed = Math.floor(tip / CHECKPOINT_EVERY) * CHECKPOINT_EVERY;
  await writeCheckpoint(store, { ...snapshot, version: checkpointed });
  for (let version = checkpointed + 1; version <= tip; version += 1) await store.delete(commitKey(version));
  const checkpoint = await store.get(checkpointKey(checkpointed));
  const beganMs = performance.now();
  const opened = await loadSnapshot(store);
  const openMs = performance.now() - beganMs;
  if (opened?.files.size !== snapshot.files.size) throw new Error("the log did not open as it was");

  const figure = (name: string, value: number, unit: string): BenchRow => ({
    name,
    value,
    unit,
    limit: null,
    ratio: null,
  });
  return [
    figure("a year of a flush a minute: live files", snapshot.files.size, "files"),
    figure("a year: commits made", commits, "commits"),
    figure(
      "a year: log entries kept (2 days)",
      kept.reduce((sum, { text }) => sum + text.length, 0),
      "bytes",
    ),
    figure("a year: bytes an entry", logBytes / commits, "bytes"),
    figure("a year: a checkpoint", checkpoint?.body.byteLength ?? 0, "bytes"),
    figure("a year: time to open the changelog", openMs, "ms"),
    figure("a year: bytes written over bytes flushed", written / flushed, "times"),
  ];
}

function forget(snapshot: Snapshot, beforeMs: number, kept: { readonly atMs: number }[]): Snapshot {
  const first = kept.findIndex(({ atMs }) => atMs >= beforeMs);
  kept.splice(0, Math.max(0, first));
  return {
    ...snapshot,
    removed: new Map([...snapshot.removed].filter(([, removedMs]) => removedMs >= beforeMs)),
  };
}
