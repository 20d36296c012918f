/** Rows out of data files, in order, by DuckDB. */
import { access, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DuckDBConnection } from "@duckdb/node-api";
import { sqlText } from "../shared/duckdb.ts";
import { VarveError } from "../shared/errors.ts";
import type { Op } from "../shared/row.ts";
import type { DataFile } from "../shared/snapshot.ts";
import type { Filter, TimeRange } from "./range.ts";
import { FILTER_COLUMNS } from "./range.ts";
import type { FetchedFiles, Need, Scratch } from "./scratch.ts";

/** A row as a reader sees it. Times are UTC ms since the epoch. */
export type ChangeRow = {
  /** When it changed. */
  readonly changedMs: number;
  readonly op: Op;
  /** The item's key, JSON text. */
  readonly key: string;
  /** 40 digits, comparable as text within a shard. */
  readonly seq: string;
  readonly shard: string;
  /** How many changes the row stands for: the row is the last of them. */
  readonly changes: number;
  /** `event`, `object` or `rejected`; null, like the columns after it, in a table that Varve does not write. */
  readonly kind: string | null;
  readonly source: string | null;
  readonly collection: string | null;
  readonly id: string | null;
  readonly userId: string | null;
  readonly anonymousId: string | null;
  /** A track's event name, or the page's or screen's name. */
  readonly event: string | null;
  /** The event's own time. */
  readonly eventMs: number | null;
  /** JSON text after the change: an event's body, an object's properties, any other item's attributes; null on delete. */
  readonly image: string | null;
};

/** Columns that may be left unread: they are null then. The others are in every row. */
export type Column =
  | "kind"
  | "source"
  | "collection"
  | "id"
  | "userId"
  | "anonymousId"
  | "event"
  | "eventMs"
  | "image";

/** The file column, and what DuckDB makes of it. A double holds every ms and every count exactly. */
export const COLUMN_SQL: Readonly<Record<keyof ChangeRow, readonly [column: string, sql: string]>> = {
  changedMs: ["changed_ms", "changed_ms::DOUBLE"],
  op: ["op", "op"],
  key: ["key", "key"],
  seq: ["seq", "seq"],
  shard: ["shard", "shard"],
  changes: ["changes", "changes::DOUBLE"],
  kind: ["kind", "kind"],
  source: ["source", "source"],
  collection: ["collection", "collection"],
  id: ["id", "id"],
  userId: ["user_id", "user_id"],
  anonymousId: ["anonymous_id", "anonymous_id"],
  event: ["event", "event"],
  eventMs: ["event_at", "epoch_ms(event_at)::DOUBLE"],
  image: ["image", "image"],
};
const ALWAYS = ["changedMs", "op", "key", "seq", "shard", "changes"] as const;
export const COLUMNS: readonly Column[] = [
  "kind",
  "source",
  "collection",
  "id",
  "userId",
  "anonymousId",
  "event",
  "eventMs",
  "image",
];
const UNREAD = Object.fromEntries(COLUMNS.map((name) => [name, null]));
const ORDER = ["changed_ms", "shard", "seq"] as const;

/** What to read of some files. */
export type Question = {
  /** (sinceMs, untilMs]; null: whatever the time. */
  readonly range: TimeRange | null;
  readonly filter: Filter;
  readonly columns: readonly Column[];
};

function whereSql(range: TimeRange | null, filter: Filter): string {
  const asked = FILTER_COLUMNS.flatMap((column) => {
    const wanted = filter[column];
    return wanted === undefined ? [] : [`${column} = ${sqlText(wanted)}`];
  });
  const times = range === null ? [] : [`changed_ms > ${range.sinceMs} AND changed_ms <= ${range.untilMs}`];
  const parts = [...times, ...asked];
  return parts.length === 0 ? "true" : parts.join(" AND ");
}

export function needOf({ range, filter, columns }: Question): Need {
  const asked = FILTER_COLUMNS.filter((column) => filter[column] !== undefined);
  return {
    range,
    filter,
    columns: new Set([...[...ALWAYS, ...columns].map((name) => COLUMN_SQL[name][0]), ...asked]),
  };
}

/** Rows of `files` that answer the question, in (changedMs, shard, seq) order. */
export async function* scan(
  scratch: Scratch,
  files: readonly DataFile[],
  question: Question,
  signal?: AbortSignal,
): AsyncGenerator<ChangeRow> {
  if (files.length === 0) return;
  yield* scanFetched(scratch, files, await scratch.fetch(files, signal, needOf(question)), question, signal);
}

/** As `scan`, of files that were fetched already. Releases them. */
export async function* scanFetched(
  scratch: Scratch,
  files: readonly DataFile[],
  fetched: FetchedFiles,
  question: Question,
  signal?: AbortSignal,
): AsyncGenerator<ChangeRow> {
  let held = fetched;
  try {
    // Whatever reads the columns reads all of them before it gives anything: a hole that was read after all shows here.
    const names = [...ALWAYS, ...question.columns];
    const open = async (): Promise<AsyncIterable<Columns>> =>
      inOrder(scratch, files, `${held.relation} WHERE ${whereSql(question.range, question.filter)}`, names);
    const stream = await open()
      .catch(async (error: unknown) => {
        if (!held.partial) throw error;
        await held.release();
        held = await scratch.fetch(files, signal);
        return open();
      })
      .catch((error: unknown) => {
        throw unreadable(files, error);
      });
    for await (const columns of stream) {
      signal?.throwIfAborted();
      const count = columns[0]?.length ?? 0;
      for (let index = 0; index < count; index += 1) {
        const row: Record<string, unknown> = { ...UNREAD };
        names.forEach((name, place) => {
          row[name] = columns[place]?.[index] ?? null;
        });
        yield row as ChangeRow;
      }
    }
  } finally {
    await held.release();
  }
}

/** Rows that are sorted at a time: DuckDB keeps them in memory. */
const SORT_ROWS_MAX = 200_000;

/**
 * The rows of a relation in order. Where they are too many to sort at once they are first dealt out, in one pass, to
 * slices of time on disk, each of which is not.
 */
async function inOrder(
  scratch: Scratch,
  files: readonly DataFile[],
  relation: string,
  names: readonly (keyof ChangeRow)[],
): Promise<AsyncIterable<Columns>> {
  const { connection } = scratch;
  const sorted = (from: string): Promise<AsyncIterable<Columns>> =>
    firstChunk(
      connection,
      `SELECT ${names.map((name) => COLUMN_SQL[name][1]).join(", ")} FROM ${from} ORDER BY ${ORDER.join(", ")}`,
    );
  const held = files.reduce((sum, file) => sum + file.totals.rows, 0);
  if (held <= SORT_ROWS_MAX) return sorted(relation);
  const answer = await connection.runAndReadAll(`SELECT count(*)::DOUBLE FROM ${relation}`);
  const rows = answer.getRows()[0]?.[0] as number;
  if (rows <= SORT_ROWS_MAX) return sorted(relation);

  const slices = Math.ceil(rows / SORT_ROWS_MAX);
  const shares = Array.from({ length: slices - 1 }, (_, index) => (index + 1) / slices);
  const columns = [...new Set([...names.map((name) => COLUMN_SQL[name][0]), ...ORDER])];
  const dir = scratch.newDir();
  await connection.run(`SET VARIABLE bounds = (SELECT approx_quantile(changed_ms, [${shares.join(", ")}]) FROM ${relation});
    SET partitioned_write_flush_threshold = ${SLICE_BUFFER_ROWS};
    COPY (SELECT ${columns.join(", ")}, len(list_filter(getvariable('bounds'), lambda bound: bound < changed_ms)) AS slice FROM ${relation})
    TO ${sqlText(dir)} (FORMAT parquet, COMPRESSION snappy, PARTITION_BY (slice), ROW_GROUP_SIZE ${SLICE_BUFFER_ROWS})`);
  return (async function* () {
    for (let slice = 0; slice < slices; slice += 1) {
      const path = join(dir, `slice=${slice}`);
      if (await isThere(path)) yield* await sorted(`read_parquet(${sqlText(join(path, "*.parquet"))})`);
      await rm(path, { recursive: true, force: true });
    }
  })();
}

const SLICE_BUFFER_ROWS = 20_000;

/** A slice without rows has no folder. */
async function isThere(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return false;
    throw error;
  }
}

function unreadable(files: readonly DataFile[], error: unknown): unknown {
  const [first] = files;
  if (first === undefined || !(error instanceof Error) || error instanceof VarveError) return error;
  const which = files.length === 1 ? first.path : `one of ${files.length} files from ${first.path} on`;
  const why = error.message.split("\n", 1)[0] ?? "";
  if (why.startsWith("Out of Memory")) {
    return new VarveError(
      "out_of_memory",
      `${which} cannot be read within the reader's memory: ${why}`,
      "Ask for less at a time: a shorter span, or one collection.",
      error,
    );
  }
  if (/no space left/i.test(why)) {
    return new VarveError(
      "out_of_disk",
      `${which} cannot be read in ${tmpdir()}: ${why}`,
      "Free space there, name another folder in TMPDIR, or ask for less at a time.",
      error,
    );
  }
  return new VarveError(
    "file_damaged",
    `${which} cannot be read: ${why}`,
    "`varve verify` lists every damaged file.",
    error,
  );
}

type Columns = readonly (readonly unknown[])[];

/** The answer's chunks, by column. Resolves when the first is there. */
async function firstChunk(connection: DuckDBConnection, sql: string): Promise<AsyncIterable<Columns>> {
  const result = await connection.stream(sql);
  const first = await result.fetchChunk();
  return (async function* () {
    for (let chunk = first; chunk !== null && chunk.rowCount > 0; chunk = await result.fetchChunk())
      yield chunk.getColumns();
  })();
}
