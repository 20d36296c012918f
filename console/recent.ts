/**
 * The newest rows, for the event debugger: data files of recent commits are looked into once, the newest first.
 *
 * Laws
 * - Of each status the newest rows are kept, so that many accepted events do not push out a rejected one.
 * - No more than a bounded number of bytes is read, however much is committed: what is passed over is counted.
 */
import type { Clock } from "../shared/clock.ts";
import { sqlText } from "../shared/duckdb.ts";
import { VarveError } from "../shared/errors.ts";
import type { DataFile } from "../shared/snapshot.ts";
import type { ObjectStore } from "../shared/store.ts";
import { COLUMNS, COLUMN_SQL } from "../reader/scan.ts";
import type { ChangeRow } from "../reader/scan.ts";
import type { Scratch } from "../reader/scratch.ts";
import { openScratch } from "../reader/scratch.ts";
import type { KeptCommit } from "./model/commits.ts";
import { IMAGE_CHARS_MAX, eventLine } from "./model/event.ts";
import type { Digest } from "./model/flow.ts";
import type { EventLine, Events } from "./state.ts";

export type Recent = {
  /** Looks into what is new of these, as far as the bounds allow; returns at once. */
  readonly follow: (commits: readonly KeptCommit[], live: Iterable<DataFile>) => void;
  readonly after: (n: number) => Events;
  readonly digests: () => ReadonlyMap<string, Digest>;
  /** Mean bytes of the images seen; null before any was. */
  readonly imageBytes: () => number | null;
  /** Lets memory go; what is known stays. */
  readonly rest: () => void;
  readonly close: () => Promise<void>;
};

const KEPT_MAX = 200;
/** Beside a compactor, whose memory it must not take. */
const MEMORY_MAX_MB = 128;
const FILE_BYTES_MAX = 16 * 1024 ** 2;
const BYTES_AT_ONCE_MAX = 32 * 1024 ** 2;
const BYTES_PER_SECOND = 1024 ** 2;
const FILES_AT_ONCE_MAX = 48;
const FILES_REMEMBERED_MAX = 4_000;
const AGAIN_MS = 2_000;

export function openRecent(store: ObjectStore, clock: Clock): Recent {
  const digests = new Map<string, Digest>();
  /** Too much to read, or not to be read. */
  const skipped = new Set<string>();
  /** Too old to matter, or gone. */
  const passed = new Set<string>();
  const seen = new Set<string>();
  const run = clock.uuid();
  let kept: readonly EventLine[] = [];
  let last = 0;
  let images = { rows: 0, bytes: 0 };
  let allowance = { bytes: BYTES_AT_ONCE_MAX, atMs: clock.nowMs() };
  let failedMs = Number.NEGATIVE_INFINITY;
  let scratch: Scratch | null = null;
  let running: Promise<void> | null = null;
  const closing = new AbortController();

  const lookInto = async (file: DataFile): Promise<void> => {
    scratch ??= await openScratch(store, 1, MEMORY_MAX_MB);
    const found = await digestFile(scratch, file, closing.signal);
    digests.set(file.path, { seconds: found.seconds });
    images = { rows: images.rows + found.images.rows, bytes: images.bytes + found.images.bytes };
    const fresh = found.rows.filter(({ shard, seq, key }) => !seen.has(`${shard}|${seq}|${key}`));
    for (const { shard, seq, key } of fresh) seen.add(`${shard}|${seq}|${key}`);
    const lines = fresh.map((row) => eventLine(row, (last += 1)));
    kept = newestOfEach([...kept, ...lines]);
  };

  const lookIntoAll = async (files: readonly DataFile[]): Promise<void> => {
    for (const file of files) {
      if (closing.signal.aborted) return;
      const nowMs = clock.nowMs();
      const bytes = allowance.bytes + ((nowMs - allowance.atMs) / 1000) * BYTES_PER_SECOND;
      allowance = { bytes: Math.min(BYTES_AT_ONCE_MAX, bytes), atMs: nowMs };
      if (file.sizeBytes > FILE_BYTES_MAX || file.sizeBytes > allowance.bytes) {
        skipped.add(file.path);
        continue;
      }
      allowance = { ...allowance, bytes: allowance.bytes - file.sizeBytes };
      try {
        await lookInto(file);
      } catch (error) {
        if (closing.signal.aborted) return;
        const code = error instanceof VarveError ? error.code : null;
        if (code === "store_unreadable") {
          failedMs = clock.nowMs();
          return;
        }
        // Clean-up takes files that were merged away; there is nothing to see in them any more. One that cannot be
        // read must not keep the others from being looked into: what is wrong with it is for `varve verify`.
        (code === "file_missing" ? passed : skipped).add(file.path);
      }
    }
  };

  const forget = (): void => {
    for (const paths of [digests, skipped, passed]) {
      for (const path of paths.keys()) {
        if (paths.size <= FILES_REMEMBERED_MAX) break;
        paths.delete(path);
      }
    }
    if (seen.size <= FILES_REMEMBERED_MAX * 10) return;
    seen.clear();
  };

  return {
    follow: (commits, live) => {
      if (closing.signal.aborted || running !== null || clock.nowMs() - failedMs < AGAIN_MS) return;
      const isNew = ({ path }: DataFile): boolean =>
        !digests.has(path) && !skipped.has(path) && !passed.has(path);
      const ofCommits = commits.toReversed().flatMap(({ files: added }) => added);
      const files = ofCommits.filter(isNew);
      // A log of late that holds few rows: then what stands as well.
      let rows = ofCommits.reduce((sum, { totals }) => sum + totals.rows, 0);
      if (rows < KEPT_MAX) {
        for (const file of [...live].toSorted((a, b) => b.maxChangedMs - a.maxChangedMs)) {
          if (rows >= KEPT_MAX) break;
          rows += file.totals.rows;
          if (isNew(file) && !files.some(({ path }) => path === file.path)) files.push(file);
        }
      }
      for (const { path } of files.slice(FILES_AT_ONCE_MAX)) passed.add(path);
      if (files.length === 0) return;
      running = lookIntoAll(files.slice(0, FILES_AT_ONCE_MAX)).finally(() => {
        running = null;
        forget();
      });
    },
    after: (n) => ({
      run,
      last,
      events: kept.filter((line) => line.n > n),
      keptMax: KEPT_MAX,
      filesSkipped: skipped.size,
    }),
    digests: () => digests,
    imageBytes: () => (images.rows === 0 ? null : images.bytes / images.rows),
    rest: () => {
      if (running !== null || scratch === null) return;
      const resting = scratch;
      scratch = null;
      void resting.close().catch(() => undefined);
    },
    close: async () => {
      closing.abort();
      await running;
      await scratch?.close();
    },
  };
}

function newestOfEach(lines: readonly EventLine[]): readonly EventLine[] {
  const byStatus = Map.groupBy(lines, ({ status }) => status);
  return [...byStatus.values()].flatMap((group) =>
    group.toSorted((a, b) => b.changedMs - a.changedMs || b.n - a.n).slice(0, KEPT_MAX),
  );
}

type Found = Digest & {
  /** The newest of each kind, ascending. */
  readonly rows: readonly ChangeRow[];
  readonly images: { readonly rows: number; readonly bytes: number };
};

const NAMES = ["changedMs", "op", "key", "seq", "shard", "changes", ...COLUMNS] as const;
const IMAGE_SQL = `left(image, ${IMAGE_CHARS_MAX + 1})`;

async function digestFile(scratch: Scratch, file: DataFile, signal: AbortSignal): Promise<Found> {
  const { relation, paths, release } = await orAborted(scratch.fetch([file], signal), signal);
  try {
    const seconds = await scratch.connection.runAndReadAll(
      `SELECT (changed_ms // 1000)::DOUBLE, count(*)::DOUBLE, (count(*) FILTER (kind = 'rejected'))::DOUBLE,
         count(image)::DOUBLE, coalesce(sum(length(image)), 0)::DOUBLE
       FROM ${relation} GROUP BY 1 ORDER BY 1`,
    );
    const lines = seconds.getRows() as [number, number, number, number, number][];
    const columns = NAMES.map((name) => (name === "image" ? IMAGE_SQL : COLUMN_SQL[name][1]));
    // Which rows, and only then what is in them: images are most of a file.
    const numbered = `read_parquet([${paths.map(sqlText).join(", ")}], file_row_number = true)`;
    const newest = await scratch.connection.runAndReadAll(
      `SELECT ${columns.join(", ")} FROM ${numbered} WHERE file_row_number IN (
         SELECT file_row_number FROM ${numbered}
         QUALIFY row_number() OVER (PARTITION BY kind ORDER BY changed_ms DESC, seq DESC) <= ${KEPT_MAX})
       ORDER BY changed_ms, shard, seq`,
    );
    return {
      seconds: lines.map(([second, rows, rejected]) => ({ second, rows, rejected })),
      images: {
        rows: lines.reduce((sum, line) => sum + line[3], 0),
        bytes: lines.reduce((sum, line) => sum + line[4], 0),
      },
      rows: newest
        .getRows()
        .map((values) => Object.fromEntries(NAMES.map((name, at) => [name, values[at] ?? null])))
        .map((row) => row as unknown as ChangeRow),
    };
  } finally {
    await release();
  }
}

/** A store that does not answer must not keep its process from ending. */
async function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const stop = (): void => reject(new Error("the console is closing"));
  signal.addEventListener("abort", stop, { once: true });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
