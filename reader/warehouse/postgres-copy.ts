/** From DuckDB to PostgreSQL by COPY: each select is written to a file, the next ones while one is being sent. */
import { createReadStream } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import type { DuckDBConnection } from "@duckdb/node-api";
import type pg from "pg";
import { from as copyFrom } from "pg-copy-streams";
import { sqlText } from "../../shared/duckdb.ts";
import { DUCKDB_TYPE } from "./cells.ts";
import { quoteName } from "./names.ts";
import type { ColumnType } from "./schema.ts";
import { DISCARD_COLUMNS } from "./schema.ts";
import type { StagedTable } from "./warehouse.ts";
import { partSelect } from "./warehouse.ts";

/** What DuckDB writes and PostgreSQL reads alike: null is \N, and a text that says so is quoted. */
const WRITTEN = String.raw`FORMAT csv, HEADER false, NULLSTR '\N'`;
const READ = String.raw`(FORMAT csv, NULL '\N')`;
const CHUNK_BYTES = 1024 * 1024;

/** PostgreSQL's text holds no NUL. */
const withoutNul = (sql: string): string => `replace(${sql}, chr(0), chr(65533))`;

export function tableSelect({ columns, parts }: StagedTable, hasNul: boolean): string {
  const cell = (sql: string | null, type: ColumnType): string => {
    if (sql === null) return `NULL::${DUCKDB_TYPE[type]}`;
    return hasNul && type === "string" ? withoutNul(sql) : sql;
  };
  return parts.map((part) => partSelect(columns, part, cell)).join(" UNION ALL ");
}

export function discardsSelect(selects: readonly string[], hasNul: boolean): string {
  const columns = [...DISCARD_COLUMNS].map(([name, type]) =>
    hasNul && type === "string" ? withoutNul(name) : name,
  );
  return `SELECT ${columns.join(", ")} FROM (${selects.join(" UNION ALL ")})`;
}

export type Exports = {
  /** The nth select's file. */
  readonly path: (index: number) => Promise<string>;
  /** Waits for what is being written, and deletes all. */
  readonly close: () => Promise<void>;
};

export async function exportFiles(scratch: DuckDBConnection, selects: readonly string[]): Promise<Exports> {
  const dir = await mkdtemp(join(tmpdir(), "varve-copy-"));
  const closing = new AbortController();
  let last: Promise<unknown> = Promise.resolve();
  const paths = selects.map((select, index) => {
    const path = join(dir, String(index));
    const written = last.then(async () => {
      closing.signal.throwIfAborted();
      await scratch.run(`COPY (${select}) TO ${sqlText(path)} (${WRITTEN})`);
      return path;
    });
    written.catch(() => undefined);
    last = written;
    return written;
  });
  return {
    path: (index) => paths[index] ?? Promise.reject(new RangeError(`there is no export ${index}`)),
    close: async () => {
      closing.abort();
      await last.catch(() => undefined);
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** How many rows it brought. */
export async function copyIn(
  client: pg.Client,
  table: string,
  columns: Iterable<string>,
  path: string,
): Promise<number> {
  const names = [...columns].map(quoteName).join(", ");
  const copy = client.query(copyFrom(`COPY ${table} (${names}) FROM STDIN ${READ}`));
  await pipeline(createReadStream(path, { highWaterMark: CHUNK_BYTES }), copy);
  return copy.rowCount ?? 0;
}
