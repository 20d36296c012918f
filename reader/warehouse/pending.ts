/** What the log has above a version: entries in order, each with the files that it added. */
import type { Commit } from "../../shared/delta.ts";
import { VarveError } from "../../shared/errors.ts";
import { LOG_DIR, commitKey, parseLogKey } from "../../shared/keys.ts";
import { readCommit } from "../../shared/log.ts";
import type { DataFile } from "../../shared/snapshot.ts";
import { logStateIn, parseDataFile } from "../../shared/snapshot.ts";
import type { ObjectStore } from "../../shared/store.ts";

const READS_IN_FLIGHT = 16;

export type Entry = {
  readonly version: number;
  /** Added by this entry, and new: what it only merges is not among them. */
  readonly files: readonly DataFile[];
  /** The log's watermark and rows committed, as of this entry; null where it does not say. */
  readonly watermarkMs: number | null;
  readonly rows: number | null;
};

/**
 * Entries above `after` (-1: all). Throws `behind_retention` when the next one is gone.
 * @param tip a version that the log is known to have reached
 */
export async function* entriesAfter(
  store: ObjectStore,
  after: number,
  tip: number,
  signal?: AbortSignal,
): AsyncGenerator<Entry> {
  const versions: number[] = [];
  const startAfter = after < 0 ? undefined : commitKey(after);
  for await (const { key } of store.list(LOG_DIR, startAfter, signal)) {
    const parsed = parseLogKey(key);
    if (parsed?.kind === "commit" && parsed.version > after) versions.push(parsed.version);
  }
  let expected = after + 1;
  if (versions.length === 0 && after < tip) throw behindRetention(`entry ${expected} of the log`);
  for (let start = 0; start < versions.length; start += READS_IN_FLIGHT) {
    const some = versions.slice(start, start + READS_IN_FLIGHT);
    const commits = await Promise.all(some.map((version) => readCommit(store, version, signal)));
    for (const commit of commits) {
      if (commit?.version !== expected) throw behindRetention(`entry ${expected} of the log`);
      expected += 1;
      yield entryOf(commit);
    }
  }
}

export function entryOf(commit: Commit): Entry {
  const files: DataFile[] = [];
  for (const action of commit.actions) {
    if ("add" in action && action.add.dataChange) {
      const file = parseDataFile(action.add);
      if (file === null) throw notOurs(commit.version, action.add.path);
      files.push(file);
    }
  }
  const state = logStateIn(commit);
  return {
    version: commit.version,
    files,
    watermarkMs: state?.watermarkMs ?? null,
    rows: state?.committed.rows ?? null,
  };
}

export const behindRetention = (what: string): VarveError =>
  new VarveError(
    "behind_retention",
    `${what} is no longer kept: this warehouse is behind the changelog's retention.`,
    "Run the same command once with --from-snapshot: it goes on from the live files. Nothing in the warehouse is lost.",
  );

const notOurs = (version: number, path: string): VarveError =>
  new VarveError(
    "bad_log_entry",
    `log entry ${version} adds ${path}, which is not a file of Varve's.`,
    "Another program writes to this changelog. Only Varve may write to it; `varve verify` lists what is wrong.",
  );
