/** From a batch to a commit. Pure: what is read and written stands in committer.ts. */
import { createHash } from "node:crypto";
import { VarveError } from "../shared/errors.ts";
import type { Action, Commit } from "../shared/delta.ts";
import { createTableActions, domainAction, encodeCommit } from "../shared/delta.ts";
import { dataKey } from "../shared/keys.ts";
import type { Position } from "../shared/position.ts";
import { SHARD_DOMAIN, encodePosition, lastChangedMs } from "../shared/position.ts";
import type { Gap, LogState, Snapshot } from "../shared/snapshot.ts";
import { EMPTY_LOG, GAP_DOMAIN, LOG_DOMAIN, addTotals, applyCommit } from "../shared/snapshot.ts";
import { watermarkOf } from "../shared/watermark.ts";
import type { Level } from "../shared/window.ts";
import { dateOf } from "../shared/window.ts";
import type { ParquetFile } from "./summary.ts";

/** A data file that is in the store, but not yet in the log. */
export type UploadedFile = {
  readonly path: string;
  readonly level: Level;
  readonly windowStartMs: number;
  readonly sizeBytes: number;
  readonly minChangedMs: number;
  readonly file: Omit<ParquetFile, "bytes">;
};

/** What one commit is to make visible, all at once. */
export type Change = {
  readonly files: readonly UploadedFile[];
  readonly positions: ReadonlyMap<string, Position>;
  /** Where new shards begin. Those that the log knows by now are left as they are. */
  readonly found?: ReadonlyMap<string, Position>;
  /** Shards that need no position any more. */
  readonly forgotten?: readonly string[];
  readonly gaps: readonly Gap[];
  /** When a complete discovery of shards began, if there was one since the last commit. */
  readonly discoveredMs?: number | undefined;
};

export type CommitPlan =
  | { readonly kind: "commit"; readonly commit: Commit; readonly next: Snapshot }
  /** The positions in the log are not those that the batch was read from: someone else has committed them. */
  | { readonly kind: "stale"; readonly why: string };

export type CommitIdentity = { readonly txnId: string; readonly nowMs: number };

export const flushKey = (windowStartMs: number, unique: string): string => dataKey(0, windowStartMs, unique);

/** Version 0. */
export function planCreate(
  tableId: string,
  { txnId, nowMs }: CommitIdentity,
  configuration: Readonly<Record<string, string>> = {},
): { readonly commit: Commit; readonly next: Snapshot } {
  const actions: Action[] = [
    ...createTableActions(tableId, nowMs, configuration),
    logAction({ ...EMPTY_LOG, committedMs: nowMs }),
  ];
  const info = {
    timestamp: nowMs,
    inCommitTimestamp: nowMs,
    operation: "CREATE TABLE",
    operationParameters: {},
    txnId,
  };
  return sound(null, { version: 0, info, actions });
}

export function planCommit(snapshot: Snapshot, change: Change, { txnId, nowMs }: CommitIdentity): CommitPlan {
  const unknown = [...(change.found ?? [])].filter(([shard]) => !snapshot.shards.has(shard));
  const positions = new Map<string, Position>();
  /** Of shards that others have read to their end: what could not be read here, they have read. */
  const passed = new Set<string>();
  for (const [shard, position] of [...unknown, ...change.positions]) {
    const known = snapshot.shards.get(shard);
    const seq = known?.seq ?? null;
    if (position.from !== seq || (known?.done && position.seq !== seq)) {
      return { kind: "stale", why: `${shard} was read from ${position.from}, and the log has it at ${seq}` };
    }
    if (known?.done) {
      passed.add(shard);
      continue;
    }
    // A shard that the log does not know yet begins above what was published while it was being discovered.
    const at = Math.max(position.at, known?.at ?? snapshot.log.watermarkMs);
    const changed = Math.max(lastChangedMs(position), known === undefined ? at : lastChangedMs(known));
    positions.set(shard, { ...position, at, changed });
  }
  for (const { path, minChangedMs } of change.files) {
    if (minChangedMs <= snapshot.log.watermarkMs) {
      return {
        kind: "stale",
        why: `${path} holds rows from before the watermark that was published meanwhile`,
      };
    }
  }
  const timestampMs = Math.max(nowMs, snapshot.log.committedMs + 1);
  const forgotten = (change.forgotten ?? []).filter((shard) => snapshot.shards.has(shard));
  const log = nextLog(snapshot, change, positions, forgotten, timestampMs);
  const rows = change.files.reduce((sum, { file }) => sum + file.totals.rows, 0);
  const info = {
    timestamp: nowMs,
    inCommitTimestamp: timestampMs,
    operation: "WRITE",
    operationParameters: { mode: "Append" },
    isBlindAppend: true,
    txnId,
    engineInfo: "varve",
    operationMetrics: { numFiles: String(change.files.length), numOutputRows: String(rows) },
  };
  const actions: Action[] = [
    ...change.files.map((file) => addAction(file, nowMs, true)),
    ...[...positions].map(([shard, position]) => ({ domainMetadata: encodePosition(shard, position) })),
    ...forgotten.map((shard) => ({
      domainMetadata: { domain: SHARD_DOMAIN + shard, configuration: "", removed: true },
    })),
    ...newGaps(
      snapshot,
      change.gaps.filter(({ shard }) => !passed.has(shard)),
    ).map((gap, index) => domainAction(`${GAP_DOMAIN}${snapshot.version + 1}.${index}`, gap)),
    logAction(log),
  ];
  return { kind: "commit", ...sound(snapshot, { version: snapshot.version + 1, info, actions }) };
}

/** A gap is met again by each worker that starts before anything after it was committed. */
export function newGaps({ gaps }: Snapshot, met: readonly Gap[]): readonly Gap[] {
  const known = [...gaps.values()];
  return met.filter(
    ({ shard, after, reason }) =>
      !known.some((gap) => gap.shard === shard && gap.after === after && gap.reason === reason),
  );
}

function nextLog(
  snapshot: Snapshot,
  change: Change,
  positions: ReadonlyMap<string, Position>,
  forgotten: readonly string[],
  committedMs: number,
): LogState {
  const { log } = snapshot;
  const discoveredMs = Math.max(log.discoveredMs, change.discoveredMs ?? 0);
  const shards = new Map([...snapshot.shards, ...positions]);
  for (const shard of forgotten) shards.delete(shard);
  const limitMs = watermarkOf(shards, discoveredMs);
  return {
    ...log,
    committedMs,
    discoveredMs,
    watermarkMs: Math.max(log.watermarkMs, limitMs),
    changes: change.files.reduce((sum, { file }) => sum + file.changes, log.changes),
    committed: change.files.reduce((totals, { file }) => addTotals(totals, file.totals), log.committed),
  };
}

export function addAction(
  { path, level, windowStartMs, sizeBytes, file }: UploadedFile,
  nowMs: number,
  dataChange: boolean,
): Action {
  return {
    add: {
      path,
      partitionValues: { dt: dateOf(windowStartMs) },
      size: sizeBytes,
      modificationTime: nowMs,
      dataChange,
      stats: file.stats,
      tags: {
        level: String(level),
        window: String(windowStartMs),
        changes: String(file.changes),
        setsum: file.totals.sum,
        sha256: file.sha256,
      },
    },
  };
}

export const logAction = (log: LogState): Action => domainAction(LOG_DOMAIN, log);

/** The plan as it is to be written: it vouches for the entry before. One that breaks an invariant is a bug of ours, and never written. */
export function sound(
  before: Snapshot | null,
  planned: Commit,
): { readonly commit: Commit; readonly next: Snapshot } {
  const previousSha256 = before === null || before.entry === null ? undefined : sha256Of(before.entry);
  const linked =
    previousSha256 === undefined ? planned : { ...planned, info: { ...planned.info, previousSha256 } };
  const commit = { ...linked, entry: encodeCommit(linked) };
  const { snapshot, violations } = applyCommit(before, commit);
  const [first] = violations;
  if (first !== undefined) {
    throw new VarveError(
      "unsound_plan",
      `a commit was planned that breaks invariant ${first.invariant}: ${first.what}.`,
      "Nothing was written; this is a bug in Varve. Start the compactor again: it resumes from the log.",
    );
  }
  return { commit, next: snapshot };
}

const sha256Of = (text: string): string => createHash("sha256").update(text).digest("hex");
