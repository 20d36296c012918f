/** Rows to one Parquet file, in their order, with the columns of the changelog's own files. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DuckDBAppender } from "@duckdb/node-api";
import { openDuckDB, sqlText } from "../shared/duckdb.ts";
import type { ChangeRow } from "./scan.ts";

const TABLE = `CREATE TABLE rows (changed_ms BIGINT, op VARCHAR, key VARCHAR, seq VARCHAR, shard VARCHAR, changes BIGINT,
  kind VARCHAR, source VARCHAR, collection VARCHAR, id VARCHAR, user_id VARCHAR, anonymous_id VARCHAR, event VARCHAR,
  event_ms BIGINT, image VARCHAR)`;
const SELECT = `SELECT make_timestamptz(changed_ms * 1000) AS changed_at, changed_ms, op, key, seq, shard, changes, kind,
  source, collection, id, user_id, anonymous_id, event, make_timestamptz(event_ms * 1000) AS event_at, image FROM rows`;
const MEMORY_MAX_MB = 256;
const FLUSH_ROWS = 20_000;

/** The file's path for `use`; it is deleted afterwards. The number of rows. */
export async function withParquet(
  rows: AsyncIterable<ChangeRow>,
  use: (path: string) => Promise<void>,
): Promise<number> {
  const dir = await mkdtemp(join(tmpdir(), "varve-export-"));
  const limits = { threads: 1, memoryMaxMB: MEMORY_MAX_MB, spillDir: join(dir, "spill") };
  const { connection, close } = await openDuckDB(limits);
  try {
    // On disk: an answer may be larger than memory.
    await connection.run(`ATTACH ${sqlText(join(dir, "rows.db"))} AS held; USE held; ${TABLE}`);
    const appender = await connection.createAppender("rows");
    let count = 0;
    for await (const row of rows) {
      append(appender, row);
      count += 1;
      if (count % FLUSH_ROWS === 0) appender.flushSync();
    }
    appender.closeSync();
    const path = join(dir, "rows.parquet");
    await connection.run(`COPY (${SELECT}) TO ${sqlText(path)} (FORMAT parquet, COMPRESSION zstd)`);
    await use(path);
    return count;
  } finally {
    close();
    await rm(dir, { recursive: true, force: true });
  }
}

function append(appender: DuckDBAppender, row: ChangeRow): void {
  const text = (value: string | null) =>
    value === null ? appender.appendNull() : appender.appendVarchar(value);
  appender.appendBigInt(BigInt(row.changedMs));
  appender.appendVarchar(row.op);
  appender.appendVarchar(row.key);
  appender.appendVarchar(row.seq);
  appender.appendVarchar(row.shard);
  appender.appendBigInt(BigInt(row.changes));
  for (const column of ["kind", "source", "collection", "id", "userId", "anonymousId", "event"] as const)
    text(row[column]);
  if (row.eventMs === null) appender.appendNull();
  else appender.appendBigInt(BigInt(row.eventMs));
  text(row.image);
  appender.endRow();
}
