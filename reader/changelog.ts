/**
 * The reader's public API, `import { openChangelog } from "varve/reader"`.
 *
 *     const changelog = await openChangelog("s3://bucket/prefix/region/table");
 *     const { rows, next } = await changelog.changesSince("2h");
 *     for await (const row of rows) console.log(row.op, row.collection, row.id);
 *     // next is where to go on from: keep it
 *
 * Times are UTC ms since the epoch, sizes are bytes. Whatever fails throws a VarveError: `code` is for programs,
 * `message` says what is wrong, `fix` what to do. The codes: no_changelog, bad_address, store_unreadable (which call
 * failed, and why), file_missing, file_damaged, invariant_broken, bad_log_entry, newer_protocol, bad_since,
 * mixed_range, empty_range, in_future, past_retention, beyond_tip, behind_retention, bad_cursor, bad_consumer,
 * consumer_taken, bad_key, out_of_memory, out_of_disk. An aborted signal throws its reason.
 */
import type { Clock } from "../shared/clock.ts";
import { systemClock } from "../shared/clock.ts";
import { VarveError } from "../shared/errors.ts";
import { loadSnapshot, readCommits } from "../shared/log.ts";
import type { DataFile, Snapshot } from "../shared/snapshot.ts";
import type { ObjectStore } from "../shared/store.ts";
import type { S3Options } from "./address.ts";
import { openStore } from "./address.ts";
import type { Cursor } from "./cursor.ts";
import { consumerCursor, fileCursor } from "./cursor.ts";
import type { ChangeBatch } from "./follow.ts";
import { addedFiles, behindRetention, beyondTip, followLog, followStart, whileKept } from "./follow.ts";
import type { KeyLike } from "./key.ts";
import { latestRow } from "./key.ts";
import type { Filter, Notice, Since } from "./range.ts";
import { checkRange, filesInRange, parseSince, timeRange } from "./range.ts";
import { rowsOf } from "./rows.ts";
import type { ChangeRow, Column } from "./scan.ts";
import { COLUMNS } from "./scan.ts";
import type { FileCounts, ReadCounts } from "./scratch.ts";

export { VarveError } from "../shared/errors.ts";
export type { Op } from "../shared/row.ts";
export type { DataFile, Gap, LogState, Snapshot, Totals } from "../shared/snapshot.ts";
export type { ObjectStore } from "../shared/store.ts";
export { openDirectoryStore } from "../shared/directory.ts";
export type { S3Options } from "./address.ts";
export type { Cursor } from "./cursor.ts";
export type { ChangeBatch } from "./follow.ts";
export type { KeyLike } from "./key.ts";
export type { Filter, Notice, Since } from "./range.ts";
export { describeSince } from "./range.ts";
export type { ChangeRow, Column } from "./scan.ts";
export type { FileCounts, ReadCounts } from "./scratch.ts";

/**
 * A point to read from: a Since; a Date; or text: an ISO time (`2026-11-23T09:00:00Z`), a span back from now
 * (`30s`, `15m`, `2h`, `7d`), or a version (`120`).
 */
export type SinceLike = Since | Date | string;

export type ChangesOptions = Filter & {
  /** Up to and including; by default up to the watermark, or the newest version. */
  readonly until?: SinceLike | undefined;
  /** Of the columns that can be null, those to read; the others are null in the rows. Default: all. */
  readonly columns?: readonly Column[] | undefined;
  readonly signal?: AbortSignal | undefined;
};

export type Changes = {
  /** Read it once; ends when all are given. Within a run of overlapping files, by (changedMs, shard, seq). */
  readonly rows: AsyncIterable<ChangeRow>;
  /** Where these rows begin, exclusive. */
  readonly since: Since;
  /** Where the next call goes on: the watermark, or the version, that these rows reach, inclusive. */
  readonly next: Since;
  /** Files and bytes of all the live ones, and (once `rows` has ended) of those that were read. */
  readonly counts: { readonly live: Readonly<FileCounts>; readonly read: Readonly<ReadCounts> };
  readonly notices: readonly Notice[];
};

export type FollowOptions = Filter & {
  /** Where to begin when no cursor stands. Default: with a snapshot of all that is live. */
  readonly since?: SinceLike | undefined;
  /** Begin with a snapshot whatever the cursor says: the way back after `behind_retention`. */
  readonly fromSnapshot?: boolean | undefined;
  /** A cursor kept in the changelog root under this name. One program at a time may use it. */
  readonly consumer?: string | undefined;
  /** A cursor kept in the file of this path, or by yourself. */
  readonly cursor?: string | Cursor | undefined;
  readonly columns?: readonly Column[] | undefined;
  /** How often to look for the next commit, ms. Default: 1000. */
  readonly pollMs?: number | undefined;
  /** False: end at the tip instead of waiting for more. Default: true. */
  readonly wait?: boolean | undefined;
  /** Ends the iteration; a commit half read is given again next time. */
  readonly signal?: AbortSignal | undefined;
};

export type Changelog = {
  /** The log at its tip: version, live files, positions, gaps, watermark. */
  readonly snapshot: () => Promise<Snapshot>;
  /** Live files, oldest window first. */
  readonly files: () => Promise<readonly DataFile[]>;
  /** Rows of the half-open range (since, until]. Costs what changed, not what exists. */
  readonly changesSince: (since: SinceLike, options?: ChangesOptions) => Promise<Changes>;
  /**
   * Commit by commit, in order, at least once; `version` is the idempotency key. Asking for the next batch moves
   * the cursor past the one before; leaving the loop does not.
   */
  readonly follow: (options?: FollowOptions) => AsyncIterable<ChangeBatch>;
  /**
   * The latest row of one key, null when there is none; a deleted key's row has op `delete`. Reads newest files
   * first, and of those only what their statistics do not rule out. It knows what is committed, watermark or not.
   */
  readonly get: (
    key: KeyLike,
    options?: { readonly signal?: AbortSignal | undefined },
  ) => Promise<ChangeRow | null>;
  /** Lets connections go. */
  readonly close: () => void;
};

export type OpenOptions = { readonly s3?: S3Options | undefined; readonly clock?: Clock | undefined };

/**
 * @param at the changelog root: `s3://bucket/prefix/region/table` (S3, R2), `file:///directory`, or an ObjectStore
 * Throws `no_changelog` when there is no log there.
 */
export async function openChangelog(at: string | ObjectStore, options: OpenOptions = {}): Promise<Changelog> {
  const store = typeof at === "string" ? openStore(at, options.s3) : at;
  const clock = options.clock ?? systemClock;
  let known = await required(store);
  const refresh = async (): Promise<Snapshot> => {
    known = (await loadSnapshot(store, known)) ?? known;
    return known;
  };
  const pointOf = (since: SinceLike): Since => {
    if (typeof since === "string") return parseSince(since, clock.nowMs());
    return since instanceof Date ? { kind: "time", ms: since.getTime() } : since;
  };

  return {
    snapshot: refresh,
    files: async () => {
      const { files } = await refresh();
      return [...files.values()].toSorted((a, b) => a.windowStartMs - b.windowStartMs || a.level - b.level);
    },
    changesSince: async (
      asked: SinceLike,
      { until: untilAsked, columns, signal, ...filter }: ChangesOptions = {},
    ): Promise<Changes> => {
      const snapshot = await refresh();
      const since = pointOf(asked);
      const until = untilAsked === undefined ? undefined : pointOf(untilAsked);
      if (until !== undefined && until.kind !== since.kind) {
        throw new VarveError(
          "mixed_range",
          "since and until are of different kinds.",
          "Give two times or two versions.",
        );
      }
      const read: ReadCounts = { files: 0, bytes: 0, requests: 0 };
      const wanted = columns ?? COLUMNS;
      const shared = { since, counts: { live: countsOf(snapshot.files.values()), read } };
      if (since.kind === "version") {
        const last = until?.kind === "version" ? Math.min(until.version, snapshot.version) : snapshot.version;
        const files = await filesOfVersions(store, snapshot, since.version, last, filter, signal);
        const question = { range: null, filter, columns: wanted };
        const rows = whileKept(rowsOf(store, files, question, read, signal), since.version);
        return { ...shared, rows, next: { kind: "version", version: last }, notices: [] };
      }
      const untilMs = until?.kind === "time" ? until.ms : undefined;
      const range = timeRange(snapshot, since.ms, untilMs);
      const notices = checkRange(snapshot, since.ms, untilMs, clock.nowMs());
      const files = filesInRange(snapshot.files.values(), range, filter);
      const rows = rowsOf(store, files, { range, filter, columns: wanted }, read, signal);
      return { ...shared, rows, next: { kind: "time", ms: range.untilMs }, notices };
    },
    follow: async function* ({
      since,
      fromSnapshot = false,
      consumer,
      cursor: cursorAt,
      columns,
      pollMs = 1000,
      wait = true,
      signal,
      ...filter
    }: FollowOptions = {}): AsyncGenerator<ChangeBatch> {
      const snapshot = await refresh();
      const cursor = cursorOf(store, snapshot.metaData.id, consumer, cursorAt);
      const start = followStart(
        since === undefined ? undefined : pointOf(since),
        fromSnapshot,
        (await cursor?.load()) ?? null,
      );
      const wanted = columns ?? COLUMNS;
      yield* followLog(
        store,
        snapshot,
        { start, cursor, filter, columns: wanted, pollMs, wait, signal },
        clock,
      );
    },
    get: async (key, { signal } = {}) => {
      const { files } = await refresh();
      return latestRow(store, [...files.values()], key, signal);
    },
    close: () => {
      if ("close" in store && typeof store.close === "function") (store as { close: () => void }).close();
    },
  };
}

async function required(store: ObjectStore): Promise<Snapshot> {
  const snapshot = await loadSnapshot(store);
  if (snapshot !== null) return snapshot;
  throw new VarveError(
    "no_changelog",
    "there is no changelog at this address.",
    "Check VARVE_CHANGELOG; the compactor makes the changelog when it first starts.",
  );
}

function cursorOf(
  store: ObjectStore,
  changelog: string,
  consumer: string | undefined,
  cursor: string | Cursor | undefined,
): Cursor | null {
  if (consumer !== undefined && cursor !== undefined) {
    throw new VarveError("bad_cursor", "a consumer and a cursor are both given.", "Give one of them.");
  }
  if (consumer !== undefined) return consumerCursor(store, consumer, changelog);
  return typeof cursor === "string" ? fileCursor(cursor, changelog) : (cursor ?? null);
}

/** Files that the commits of (after, last] added. Throws `beyond_tip` and `behind_retention`. */
async function filesOfVersions(
  store: ObjectStore,
  snapshot: Snapshot,
  after: number,
  last: number,
  filter: Filter,
  signal?: AbortSignal,
): Promise<DataFile[]> {
  if (after > snapshot.version) throw beyondTip(after, snapshot.version);
  const files: DataFile[] = [];
  let version = after;
  for await (const commit of readCommits(store, after, signal)) {
    if (commit.version > last) break;
    if (commit.version !== version + 1) break;
    version = commit.version;
    files.push(...addedFiles(commit, filter));
  }
  if (version < last) throw behindRetention(after, `entry ${version + 1} is gone`);
  return files.toSorted((a, b) => a.minChangedMs - b.minChangedMs);
}

function countsOf(files: Iterable<DataFile>): FileCounts {
  const counts: FileCounts = { files: 0, bytes: 0 };
  for (const { sizeBytes } of files) {
    counts.files += 1;
    counts.bytes += sizeBytes;
  }
  return counts;
}
