/**
 * The reader's public API.
 *
 *     const changelog = await openChangelog(store);
 *     const { rows, next } = await changelog.changesSince({ kind: "time", ms: Date.now() - 3_600_000 });
 *     for await (const row of rows) console.log(row.key, row.op);
 *     // next is where to go on from
 */
import { sqlText } from "../shared/duckdb.ts";
import { VarveError } from "../shared/errors.ts";
import { loadSnapshot, readCommits } from "../shared/log.ts";
import type { DataFile, Snapshot } from "../shared/snapshot.ts";
import { parseDataFile } from "../shared/snapshot.ts";
import type { ObjectStore } from "../shared/store.ts";
import type { Filter, Since } from "./range.ts";
import { filesInRange, iso, timeRange, timeRuns } from "./range.ts";
import type { ChangeRow, ReadCounts } from "./scan.ts";
import { openScratch, scan } from "./scan.ts";

export type ChangesOptions = Filter & {
  /** Up to and including; by default up to the watermark, or the newest version. */
  readonly until?: Since;
  readonly signal?: AbortSignal;
};

export type Changes = {
  /** Read it once; ends when all are given. Within a run of overlapping files, by (changedMs, shard, seq). */
  readonly rows: AsyncIterable<ChangeRow>;
  /** Where the next call goes on: the watermark, or the version, that these rows reach. */
  readonly next: Since;
  /** Files and bytes of all the live ones, and (once `rows` has ended) of those that were read. */
  readonly counts: { readonly live: ReadCounts; readonly read: ReadCounts };
};

export type Changelog = {
  /** The log at its tip. */
  readonly snapshot: () => Promise<Snapshot>;
  /** Live files, oldest window first. */
  readonly files: () => Promise<readonly DataFile[]>;
  /** Rows of the half-open range (since, until]. Costs what changed, not what exists. */
  readonly changesSince: (since: Since, options?: ChangesOptions) => Promise<Changes>;
};

/** Throws `no_changelog` when there is no log at the store's root. */
export async function openChangelog(store: ObjectStore): Promise<Changelog> {
  let known = await required(store);
  const refresh = async (): Promise<Snapshot> => {
    known = (await loadSnapshot(store, known)) ?? known;
    return known;
  };
  return {
    snapshot: refresh,
    files: async () => {
      const { files } = await refresh();
      return [...files.values()].toSorted((a, b) => a.windowStartMs - b.windowStartMs || a.level - b.level);
    },
    changesSince: async (since, options = {}) => {
      const snapshot = await refresh();
      const { until, signal } = options;
      if (until !== undefined && until.kind !== since.kind) {
        throw new VarveError(
          "mixed_range",
          "since and until are of different kinds.",
          "Give two times or two versions.",
        );
      }
      if (since.kind === "version") {
        const last = Math.min(until?.kind === "version" ? until.version : snapshot.version, snapshot.version);
        if (since.version > snapshot.version)
          throw beyondTip(`version ${since.version}`, `version ${snapshot.version}`);
        const files = await filesOfVersions(store, since.version, last, signal);
        return changes(
          store,
          snapshot,
          files,
          filterSql(options),
          { kind: "version", version: last },
          signal,
        );
      }
      const range = timeRange(snapshot, since.ms, until?.kind === "time" ? until.ms : undefined);
      const files = filesInRange(snapshot.files.values(), range, options);
      const where = `changed_ms > ${range.sinceMs} AND changed_ms <= ${range.untilMs} AND ${filterSql(options)}`;
      return changes(store, snapshot, files, where, { kind: "time", ms: range.untilMs }, signal);
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

const beyondTip = (asked: string, tip: string): VarveError =>
  new VarveError(
    "beyond_tip",
    `${asked} has not been committed: the log ends at ${tip}.`,
    "Give an earlier one.",
  );

async function filesOfVersions(
  store: ObjectStore,
  after: number,
  last: number,
  signal?: AbortSignal,
): Promise<DataFile[]> {
  const files: DataFile[] = [];
  for await (const commit of readCommits(store, after, signal)) {
    if (commit.version > last) break;
    for (const action of commit.actions) {
      if (!("add" in action) || !action.add.dataChange) continue;
      const file = parseDataFile(action.add);
      if (file !== null) files.push(file);
    }
  }
  return files.toSorted((a, b) => a.minChangedMs - b.minChangedMs);
}

function filterSql({ collection, source }: Filter): string {
  const parts = [
    collection === undefined ? "true" : `collection = ${sqlText(collection)}`,
    source === undefined ? "true" : `source = ${sqlText(source)}`,
  ];
  return parts.join(" AND ");
}

function changes(
  store: ObjectStore,
  snapshot: Snapshot,
  files: readonly DataFile[],
  where: string,
  next: Since,
  signal: AbortSignal | undefined,
): Changes {
  const read: ReadCounts = { files: 0, bytes: 0 };
  const live = [...snapshot.files.values()];
  const rows = async function* (): AsyncGenerator<ChangeRow> {
    if (files.length === 0) return;
    const scratch = await openScratch(store);
    try {
      for (const run of timeRuns(files)) {
        yield* scan(scratch, run, where, signal);
        Object.assign(read, scratch.counts);
      }
    } finally {
      await scratch.close();
    }
  };
  return {
    rows: rows(),
    next,
    counts: {
      live: { files: live.length, bytes: live.reduce((sum, file) => sum + file.sizeBytes, 0) },
      read,
    },
  };
}

export const describeSince = (since: Since): string =>
  since.kind === "time" ? iso(since.ms) : String(since.version);
