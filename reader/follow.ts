/**
 * Following the log, commit by commit, as it grows.
 *
 * Laws
 * - Commits come in order of version, each at least once. The version is the idempotency key: whoever keeps the last
 *   one beside its data and passes over what is not above it, has each commit exactly once.
 * - The cursor moves to a version once the consumer asks for what comes after it, never before.
 * - Commits that change no data (the higher levels) are passed over, and so are those that only move positions.
 * - What retention has taken is never skipped in silence: `behind_retention`.
 */
import { readLastCheckpoint } from "../shared/checkpoint.ts";
import type { Clock } from "../shared/clock.ts";
import type { Commit } from "../shared/delta.ts";
import { VarveError } from "../shared/errors.ts";
import { readCommit } from "../shared/log.ts";
import type { DataFile, Snapshot } from "../shared/snapshot.ts";
import { logStateIn, parseDataFile } from "../shared/snapshot.ts";
import type { ObjectStore } from "../shared/store.ts";
import type { Cursor } from "./cursor.ts";
import type { Filter, Since } from "./range.ts";
import { filesInRange, mayHold } from "./range.ts";
import { rowsOf } from "./rows.ts";
import type { ChangeRow, Column, Question } from "./scan.ts";
import type { ReadCounts } from "./scratch.ts";

/** The rows of one commit, or of the snapshot that following began with. */
export type ChangeBatch = {
  /** The idempotency key. A snapshot has the version that it was taken at. */
  readonly version: number;
  /** `snapshot`: all that is live, instead of the commits before. */
  readonly kind: "commit" | "snapshot";
  /** When it was committed, UTC ms. */
  readonly committedMs: number;
  /** Every change up to here is in this batch or those before it. UTC ms. */
  readonly watermarkMs: number;
  /** Read it once, before the next batch is asked for. */
  readonly rows: AsyncIterable<ChangeRow>;
  readonly counts: Readonly<ReadCounts>;
  /** Moves the cursor here at once. Asking for the next batch does so too. */
  readonly acknowledge: () => Promise<void>;
};

export type FollowStart =
  | { readonly kind: "version"; readonly version: number }
  /** All that is live and changed after `sinceMs`, and then the commits above. */
  | { readonly kind: "snapshot"; readonly sinceMs: number };

export type FollowPlan = {
  readonly start: FollowStart;
  readonly cursor: Cursor | null;
  readonly filter: Filter;
  readonly columns: readonly Column[];
  /** Between two looks for the next entry, ms. */
  readonly pollMs: number;
  /** False: ends at the tip instead of waiting for more. */
  readonly wait: boolean;
  readonly signal: AbortSignal | undefined;
};

/** An idle cursor is moved over entries that hold nothing for it, so that it does not fall behind. */
const IDLE_SAVE_EVERY = 30;
/** How often at the tip to look whether the log has gone on without this reader. */
const TIP_CHECK_MS = 10_000;
/** To the reader of time, "ever" is beyond any row. */
const EVER_MS = Number.MAX_SAFE_INTEGER;

/** @param snapshot at the tip */
export async function* followLog(
  store: ObjectStore,
  snapshot: Snapshot,
  plan: FollowPlan,
  clock: Clock,
): AsyncGenerator<ChangeBatch> {
  const { start, cursor, signal } = plan;
  let saved = -1;
  const save = async (version: number): Promise<void> => {
    if (version <= saved) return;
    await cursor?.save(version);
    saved = version;
  };
  const stopped = (): boolean => signal?.aborted ?? false;
  let version: number;
  if (start.kind === "snapshot") {
    version = snapshot.version;
    yield snapshotBatch(store, snapshot, start.sinceMs, plan, save);
    await save(version);
  } else {
    version = start.version;
    saved = version;
    if (version > snapshot.version) throw beyondTip(version, snapshot.version);
  }

  let tip = snapshot.version;
  let checkedMs = clock.nowMs();
  for (;;) {
    if (stopped()) return;
    const commit = await readCommit(store, version + 1, signal).catch((error: unknown) => {
      if (stopped()) return null;
      throw error;
    });
    if (commit === null) {
      if (stopped()) return;
      if (version < tip) throw behindRetention(version, `entry ${version + 1} is gone`);
      if (version - saved >= IDLE_SAVE_EVERY) await save(version);
      if (!plan.wait) break;
      if (clock.nowMs() - checkedMs >= TIP_CHECK_MS) {
        checkedMs = clock.nowMs();
        tip = Math.max(tip, (await readLastCheckpoint(store, signal))?.version ?? -1);
        if (tip > version) continue;
      }
      await clock.sleep(plan.pollMs, signal);
      continue;
    }
    version = commit.version;
    const files = addedFiles(commit, plan.filter);
    if (files.length === 0) continue;
    yield commitBatch(store, commit, files, plan, save);
    await save(version);
  }
  if (version > saved && !plan.wait) await save(version);
}

function snapshotBatch(
  store: ObjectStore,
  snapshot: Snapshot,
  sinceMs: number,
  { filter, columns, signal }: FollowPlan,
  save: (version: number) => Promise<void>,
): ChangeBatch {
  const range = { kind: "time", sinceMs, untilMs: EVER_MS } as const;
  const files = filesInRange(snapshot.files.values(), range, filter);
  const counts = { files: 0, bytes: 0, requests: 0 };
  return {
    version: snapshot.version,
    kind: "snapshot",
    committedMs: snapshot.log.committedMs,
    watermarkMs: snapshot.log.watermarkMs,
    rows: rowsOf(store, files, { range, filter, columns }, counts, signal),
    counts,
    acknowledge: () => save(snapshot.version),
  };
}

function commitBatch(
  store: ObjectStore,
  commit: Commit,
  files: readonly DataFile[],
  { filter, columns, signal }: FollowPlan,
  save: (version: number) => Promise<void>,
): ChangeBatch {
  const counts = { files: 0, bytes: 0, requests: 0 };
  const question: Question = { range: null, filter, columns };
  return {
    version: commit.version,
    kind: "commit",
    committedMs: commit.info.inCommitTimestamp,
    watermarkMs: logStateIn(commit)?.watermarkMs ?? 0,
    rows: whileKept(rowsOf(store, files, question, counts, signal), commit.version - 1),
    counts,
    acknowledge: () => save(commit.version),
  };
}

/** A file that an entry after `version` names and that is gone from the store was taken by retention. */
export async function* whileKept<T>(rows: AsyncIterable<T>, version: number): AsyncGenerator<T> {
  try {
    yield* rows;
  } catch (error) {
    if (!(error instanceof VarveError) || error.code !== "file_missing") throw error;
    throw behindRetention(version, "a file of an entry after it is gone", error);
  }
}

/** The files that the commit's changes are in, and that the filter does not rule out. */
export function addedFiles(commit: Commit, filter: Filter = {}): DataFile[] {
  return commit.actions
    .flatMap((action) => ("add" in action && action.add.dataChange ? [parseDataFile(action.add)] : []))
    .filter((file) => file !== null)
    .filter((file) => mayHold(file, filter))
    .toSorted((a, b) => a.minChangedMs - b.minChangedMs);
}

export const behindRetention = (version: number, why: string, cause?: unknown): VarveError =>
  new VarveError(
    "behind_retention",
    `version ${version} is behind the log's retention: ${why}. What changed after it can no longer be told commit by commit.`,
    "Begin again with --from-snapshot (fromSnapshot: true): it gives all that is live, and then goes on.",
    cause,
  );

export const beyondTip = (asked: number, tip: number): VarveError =>
  new VarveError(
    "beyond_tip",
    `version ${asked} has not been committed: the log ends at version ${tip}.`,
    "Give an earlier one.",
  );

/** Where to begin: what was asked for, or else where the cursor stands, or else with all that is live. */
export function followStart(
  since: Since | undefined,
  fromSnapshot: boolean,
  saved: number | null,
): FollowStart {
  if (fromSnapshot) return { kind: "snapshot", sinceMs: 0 };
  if (saved !== null) return { kind: "version", version: saved };
  if (since?.kind === "version") return since;
  return { kind: "snapshot", sinceMs: since?.ms ?? 0 };
}
