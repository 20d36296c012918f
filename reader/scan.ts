/** Rows out of data files: fetched whole, a bounded number at a time, and read by DuckDB in a scratch folder. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DuckDBConnection } from "@duckdb/node-api";
import { openDuckDB, sqlText } from "../shared/duckdb.ts";
import { VarveError } from "../shared/errors.ts";
import type { Op } from "../shared/row.ts";
import type { DataFile } from "../shared/snapshot.ts";
import type { ObjectStore } from "../shared/store.ts";

const FETCHES_IN_FLIGHT = 16;
const MEMORY_MAX_MB = 512;

/** A row as a reader sees it. Times are UTC ms since the epoch. */
export type ChangeRow = {
  readonly changedMs: number;
  readonly op: Op;
  /** The item's key, JSON text. */
  readonly key: string;
  /** 40 digits, comparable as text within a shard. */
  readonly seq: string;
  readonly shard: string;
  /** How many changes the row stands for. */
  readonly changes: number;
  readonly kind: string | null;
  readonly source: string | null;
  readonly collection: string | null;
  readonly id: string | null;
  readonly userId: string | null;
  readonly anonymousId: string | null;
  readonly event: string | null;
  readonly eventMs: number | null;
  /** JSON text after the change; null on delete. */
  readonly image: string | null;
};

export type ReadCounts = { files: number; bytes: number };

export type Scratch = {
  readonly connection: DuckDBConnection;
  /** Fetches files and gives DuckDB's `read_parquet(...)` over them; they are deleted by `release`. */
  readonly fetch: (files: readonly DataFile[], signal?: AbortSignal) => Promise<FetchedFiles>;
  /** Fetches one file; null when it is not in the store. It is deleted by `close`. */
  readonly read: (file: DataFile) => Promise<ReadFile | null>;
  readonly counts: ReadCounts;
  readonly close: () => Promise<void>;
};
export type FetchedFiles = {
  readonly relation: string;
  readonly paths: readonly string[];
  readonly release: () => Promise<void>;
};

export type ReadFile = { readonly path: string; readonly sizeBytes: number; readonly body: Uint8Array };

export async function openScratch(store: ObjectStore): Promise<Scratch> {
  const dir = await mkdtemp(join(tmpdir(), "varve-read-"));
  const { connection, close } = await openDuckDB({
    threads: 2,
    memoryMaxMB: MEMORY_MAX_MB,
    spillDir: join(dir, "spill"),
  });
  const counts: ReadCounts = { files: 0, bytes: 0 };
  let next = 0;

  const read = async (file: DataFile, signal?: AbortSignal): Promise<ReadFile | null> => {
    const object = await store.get(file.path, signal);
    if (object === null) return null;
    counts.files += 1;
    counts.bytes += object.body.byteLength;
    const path = join(dir, `${(next += 1)}.parquet`);
    await writeFile(path, object.body);
    return { path, sizeBytes: object.body.byteLength, body: object.body };
  };
  const fetchOne = async (file: DataFile, signal?: AbortSignal): Promise<string> => {
    const found = await read(file, signal);
    if (found === null) throw missing(file);
    return found.path;
  };

  return {
    connection,
    counts,
    read,
    fetch: async (files, signal) => {
      const paths: string[] = [];
      for (let start = 0; start < files.length; start += FETCHES_IN_FLIGHT) {
        const some = files.slice(start, start + FETCHES_IN_FLIGHT);
        paths.push(...(await Promise.all(some.map((file) => fetchOne(file, signal)))));
      }
      return {
        paths,
        relation: `read_parquet([${paths.map(sqlText).join(", ")}])`,
        release: async () => {
          await Promise.all(paths.map((path) => rm(path, { force: true })));
        },
      };
    },
    close: async () => {
      close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

export const missing = (file: DataFile): VarveError =>
  new VarveError(
    "file_missing",
    `${file.path} is in the log, but not in the store.`,
    "It was deleted by something other than Varve, or the reader is older than the log's retention: open the changelog again. `varve verify` lists every missing file.",
  );

const SELECT = `changed_ms, op, key, seq, shard, changes, kind, source, collection, id, user_id, anonymous_id, event,
  epoch_ms(event_at) AS event_ms, image`;

/** Rows of `files` that satisfy `where` (SQL over the file columns), in (changed_ms, shard, seq) order. */
export async function* scan(
  scratch: Scratch,
  files: readonly DataFile[],
  where: string,
  signal?: AbortSignal,
): AsyncGenerator<ChangeRow> {
  if (files.length === 0) return;
  const fetched = await scratch.fetch(files, signal);
  try {
    const result = await scratch.connection.stream(
      `SELECT ${SELECT} FROM ${fetched.relation} WHERE ${where} ORDER BY changed_ms, shard, seq`,
    );
    for await (const chunk of result.yieldRowsJs()) for (const values of chunk) yield rowFrom(values);
  } finally {
    await fetched.release();
  }
}

function rowFrom(values: readonly unknown[]): ChangeRow {
  const text = (index: number): string | null => (values[index] as string | null | undefined) ?? null;
  const eventMs = values[13] as bigint | null;
  return {
    changedMs: Number(values[0]),
    op: values[1] as Op,
    key: values[2] as string,
    seq: values[3] as string,
    shard: values[4] as string,
    changes: Number(values[5]),
    kind: text(6),
    source: text(7),
    collection: text(8),
    id: text(9),
    userId: text(10),
    anonymousId: text(11),
    event: text(12),
    eventMs: eventMs === null ? null : Number(eventMs),
    image: text(14),
  };
}
