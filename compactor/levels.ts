/**
 * Levels: which files to merge, and the commit that puts the merged ones in their place. Pure.
 *
 * Laws
 * - A window is merged once the watermark has passed its end: nothing can be added to it any more.
 * - The rows that go are exactly those superseded by a later row of their key in the window.
 */
import type { Action } from "../shared/delta.ts";
import { VarveError } from "../shared/errors.ts";
import type { DataFile, LogState, Snapshot, Totals } from "../shared/snapshot.ts";
import { NO_ROWS, addTotals, equalTotals, subtractTotals } from "../shared/snapshot.ts";
import type { Level } from "../shared/window.ts";
import { LEVEL_MS, windowStartMs } from "../shared/window.ts";
import type { CommitIdentity, CommitPlan, UploadedFile } from "./plan.ts";
import { addAction, logAction, sound } from "./plan.ts";

const MERGED_LEVELS = [1, 2, 3] as const satisfies readonly Level[];

export type MergeTask = {
  readonly level: Level;
  readonly windowStartMs: number;
  readonly inputs: readonly DataFile[];
};

/** What a merge came to, each figure taken on its own from the rows themselves. */
export type MergeResult = {
  readonly outputs: readonly UploadedFile[];
  /** The rows that were read. */
  readonly read: Totals;
  /** The rows that must survive: the last of each key, or all of them. */
  readonly survivors: Totals;
};

export const taskName = ({ level, windowStartMs: start }: MergeTask): string => `merge/${level}/${start}`;

/** Windows that are complete and hold more than one file of a lower level; the lowest level first. */
export function mergeTasks(snapshot: Snapshot): MergeTask[] {
  const tasks: MergeTask[] = [];
  for (const level of MERGED_LEVELS) {
    const lower = [...snapshot.files.values()].filter((file) => file.level < level);
    const windows = Map.groupBy(lower, (file) => windowStartMs(level, file.windowStartMs));
    for (const [start, inputs] of windows) {
      if (inputs.length < 2 || start + LEVEL_MS[level] > snapshot.log.watermarkMs) continue;
      tasks.push({ level, windowStartMs: start, inputs });
    }
  }
  return tasks.toSorted((a, b) => a.level - b.level || a.windowStartMs - b.windowStartMs);
}

export function planMerge(
  snapshot: Snapshot,
  task: MergeTask,
  result: MergeResult,
  { txnId, nowMs }: CommitIdentity,
): CommitPlan {
  for (const { path } of task.inputs) {
    if (!snapshot.files.has(path)) return { kind: "stale", why: `${path} has been merged by somebody else` };
  }
  const inputs = task.inputs.reduce((totals, file) => addTotals(totals, file.totals), NO_ROWS);
  const outputs = result.outputs.reduce((totals, { file }) => addTotals(totals, file.totals), NO_ROWS);
  if (!equalTotals(result.read, inputs)) {
    throw unsound(
      task,
      `its files hold ${result.read.rows} rows, the log says ${inputs.rows}, or their checksums differ`,
    );
  }
  if (!equalTotals(outputs, result.survivors)) {
    throw unsound(
      task,
      `${outputs.rows} rows were written of ${result.survivors.rows} that must survive, or others`,
    );
  }
  const changes = sumOf(task.inputs.map((file) => file.changes));
  const written = sumOf(result.outputs.map(({ file }) => file.changes));
  if (written !== changes)
    throw unsound(task, `its rows stand for ${written} changes, those before for ${changes}`);

  const committedMs = Math.max(nowMs, snapshot.log.committedMs + 1);
  const log: LogState = {
    ...snapshot.log,
    committedMs,
    superseded: addTotals(snapshot.log.superseded, subtractTotals(inputs, outputs)),
  };
  const info = {
    timestamp: nowMs,
    inCommitTimestamp: committedMs,
    operation: "OPTIMIZE",
    operationParameters: { level: String(task.level), window: new Date(task.windowStartMs).toISOString() },
    isBlindAppend: false,
    txnId,
    engineInfo: "varve",
    operationMetrics: {
      numRemovedFiles: String(task.inputs.length),
      numAddedFiles: String(result.outputs.length),
      numOutputRows: String(outputs.rows),
      numOutputBytes: String(sumOf(result.outputs.map(({ sizeBytes }) => sizeBytes))),
    },
  };
  const actions: Action[] = [
    ...result.outputs.map((file) => addAction(file, nowMs, false)),
    ...task.inputs.map((file) => removeAction(file, nowMs, false)),
    logAction(log),
  ];
  return { kind: "commit", ...sound(snapshot, { version: snapshot.version + 1, info, actions }) };
}

export const removeAction = ({ add }: DataFile, nowMs: number, dataChange: boolean): Action => ({
  remove: {
    path: add.path,
    deletionTimestamp: nowMs,
    dataChange,
    extendedFileMetadata: true,
    partitionValues: add.partitionValues,
    size: add.size,
  },
});

/** Files whose whole window is older than the retention. */
export function expiredFiles(snapshot: Snapshot, retentionMs: number): readonly DataFile[] {
  const beforeMs = snapshot.log.watermarkMs - retentionMs;
  return [...snapshot.files.values()].filter((file) => file.windowStartMs + LEVEL_MS[file.level] <= beforeMs);
}

/** Takes files out of the log for good. */
export function planExpire(
  snapshot: Snapshot,
  expired: readonly DataFile[],
  { txnId, nowMs }: CommitIdentity,
): CommitPlan {
  for (const { path } of expired)
    if (!snapshot.files.has(path)) return { kind: "stale", why: `${path} is no longer live` };
  const committedMs = Math.max(nowMs, snapshot.log.committedMs + 1);
  const gone = expired.reduce((totals, file) => addTotals(totals, file.totals), NO_ROWS);
  const log: LogState = { ...snapshot.log, committedMs, expired: addTotals(snapshot.log.expired, gone) };
  const info = {
    timestamp: nowMs,
    inCommitTimestamp: committedMs,
    operation: "DELETE",
    operationParameters: { reason: "retention" },
    isBlindAppend: false,
    txnId,
    engineInfo: "varve",
    operationMetrics: { numRemovedFiles: String(expired.length), numDeletedRows: String(gone.rows) },
  };
  const actions: Action[] = [...expired.map((file) => removeAction(file, nowMs, true)), logAction(log)];
  return { kind: "commit", ...sound(snapshot, { version: snapshot.version + 1, info, actions }) };
}

const sumOf = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0);

const unsound = (task: MergeTask, why: string): VarveError =>
  new VarveError(
    "unsound_merge",
    `merging ${task.inputs.length} files of ${new Date(task.windowStartMs).toISOString()} to level ${task.level} was given up: ${why}.`,
    "Nothing was committed, the files stay as they were. `varve verify` tells whether one of them is damaged.",
  );
