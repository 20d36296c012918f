/** `varve changes`: what changed since T, once or as it goes on. */
import type { Changes } from "../reader/changelog.ts";
import { openChangelog } from "../reader/changelog.ts";
import { withParquet } from "../reader/export.ts";
import { namesIn, nearest } from "../reader/names.ts";
import type { Filter, Since } from "../reader/range.ts";
import { describeSince } from "../reader/range.ts";
import type { ChangeRow } from "../reader/scan.ts";
import { count, many } from "../shared/amounts.ts";
import { VarveError } from "../shared/errors.ts";
import type { ObjectStore } from "../shared/store.ts";
import type { FileOutput, Output } from "./output.ts";
import type { Format } from "./rows.ts";
import { TABLE_COLUMNS, rowFormat } from "./rows.ts";

export type ChangesArguments = Filter & {
  readonly since: string;
  readonly until?: string | undefined;
  readonly format: Format;
  readonly limit?: number | undefined;
};

export type FollowArguments = Filter & {
  readonly since?: string | undefined;
  readonly format: Exclude<Format, "parquet">;
  readonly limit?: number | undefined;
  readonly consumer?: string | undefined;
  /** A file's path. */
  readonly cursor?: string | undefined;
  readonly fromSnapshot: boolean;
};

export async function changesCommand(
  store: ObjectStore,
  { since, until, format, limit, ...filter }: ChangesArguments,
  output: FileOutput,
): Promise<void> {
  const changelog = await openChangelog(store);
  const columns = format === "table" ? TABLE_COLUMNS : undefined;
  const changes = await changelog.changesSince(since, { until, columns, ...filter });
  for (const { message } of changes.notices) output.note(`note: ${message}`);
  const taken: Taken = { count: 0, cutAt: null, lastMs: null, wholeMs: null };
  const rows = taking(changes.rows, limit, taken, (rowCount) => output.progress(many(rowCount, "row")));
  const first = await rows.next();
  if (first.done === true) await checkNames(store, await changelog.files(), filter);
  const all = goingOn(first, rows);
  if (format === "parquet") await withParquet(all, output.file);
  else {
    const { header, line } = rowFormat(format, false);
    if (header !== null) await output.line(header);
    for await (const row of all) await output.line(line(row));
  }
  report(changes, taken, output);
}

function report({ counts, since, next }: Changes, taken: Taken, output: Output): void {
  const { live, read } = counts;
  const end = taken.cutAt === null ? next : taken.cutAt(since);
  output.note(
    taken.cutAt === null
      ? `${many(taken.count, "row")} in (${describeSince(since)}, ${describeSince(end)}]`
      : `the first ${many(taken.count, "row")} after ${describeSince(since)}; there are more`,
  );
  output.note(
    `read ${count(read.files)} of ${many(live.files, "file")}, ${count(read.bytes)} of ${many(live.bytes, "byte")}, in ${many(read.requests, "request")}`,
  );
  output.note(`next: --since ${describeSince(end)}`);
  if (taken.cutAt !== null && describeSince(end) === describeSince(since))
    output.note("note: that is where this began, since no moment was given whole: take a greater --limit");
}

type Taken = {
  count: number;
  /** Where to go on from after a cut; null while there is none. */
  cutAt: ((since: Since) => Since) | null;
  lastMs: number | null;
  /** The greatest time of which every row was given. */
  wholeMs: number | null;
};

/** The first `limit` rows, and whether there were more. */
async function* taking(
  rows: AsyncIterable<ChangeRow>,
  limit: number | undefined,
  taken: Taken,
  progress: (rowCount: number) => void,
): AsyncGenerator<ChangeRow> {
  for await (const row of rows) {
    if (row.changedMs !== taken.lastMs) taken.wholeMs = taken.lastMs;
    if (taken.count === limit) {
      const { wholeMs } = taken;
      taken.cutAt = (since) =>
        since.kind === "version" || wholeMs === null ? since : { kind: "time", ms: wholeMs };
      return;
    }
    taken.lastMs = row.changedMs;
    taken.count += 1;
    if (taken.count % 1000 === 0) progress(taken.count);
    yield row;
  }
}

async function* goingOn<T>(first: IteratorResult<T>, rest: AsyncIterable<T>): AsyncGenerator<T> {
  if (first.done === true) return;
  yield first.value;
  yield* rest;
}

/** No rows: because nothing changed, or because there is no such source or collection. */
async function checkNames(
  store: ObjectStore,
  files: Parameters<typeof namesIn>[1],
  filter: Filter,
): Promise<void> {
  if (filter.source === undefined && filter.collection === undefined) return;
  const names = await namesIn(store, files);
  for (const what of ["source", "collection"] as const) {
    const name = filter[what];
    if (name === undefined || names[what].size === 0 || names[what].has(name)) continue;
    throw new VarveError(
      `unknown_${what}`,
      `there is no ${what} ${JSON.stringify(name)} in the changelog.`,
      `The nearest: ${nearest(name, names[what]).join(", ")}.`,
    );
  }
}

/** Goes on until the signal, or the limit. */
export async function followCommand(
  store: ObjectStore,
  { format, limit, ...options }: FollowArguments,
  output: Output,
  signal: AbortSignal,
): Promise<void> {
  const changelog = await openChangelog(store);
  const { header, line } = rowFormat(format, true);
  if (header !== null) await output.line(header);
  let rowCount = 0;
  let version: number | null = null;
  try {
    following: for await (const batch of changelog.follow({ ...options, signal })) {
      for await (const row of batch.rows) {
        await output.line(line(row, batch.version));
        rowCount += 1;
        if (rowCount === limit) break following;
      }
      version = batch.version;
      output.progress(`${many(rowCount, "row")}, version ${version}`);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  output.note(many(rowCount, "row"));
  if (version !== null) output.note(`next: --since ${version}`);
}
