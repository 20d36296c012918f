/**
 * The compactor: reads a table's stream and commits it to the log. All its state is in the log; starting is
 * recovering.
 *
 * One run of `session` reads every readable shard into the window buffer while batches are written and
 * committed one after the other. When the log turns out to have moved under a batch, the session ends, all
 * that was read is dropped, and the next one resumes from the positions in the log.
 */
import { CHECKPOINT_EVERY, writeCheckpoint } from "../shared/checkpoint.ts";
import type { Clock } from "../shared/clock.ts";
import type { Commit } from "../shared/delta.ts";
import { describeError, VarveError } from "../shared/errors.ts";
import { assertSound, loadSnapshot } from "../shared/log.ts";
import type { Position } from "../shared/position.ts";
import type { Snapshot } from "../shared/snapshot.ts";
import { applyCommit } from "../shared/snapshot.ts";
import type { ObjectStore } from "../shared/store.ts";
import type { Batch } from "./buffer.ts";
import { WindowBuffer } from "./buffer.ts";
import { putCommit } from "./committer.ts";
import { newShards, readableShards } from "./lineage.ts";
import type { ParquetWriter } from "./parquet.ts";
import type { Change, UploadedFile } from "./plan.ts";
import { flushKey, planCommit, planCreate } from "./plan.ts";
import { readShard } from "./shard.ts";
import type { Streams } from "./stream.ts";

export type CompactorLog = {
  readonly info: (what: string, fields: Record<string, unknown>) => void;
  readonly warn: (what: string, fields: Record<string, unknown>) => void;
};

export type CompactorDeps = {
  readonly store: ObjectStore;
  readonly streams: Streams;
  readonly parquet: ParquetWriter;
  readonly clock: Clock;
  readonly log: CompactorLog;
  readonly flushMs: number;
  readonly flushBytes: number;
  readonly heartbeatMs: number;
  readonly pollMinMs: number;
  readonly pollMaxMs: number;
};

/** The buffer may hold this many flushes' bytes while one is being written; then reading waits. */
const BUFFERED_FLUSHES_MAX = 2;
const TICKS_PER_FLUSH = 20;
const RETRY_MAX_MS = 4_000;
/** How long a stopping compactor goes on trying to commit what it has read. */
const DRAIN_MS = 15_000;

/**
 * Runs until `signal` aborts; then commits what it has read, and returns. Throws when the table, its stream or
 * the changelog cannot be used at the start; later such faults are waited out.
 */
export async function runCompactor(deps: CompactorDeps, signal: AbortSignal): Promise<void> {
  await deps.streams.describe(signal);
  let snapshot = await openLog(deps);
  deps.log.info("opened", { version: snapshot.version, watermark_ms: snapshot.log.watermarkMs });
  const patience = patienceOf(deps.clock, signal);
  while (!signal.aborted) {
    const ended = await session(deps, snapshot, patience, signal);
    if (ended.kind === "stopped") return;
    deps.log.warn("restarting from the log", { why: ended.why });
    const reopened = await persist(deps, patience, "reading the log", () => openLog(deps));
    if (reopened === null) return;
    snapshot = reopened;
  }
}

/** False once the drain time after the abort has passed. */
type Patience = () => boolean;

function patienceOf(clock: Clock, signal: AbortSignal): Patience {
  let abortedAtMs = Number.POSITIVE_INFINITY;
  signal.addEventListener("abort", () => (abortedAtMs = clock.nowMs()), { once: true });
  return () => clock.nowMs() < abortedAtMs + DRAIN_MS;
}

/** The snapshot at the tip. Makes the log when there is none. */
export async function openLog({ store, clock }: Pick<CompactorDeps, "store" | "clock">): Promise<Snapshot> {
  const snapshot = await loadSnapshot(store);
  if (snapshot !== null) return snapshot;
  const { commit } = planCreate(clock.uuid(), { txnId: clock.uuid(), nowMs: clock.nowMs() });
  const outcome = await putCommit(store, commit, clock);
  const made = await loadSnapshot(store);
  if (made !== null) return made;
  throw new VarveError(
    "log_not_made",
    "the changelog's first log entry could not be written.",
    "Check that the bucket exists and that these credentials may write to it.",
    outcome.kind === "unknown" ? outcome.cause : undefined,
  );
}

type Ended = { readonly kind: "stopped" } | { readonly kind: "stale"; readonly why: string };

async function session(
  deps: CompactorDeps,
  opened: Snapshot,
  patience: Patience,
  signal: AbortSignal,
): Promise<Ended> {
  const { clock, streams, log } = deps;
  const buffer = new WindowBuffer();
  const reading = new AbortController();
  const stop = () => reading.abort();
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) stop();
  const readers = new Map<string, Promise<void>>();
  let snapshot = opened;
  let fault: unknown;
  let committedAtMs = clock.nowMs();
  let checkpointing = Promise.resolve();

  const startReaders = (): void => {
    if (reading.signal.aborted) return;
    for (const shard of readableShards(snapshot.shards)) {
      const position = snapshot.shards.get(shard);
      if (readers.has(shard) || position === undefined) continue;
      const parentAt = snapshot.shards.get(position.parent ?? "")?.at ?? 0;
      const start = { ...position, at: Math.max(position.at, parentAt) };
      const shardDeps = {
        streams,
        clock,
        pollMinMs: deps.pollMinMs,
        pollMaxMs: deps.pollMaxMs,
        warn: (what: string) => log.warn(what, { shard }),
        accept: async (page: Parameters<WindowBuffer["add"]>[0]) => {
          while (buffer.bytes > deps.flushBytes * BUFFERED_FLUSHES_MAX && !reading.signal.aborted) {
            await clock.sleep(deps.flushMs / TICKS_PER_FLUSH, reading.signal);
          }
          buffer.add(page, start.seq, clock.nowMs());
        },
      };
      const reader = readShard(shardDeps, shard, start, reading.signal).catch((error: unknown) => {
        fault ??= error;
        reading.abort();
      });
      readers.set(shard, reader);
    }
  };

  const checkpoint = (tip: Snapshot): void => {
    if (tip.version % CHECKPOINT_EVERY !== 0) return;
    checkpointing = checkpointing.then(() =>
      writeCheckpoint(deps.store, tip).then(
        () => log.info("checkpoint", { version: tip.version, files: tip.files.size }),
        (error: unknown) =>
          log.warn("checkpoint failed", { version: tip.version, why: describeError(error) }),
      ),
    );
  };

  const due = (): boolean => {
    const first = buffer.firstRowAtMs;
    const nowMs = clock.nowMs();
    return (
      (first !== null && nowMs - first >= deps.flushMs) ||
      buffer.bytes >= deps.flushBytes ||
      buffer.urgent ||
      nowMs - committedAtMs >= deps.heartbeatMs
    );
  };

  const flush = async (): Promise<Ended | null> => {
    const batch = buffer.take();
    const discovery = discover(deps, snapshot);
    const files = await upload(deps, batch, patience);
    if (files === null) return { kind: "stopped" };
    const { found, discoveredMs } = await discovery;
    const positions = new Map([...found, ...batch.positions]);
    const change: Change = { files, positions, gaps: batch.gaps, discoveredMs };
    const outcome = await commitChange(deps, snapshot, change, patience);
    if (outcome.kind !== "committed") return outcome;
    snapshot = outcome.snapshot;
    committedAtMs = clock.nowMs();
    log.info("committed", commitFields(snapshot, files, batch));
    checkpoint(snapshot);
    for (const [shard, position] of batch.positions) if (position.done) readers.delete(shard);
    startReaders();
    return null;
  };

  try {
    const first = await flush();
    if (first !== null) return first;
    while (!reading.signal.aborted) {
      if (due()) {
        const ended = await flush();
        if (ended !== null) return ended;
      }
      await clock.sleep(deps.flushMs / TICKS_PER_FLUSH, reading.signal);
    }
    await Promise.all(readers.values());
    return (await flush()) ?? (fault === undefined ? { kind: "stopped" } : raise(fault));
  } finally {
    reading.abort();
    signal.removeEventListener("abort", stop);
    await Promise.all(readers.values());
    await checkpointing;
  }
}

function raise(fault: unknown): never {
  throw fault;
}

type Discovered = {
  readonly found: ReadonlyMap<string, Position>;
  readonly discoveredMs: number | undefined;
};

/** New shards, and when the discovery began. A discovery that fails only holds the watermark back. */
async function discover({ streams, clock, log }: CompactorDeps, snapshot: Snapshot): Promise<Discovered> {
  const beganMs = clock.nowMs();
  try {
    return { found: newShards(snapshot, await streams.describe()), discoveredMs: beganMs };
  } catch (error) {
    log.warn("shard discovery failed", { why: describeError(error) });
    return { found: new Map(), discoveredMs: undefined };
  }
}

/** Writes a file a window and uploads it under a name never used before. Null when it gave up. */
async function upload(deps: CompactorDeps, batch: Batch, patience: Patience): Promise<UploadedFile[] | null> {
  const files: UploadedFile[] = [];
  for (const [windowStartMs, rows] of batch.windows) {
    const { bytes, ...file } = await deps.parquet.write(rows.values());
    const path = flushKey(windowStartMs, deps.clock.uuid());
    const stored = await persist(deps, patience, `uploading ${path}`, async () => {
      const put = await deps.store.put(path, bytes, { kind: "always" });
      if (put.kind === "stored") return true;
      throw put.kind === "unknown" ? put.cause : new Error("the store refused it");
    });
    if (stored === null) return null;
    const minChangedMs = [...rows.values()].reduce((least, row) => Math.min(least, row.changedMs), Infinity);
    files.push({ path, windowStartMs, sizeBytes: bytes.byteLength, minChangedMs, file });
  }
  return files;
}

type Committed = { readonly kind: "committed"; readonly snapshot: Snapshot } | Ended;

async function commitChange(
  deps: CompactorDeps,
  opened: Snapshot,
  change: Change,
  patience: Patience,
): Promise<Committed> {
  const { store, clock, log } = deps;
  const mine = new Set<string>();
  let snapshot = opened;
  for (;;) {
    const txnId = clock.uuid();
    mine.add(txnId);
    const plan = planCommit(snapshot, change, { txnId, nowMs: clock.nowMs() });
    if (plan.kind === "stale") return plan;
    const outcome = await persist(deps, patience, `committing version ${plan.commit.version}`, async () => {
      const put = await putCommit(store, plan.commit, clock);
      if (put.kind === "unknown") throw put.cause;
      return put;
    });
    if (outcome === null) return { kind: "stopped" };
    if (outcome.kind === "committed") return { kind: "committed", snapshot: plan.next };
    log.info("conflicted", { version: plan.commit.version });
    snapshot = follow(snapshot, outcome.by);
    if (mine.has(outcome.by.info.txnId)) return { kind: "committed", snapshot };
  }
}

function follow(snapshot: Snapshot, commit: Commit): Snapshot {
  const applied = applyCommit(snapshot, commit);
  assertSound(applied.violations);
  return applied.snapshot;
}

/** Does `work` until it succeeds. Null when patience ran out. */
async function persist<T>(
  { clock, log }: CompactorDeps,
  patience: Patience,
  what: string,
  work: () => Promise<T>,
): Promise<T | null> {
  for (let faults = 1; ; faults += 1) {
    try {
      return await work();
    } catch (error) {
      if (!patience()) return null;
      const ms = Math.min(RETRY_MAX_MS, 200 * 2 ** Math.min(faults, 8)) * (0.5 + clock.random() / 2);
      log.warn(`${what} failed; trying again in ${Math.round(ms)} ms`, { why: describeError(error) });
      await clock.sleep(ms);
    }
  }
}

function commitFields(
  snapshot: Snapshot,
  files: readonly UploadedFile[],
  batch: Batch,
): Record<string, unknown> {
  return {
    version: snapshot.version,
    rows: files.reduce((sum, { file }) => sum + file.totals.rows, 0),
    rows_total: snapshot.log.committed.rows,
    records: batch.records,
    bytes: files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
    files: files.length,
    gaps: snapshot.gaps.size,
    watermark_ms: snapshot.log.watermarkMs,
  };
}
