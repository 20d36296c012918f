/** What was written, and whether a log says so: each change once, in order, and never behind a watermark. */
import { createHash } from "node:crypto";
import { readCommits } from "../../shared/log.ts";
import type { Op, Row } from "../../shared/row.ts";
import { compareSequence } from "../../shared/sequence.ts";
import type { SequenceNumber } from "../../shared/sequence.ts";
import type { Snapshot } from "../../shared/snapshot.ts";
import { applyCommit } from "../../shared/snapshot.ts";
import type { ObjectStore } from "../../shared/store.ts";
import { LEVEL_MS, windowStartMs } from "../../shared/window.ts";
import { decodeRows, setsumOfRows } from "../fakes/parquet.ts";

export type Written = {
  readonly shard: string;
  readonly seq: SequenceNumber;
  readonly op: Op;
  /** When it was made, by the world's clock; undefined when nobody knows. */
  readonly madeMs?: number;
};

export type Truth = {
  /** What the stream recorded of each key and is a change, in order. */
  readonly changes: Map<string, Written[]>;
  readonly events: Set<string>;
  readonly objects: Set<string>;
  writes: number;
};

export const emptyTruth = (): Truth => ({
  changes: new Map(),
  events: new Set(),
  objects: new Set(),
  writes: 0,
});

/** Whether a change may be missing, for the stream no longer had it. */
export type Lost = (change: Written) => boolean;
const NOTHING_LOST: Lost = () => false;

/**
 * What is wrong with the log in `store`; empty when nothing is.
 * @param prompt the stream never says less than it has, and all clocks agree: no change up to W may then be missing
 */
export async function checkLog(
  store: ObjectStore,
  truth: Truth,
  prompt = false,
  lost = NOTHING_LOST,
): Promise<string[]> {
  const problems: string[] = [];
  const rows: Row[] = [];
  const overtaken = watchWatermark(truth);
  let snapshot: Snapshot | null = null;
  for await (const commit of readCommits(store, -1)) {
    const publishedMs: number = snapshot?.log.watermarkMs ?? 0;
    const before: string | null = snapshot?.entry ?? null;
    if (before !== null && commit.info.previousSha256 !== createHash("sha256").update(before).digest("hex")) {
      problems.push(`version ${commit.version} does not vouch for the entry before it`);
    }
    const applied = applyCommit(snapshot, commit);
    for (const { invariant, version, what } of applied.violations) {
      problems.push(`invariant ${invariant} is broken at version ${version}: ${what}`);
    }
    for (const action of commit.actions) {
      if (!("add" in action)) continue;
      if (!action.add.dataChange) {
        const merged = applied.snapshot.files.get(action.add.path);
        // A change up to W would be missing that a later one, after W, stands for.
        if (merged !== undefined && merged.windowStartMs + LEVEL_MS[merged.level] > publishedMs)
          problems.push(
            `${merged.path} was merged before the watermark, ${publishedMs}, had passed its window`,
          );
        continue;
      }
      const file = await readFile(store, applied.snapshot, action.add.path, problems);
      for (const { key, changedMs } of file) {
        if (changedMs <= publishedMs) {
          problems.push(`${key} appears at ${changedMs}, and ${publishedMs} was published before`);
        }
      }
      rows.push(...file);
    }
    snapshot = applied.snapshot;
    if (prompt) problems.push(...overtaken(rows, snapshot));
  }
  checkRows(rows, truth, problems, lost);
  await checkLive(store, snapshot, truth, problems, lost);
  return problems;
}

/** Asked at each version: the changes made up to its watermark that no row so far stands for. */
function watchWatermark(truth: Truth): (rows: readonly Row[], snapshot: Snapshot) => string[] {
  const made = [...truth.changes]
    .flatMap(([key, changes]) => changes.map((change, index) => ({ key, index, madeMs: change.madeMs ?? 0 })))
    .toSorted((a, b) => a.madeMs - b.madeMs);
  const covered = new Map<string, number>();
  let [seen, passed] = [0, 0];
  return (rows, { version, log }) => {
    for (; seen < rows.length; seen += 1) {
      const { key, shard, seq } = rows[seen] as Row;
      const index = (truth.changes.get(key) ?? []).findIndex(
        (change) => change.shard === shard && change.seq === seq,
      );
      covered.set(key, Math.max(covered.get(key) ?? -1, index));
    }
    const late: string[] = [];
    for (; (made[passed]?.madeMs ?? Infinity) <= log.watermarkMs; passed += 1) {
      const { key, index, madeMs } = made[passed] as (typeof made)[number];
      if ((covered.get(key) ?? -1) >= index) continue;
      late.push(
        `${key} was changed at ${madeMs}, and is not in at version ${version}, watermark ${log.watermarkMs}`,
      );
    }
    return late;
  };
}

/** What stands after merging says the same. */
async function checkLive(
  store: ObjectStore,
  snapshot: Snapshot | null,
  truth: Truth,
  problems: string[],
  lost: Lost,
): Promise<void> {
  if (snapshot === null) return;
  const rows: Row[] = [];
  for (const path of snapshot.files.keys()) rows.push(...(await readFile(store, snapshot, path, problems)));
  checkRows(rows, truth, problems, lost);
}

/** A file's rows, which are what the log says of them, one a key. */
async function readFile(
  store: ObjectStore,
  snapshot: Snapshot,
  path: string,
  problems: string[],
): Promise<Row[]> {
  const object = await store.get(path);
  const file = snapshot.files.get(path);
  if (object === null || file === undefined) {
    problems.push(`${path} is missing`);
    return [];
  }
  const rows = decodeRows(object.body);
  if (setsumOfRows(rows) !== file.totals.sum) problems.push(`${path} is not what the log says`);
  if (new Set(rows.map(({ key }) => key)).size !== rows.length) problems.push(`${path} holds a key twice`);
  if (rows.some(({ changedMs }) => windowStartMs(file.level, changedMs) !== file.windowStartMs)) {
    problems.push(`${path} holds rows of another window`);
  }
  return rows;
}

type CheckedRow = Pick<Row, "key" | "op" | "shard" | "seq" | "changes" | "changedMs">;

/** Each row stands for the changes of its key since the row before it: none is missing, and none comes twice. */
export function checkRows(
  rows: readonly CheckedRow[],
  truth: Truth,
  problems: string[],
  lost = NOTHING_LOST,
): void {
  const byKey = Map.groupBy(rows, ({ key }) => key);
  for (const key of byKey.keys()) if (!truth.changes.has(key)) problems.push(`${key} was never written`);
  for (const [key, written] of truth.changes) {
    let covered = 0;
    for (const row of (byKey.get(key) ?? []).toSorted(inReadingOrder)) {
      const index = written.findIndex(({ shard, seq }) => shard === row.shard && seq === row.seq);
      const change = written[index];
      if (change === undefined) problems.push(`${key} ${row.seq} was never written`);
      else if (index < covered) problems.push(`${key} ${row.seq} comes twice, or after a later change`);
      else if (!isAllOf(written.slice(covered, index + 1), row.changes, lost)) {
        problems.push(
          `${key} ${row.seq} stands for ${row.changes} changes; ${index + 1 - covered} were made`,
        );
      } else if (change.op !== row.op) problems.push(`${key} ${row.seq} is ${row.op}; it was ${change.op}`);
      covered = Math.max(covered, index + 1);
    }
    if (!isAllOf(written.slice(covered), 0, lost)) {
      problems.push(`${key}: ${written.length - covered} of ${written.length} changes are missing`);
    }
  }
}

/** Whether so many of `changes` were kept as could be. */
function isAllOf(changes: readonly Written[], kept: number, lost: Lost): boolean {
  const missing = changes.length - kept;
  return missing === 0 || (missing > 0 && missing <= changes.filter(lost).length);
}

/** The order in which a reader learns of changes. */
const inReadingOrder = (a: CheckedRow, b: CheckedRow): number =>
  a.changedMs - b.changedMs ||
  (a.shard < b.shard ? -1 : a.shard > b.shard ? 1 : compareSequence(a.seq, b.seq));
