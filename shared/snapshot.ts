/**
 * A snapshot: the log folded at a version. `applyCommit` is both the fold and the law: it gives the next
 * snapshot and every invariant that the commit breaks. Writers run it before each commit, readers at each load.
 *
 * Invariants
 * 1. Versions have no gap.
 * 2. A shard's position only moves forward, and a commit's `from` equals the position before it.
 * 3. No child shard has a position before its parent is done.
 * 4. The watermark never goes back, never passes the last complete shard discovery or the least shard
 *    watermark, and no row appears at or below one already published.
 * 5. Rows committed = live + superseded + expired + forgotten, as counts and as set checksums.
 * 6. A file is added once and removed once.
 */
import { z } from "zod";
import type { Action, Add, Commit, MetaData, Protocol } from "./delta.ts";
import type { Position } from "./position.ts";
import { SHARD_DOMAIN, lastChangedMs, parsePosition } from "./position.ts";
import { compareSequence } from "./sequence.ts";
import type { Setsum } from "./setsum.ts";
import { EMPTY_SETSUM, addSetsum, parseSetsum, subtractSetsum } from "./setsum.ts";
import { watermarkOf } from "./watermark.ts";
import type { Level } from "./window.ts";
import { LEVELS } from "./window.ts";

export const LOG_DOMAIN = "varve.log";
export const GAP_DOMAIN = "varve.gap.";
export const READER_VERSION_MAX = 1;

export type Totals = { readonly rows: number; readonly sum: Setsum };
export const NO_ROWS: Totals = { rows: 0, sum: EMPTY_SETSUM };

export const addTotals = (a: Totals, b: Totals): Totals => ({
  rows: a.rows + b.rows,
  sum: addSetsum(a.sum, b.sum),
});
export const subtractTotals = (a: Totals, b: Totals): Totals => ({
  rows: a.rows - b.rows,
  sum: subtractSetsum(a.sum, b.sum),
});

const SETSUM = z.string().transform((value, context): Setsum => {
  const sum = parseSetsum(value);
  if (sum !== null) return sum;
  context.addIssue("not a set checksum");
  return z.NEVER;
});
const TOTALS = z.object({ rows: z.number().int(), sum: SETSUM });

const LOG_STATE = z.object({
  /** The commit's time, strictly ascending. UTC ms. */
  committedMs: z.number().int(),
  /** W: every change up to here is in. UTC ms; 0 before the first. */
  watermarkMs: z.number().int(),
  /** When the last complete discovery of shards began. UTC ms. */
  discoveredMs: z.number().int(),
  /** Changes that all the rows ever committed stand for. */
  changes: z.number().int(),
  committed: TOTALS,
  superseded: TOTALS,
  expired: TOTALS,
  /** Rows taken out one by one, as a person's are. */
  forgotten: TOTALS.default(NO_ROWS),
});
export type LogState = Readonly<z.infer<typeof LOG_STATE>>;

const GAP = z.object({
  shard: z.string(),
  /** What is missing lies after this position, null: from the shard's start. */
  after: z.string().nullable(),
  /** The first change kept after the gap, null while not known. */
  reason: z.string(),
  detectedMs: z.number().int(),
});
export type Gap = Readonly<z.infer<typeof GAP>>;

export const gapText = ({ shard, after, reason }: Gap): string =>
  `${shard}: gap after ${after ?? "its start"}: ${reason}`;

const STATS = z.object({
  numRecords: z.number().int(),
  minValues: z.looseObject({ changed_ms: z.number() }),
  maxValues: z.looseObject({ changed_ms: z.number() }),
});

/** A live data file. */
export type DataFile = {
  readonly path: string;
  readonly level: Level;
  readonly windowStartMs: number;
  readonly sizeBytes: number;
  readonly totals: Totals;
  readonly changes: number;
  readonly minChangedMs: number;
  readonly maxChangedMs: number;
  /** SHA-256 of the file's bytes, hex. */
  readonly sha256: string;
  readonly add: Add;
};

export type Snapshot = {
  readonly version: number;
  readonly protocol: Protocol;
  readonly metaData: MetaData;
  readonly files: ReadonlyMap<string, DataFile>;
  /** Removed files and when, ms: they may still lie in the store. */
  readonly removed: ReadonlyMap<string, number>;
  readonly shards: ReadonlyMap<string, Position>;
  readonly gaps: ReadonlyMap<string, Gap>;
  readonly log: LogState;
  readonly live: Totals;
  /** The entry of this version; null after a checkpoint, which does not hold it. */
  readonly entry: string | null;
};

export const EMPTY_LOG: LogState = {
  committedMs: 0,
  watermarkMs: 0,
  discoveredMs: 0,
  changes: 0,
  committed: NO_ROWS,
  superseded: NO_ROWS,
  expired: NO_ROWS,
  forgotten: NO_ROWS,
};

export type Violation = {
  readonly invariant: 1 | 2 | 3 | 4 | 5 | 6;
  readonly version: number;
  readonly what: string;
};
export type Applied = { readonly snapshot: Snapshot; readonly violations: readonly Violation[] };

/** Null when the add's tags or statistics are not those of a file of ours. */
export function parseDataFile(add: Add): DataFile | null {
  const level = LEVELS.find((known) => String(known) === add.tags?.["level"]);
  const sum = parseSetsum(add.tags?.["setsum"] ?? "");
  const windowStartMs = Number(add.tags?.["window"]);
  const changes = Number(add.tags?.["changes"]);
  let stats: z.infer<typeof STATS>;
  try {
    stats = STATS.parse(JSON.parse(add.stats ?? ""));
  } catch {
    return null;
  }
  if (
    level === undefined ||
    sum === null ||
    !Number.isSafeInteger(windowStartMs) ||
    !Number.isSafeInteger(changes)
  )
    return null;
  return {
    path: add.path,
    level,
    windowStartMs,
    sizeBytes: add.size,
    totals: { rows: stats.numRecords, sum },
    changes,
    minChangedMs: stats.minValues.changed_ms,
    maxChangedMs: stats.maxValues.changed_ms,
    sha256: add.tags?.["sha256"] ?? "",
    add,
  };
}

/** Applies one commit. `before` is null for version 0. Never throws: what is wrong is in `violations`. */
export function applyCommit(before: Snapshot | null, commit: Commit): Applied {
  const { version } = commit;
  const violations: Violation[] = [];
  const broken = (invariant: Violation["invariant"], what: string): void => {
    violations.push({ invariant, version, what });
  };

  if (version !== (before?.version ?? -1) + 1) {
    broken(1, `version ${version} follows ${before === null ? "nothing" : before.version}`);
  }

  // Copied only when this commit touches them: most touch few.
  const files = lazyCopy(before?.files);
  const removed = lazyCopy(before?.removed);
  const shards = lazyCopy(before?.shards);
  const gaps = lazyCopy(before?.gaps);
  let protocol = before?.protocol ?? { minReaderVersion: 0, minWriterVersion: 0 };
  let metaData = before?.metaData;
  let log = before?.log ?? EMPTY_LOG;
  let live = before?.live ?? NO_ROWS;
  let committed = log.committed;
  let changes = log.changes;
  const publishedMs = log.watermarkMs;

  for (const action of commit.actions) {
    if ("add" in action) {
      const file = parseDataFile(action.add);
      if (file === null) {
        broken(5, `${action.add.path} carries no level, window, row count or set checksum`);
        continue;
      }
      if (files.now().has(file.path) || removed.now().has(file.path))
        broken(6, `${file.path} is added a second time`);
      files.own().set(file.path, file);
      live = addTotals(live, file.totals);
      if (!action.add.dataChange) continue;
      committed = addTotals(committed, file.totals);
      changes += file.changes;
      if (file.minChangedMs <= publishedMs) {
        broken(
          4,
          `${file.path} holds a row at ${file.minChangedMs}, but the watermark was ${publishedMs} already`,
        );
      }
    } else if ("remove" in action) {
      const file = files.now().get(action.remove.path);
      if (file === undefined) {
        broken(6, `${action.remove.path} is removed, but is not a live file`);
        continue;
      }
      files.own().delete(file.path);
      removed.own().set(file.path, action.remove.deletionTimestamp ?? commit.info.timestamp);
      live = subtractTotals(live, file.totals);
    } else if ("domainMetadata" in action) {
      const { domain, configuration } = action.domainMetadata;
      if (domain === LOG_DOMAIN) {
        const next = parseJson(LOG_STATE, configuration);
        if (next === null) broken(5, "the totals cannot be read");
        else log = next;
      } else if (domain.startsWith(SHARD_DOMAIN)) {
        const shard = domain.slice(SHARD_DOMAIN.length);
        if (action.domainMetadata.removed) {
          if (shards.now().get(shard)?.done !== true) broken(2, `${shard} is forgotten before it is done`);
          shards.own().delete(shard);
          continue;
        }
        const next = parsePosition(configuration);
        if (next === null) {
          broken(2, `the position of ${shard} cannot be read`);
          continue;
        }
        for (const what of checkMove(shards.now().get(shard), next)) broken(2, `${shard}: ${what}`);
        shards.own().set(shard, next);
      } else if (domain.startsWith(GAP_DOMAIN)) {
        const gap = parseJson(GAP, configuration);
        if (gap === null) broken(2, `gap ${domain} cannot be read`);
        else gaps.own().set(domain.slice(GAP_DOMAIN.length), gap);
      }
    } else if ("metaData" in action) metaData = action.metaData;
    else if ("protocol" in action) protocol = action.protocol;
  }

  for (const [shard, position] of shards.now()) {
    const parent = position.parent === null ? undefined : shards.now().get(position.parent);
    if (position.seq !== null && parent !== undefined && !parent.done) {
      broken(3, `${shard} is at ${position.seq}, but its parent ${position.parent} is not done`);
    }
  }
  if (log.watermarkMs < publishedMs)
    broken(4, `the watermark goes back from ${publishedMs} to ${log.watermarkMs}`);
  const limitMs = watermarkOf(shards.now(), log.discoveredMs);
  if (log.watermarkMs > limitMs)
    broken(4, `the watermark ${log.watermarkMs} is past ${limitMs}, what the shards allow`);
  if (!equalTotals(log.committed, committed)) {
    broken(
      5,
      `it says ${log.committed.rows} rows are committed, its files make it ${committed.rows}, or their checksum differs`,
    );
  }
  if (log.changes !== changes)
    broken(5, `it says ${log.changes} changes are committed, its files make it ${changes}`);
  if (!equalTotals(log.committed, addTotals(live, goneOf(log)))) {
    broken(
      5,
      `committed ${log.committed.rows} is not live ${live.rows} + superseded ${log.superseded.rows} + expired ${log.expired.rows} + forgotten ${log.forgotten.rows}, or their checksums differ`,
    );
  }
  if (metaData === undefined) {
    broken(1, "there is no metaData");
    metaData = {
      id: "",
      format: { provider: "parquet" },
      schemaString: "",
      partitionColumns: [],
      configuration: {},
    };
  }

  if (
    log.committedMs !== commit.info.inCommitTimestamp ||
    log.committedMs <= (before?.log.committedMs ?? -1)
  ) {
    broken(1, `its time ${commit.info.inCommitTimestamp} is not after that of the version before`);
  }
  return {
    snapshot: {
      version,
      entry: commit.entry ?? null,
      protocol,
      metaData,
      files: files.now(),
      removed: removed.now(),
      shards: shards.now(),
      gaps: gaps.now(),
      log,
      live,
    },
    violations,
  };
}

/**
 * The snapshot that a checkpoint's actions come to. Its history is not in it, so only what stands is checked.
 * Null when it is not whole: the log is then read from its start.
 */
export function restoreSnapshot(version: number, actions: readonly Action[]): Snapshot | null {
  const log = actions.find(
    (action) => "domainMetadata" in action && action.domainMetadata.domain === LOG_DOMAIN,
  );
  if (log === undefined) return null;
  const before: Snapshot = {
    version: version - 1,
    protocol: { minReaderVersion: 0, minWriterVersion: 0 },
    metaData: { id: "", format: { provider: "" }, schemaString: "", partitionColumns: [], configuration: {} },
    files: new Map(),
    removed: new Map(),
    shards: new Map(),
    gaps: new Map(),
    log: EMPTY_LOG,
    live: NO_ROWS,
    entry: null,
  };
  const removals = actions.flatMap((action) => ("remove" in action ? [action.remove] : []));
  const standing = actions.filter((action) => !("remove" in action));
  const info = { inCommitTimestamp: 0, timestamp: 0, operation: "CHECKPOINT", txnId: "" };
  const { snapshot } = applyCommit(before, { version, info, actions: standing });
  const { log: totals } = snapshot;
  const accounted = addTotals(snapshot.live, goneOf(totals));
  if (!equalTotals(totals.committed, accounted)) return null;
  return {
    ...snapshot,
    removed: new Map(removals.map(({ path, deletionTimestamp }) => [path, deletionTimestamp ?? 0])),
  };
}

function lazyCopy<K, V>(before: ReadonlyMap<K, V> = new Map()) {
  let copy: Map<K, V> | null = null;
  return { now: (): ReadonlyMap<K, V> => copy ?? before, own: (): Map<K, V> => (copy ??= new Map(before)) };
}

function checkMove(before: Position | undefined, next: Position): string[] {
  const wrong: string[] = [];
  const seq = before?.seq ?? null;
  if (next.from !== seq) wrong.push(`the batch was read from ${next.from}, but the position is ${seq}`);
  if (compareSequence(next.seq, seq) < 0) wrong.push(`the position goes back from ${seq} to ${next.seq}`);
  if (before !== undefined && next.at < before.at)
    wrong.push(`its watermark goes back from ${before.at} to ${next.at}`);
  if (before !== undefined && lastChangedMs(next) < lastChangedMs(before))
    wrong.push(`its changed_ms goes back from ${lastChangedMs(before)} to ${lastChangedMs(next)}`);
  if (before?.done && (!next.done || next.seq !== seq)) wrong.push("it is done, and moves again");
  return wrong;
}

/** What a commit says of the log as a whole; null when it does not, or not so that it can be read. */
export function logStateIn({ actions }: Commit): LogState | null {
  for (const action of actions) {
    if ("domainMetadata" in action && action.domainMetadata.domain === LOG_DOMAIN)
      return parseJson(LOG_STATE, action.domainMetadata.configuration);
  }
  return null;
}

/** Rows that were committed and are no longer live. */
const goneOf = ({ superseded, expired, forgotten }: LogState): Totals =>
  addTotals(addTotals(superseded, expired), forgotten);

export const equalTotals = (a: Totals, b: Totals): boolean => a.rows === b.rows && a.sum === b.sum;

function parseJson<T>(schema: z.ZodType<T>, json: string): T | null {
  try {
    return schema.parse(JSON.parse(json));
  } catch {
    return null;
  }
}
