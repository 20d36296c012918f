/**
 * Verification: the log against its invariants, the files against the log, and the table against the files.
 * What is wrong is reported, never thrown; only what cannot be read at all throws.
 */
import { count } from "../shared/amounts.ts";
import type { AttributeMap } from "../shared/item.ts";
import type { ObjectStore } from "../shared/store.ts";
import { equalTotals } from "../shared/snapshot.ts";
import { openScratch } from "./scratch.ts";
import { checkFiles, checkPositions, checkRepeats, createSeen } from "./verify-files.ts";
import { replayLog } from "./verify-log.ts";
import { checkTable } from "./verify-table.ts";

/** The table's items, and how to read some of them again. */
export type TableReader = {
  readonly name: string;
  readonly scan: () => AsyncIterable<readonly AttributeMap[]>;
  /** Some `count` items from all over the table; all of them when there are fewer. */
  readonly sample: (count: number) => AsyncIterable<readonly AttributeMap[]>;
  /** By key as JSON text. Absent ones are left out. */
  readonly read: (keys: readonly string[]) => Promise<ReadonlyMap<string, AttributeMap>>;
  readonly keyOf: (item: AttributeMap) => string;
};

export type ProblemKind =
  | "log_entry"
  | "checkpoint"
  | "file_missing"
  | "file_damaged"
  | "rows"
  | "row_doubled"
  | "totals"
  | "table"
  /** The changelog is behind the table: whether something is missing cannot be known yet. */
  | "table_ahead";

export type Problem = { readonly kind: ProblemKind; readonly what: string; readonly where: string };
export type Progress = (step: string, done: number, total: number | null) => void;

export type Report = {
  readonly version: number;
  readonly watermarkMs: number;
  /** Log entries that were read, and the version of the checkpoint they were read on from; null: from the start. */
  readonly commits: number;
  readonly fromCheckpoint: number | null;
  readonly checkpoints: number;
  readonly files: number;
  readonly bytes: number;
  readonly rows: number;
  readonly changes: number;
  readonly superseded: number;
  readonly expired: number;
  /** Rows that were taken out one by one (`varve forget`). */
  readonly forgotten: number;
  readonly gaps: number;
  readonly setsum: string;
  readonly table: TableReport | null;
  readonly problems: readonly Problem[];
};
export type TableReport = {
  readonly name: string;
  /** Items that were compared. */
  readonly items: number;
  /** Keys in the changelog. */
  readonly keys: number;
  /** Keys that were compared; null: all. */
  readonly sampled: number | null;
  /** Keys whose item has expired in the table since. */
  readonly expired: number;
  /** Items whose rows the changelog's own retention may have taken. */
  readonly beyondRetention: number;
};

export type VerifyOptions = {
  readonly table?: TableReader;
  /** Compare about this many keys with the table, instead of all. */
  readonly sample?: number | undefined;
  readonly nowMs: () => number;
  readonly sleep: (ms: number) => Promise<void>;
  /** An event's item may be gone once it is older: the edge's dedupe window. */
  readonly dedupeMs: number;
  /** How long the watermark is waited for, to pass the time at which the table was read. */
  readonly settleMs: number;
  readonly progress?: Progress;
};

export async function verify(store: ObjectStore, options: VerifyOptions): Promise<Report> {
  const problems: Problem[] = [];
  const progress = options.progress ?? (() => undefined);
  const scratch = await openScratch(store);
  try {
    const replayed = await replayLog(store, problems, progress);
    const { snapshot } = replayed;
    await createSeen(scratch.connection);
    const live = await checkFiles(scratch, [...snapshot.files.values()], problems, progress);
    if (!equalTotals(live, snapshot.live)) {
      problems.push({
        kind: "totals",
        what: `the live files hold ${live.rows} rows with set checksum ${live.sum}; the log says ${snapshot.live.rows} with ${snapshot.live.sum}`,
        where: `version ${snapshot.version}`,
      });
    }
    await checkRepeats(scratch.connection, options.dedupeMs, problems);
    await checkPositions(scratch.connection, snapshot, problems);
    const table =
      options.table === undefined
        ? null
        : await checkTable(scratch, store, snapshot, options.table, options, problems, progress);
    return {
      version: snapshot.version,
      watermarkMs: snapshot.log.watermarkMs,
      commits: replayed.commits,
      fromCheckpoint: replayed.fromCheckpoint,
      checkpoints: replayed.checkpoints,
      files: snapshot.files.size,
      bytes: scratch.counts.bytes,
      rows: live.rows,
      changes: snapshot.log.changes,
      superseded: snapshot.log.superseded.rows,
      expired: snapshot.log.expired.rows,
      forgotten: snapshot.log.forgotten.rows,
      gaps: snapshot.gaps.size,
      setsum: live.sum,
      table,
      problems,
    };
  } finally {
    await scratch.close();
  }
}

/** Problems of one kind that are named one by one; the rest are counted. */
export const NAMED_MAX = 20;

/** @param total how many there are, of which `found` are the first */
export function named<T>(
  problems: Problem[],
  kind: ProblemKind,
  found: readonly T[],
  total: number,
  describe: (one: T) => Omit<Problem, "kind">,
): void {
  problems.push(...found.slice(0, NAMED_MAX).map((one) => ({ kind, ...describe(one) })));
  if (total > NAMED_MAX)
    problems.push({ kind, what: `${count(total - NAMED_MAX)} more like these`, where: "" });
}
