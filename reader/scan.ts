/** Rows out of data files, in order, by DuckDB. */
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
const COLUMN_SQL: Readonly<Record<keyof ChangeRow, readonly [column: string, sql: string]>> = {
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

export function whereSql(range: TimeRange | null, filter: Filter): string {
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
    const names = [...ALWAYS, ...question.columns];
    const select = `SELECT ${names.map((name) => COLUMN_SQL[name][1]).join(", ")} FROM`;
    const rest = `WHERE ${whereSql(question.range, question.filter)} ORDER BY ${ORDER.join(", ")}`;
    const open = () => firstChunk(scratch.connection, `${select} ${held.relation} ${rest}`);
    // A sort reads all its input before it gives anything: a hole that was read after all shows here.
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

function unreadable(files: readonly DataFile[], error: unknown): unknown {
  const [first] = files;
  if (first === undefined || !(error instanceof Error) || error instanceof VarveError) return error;
  const which = files.length === 1 ? first.path : `one of ${files.length} files from ${first.path} on`;
  return new VarveError(
    "file_damaged",
    `${which} cannot be read: ${error.message.split("\n", 1)[0] ?? ""}`,
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
