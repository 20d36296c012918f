/**
 * Rows to a Parquet file: zstd, sorted by (source, collection, id, key), so that tenants share files and
 * statistics prune. The file's statistics and set checksum come out of the same engine.
 */
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DuckDBAppender, DuckDBConnection } from "@duckdb/node-api";
import { openDuckDB, sqlText } from "../shared/duckdb.ts";
import type { Row } from "../shared/row.ts";
import { sequenceColumn } from "../shared/sequence.ts";
import { SETSUM_DIGEST_SQL, SETSUM_HALVES_SQL, setsumFromHalves } from "../shared/setsum.ts";
import type { Totals } from "../shared/snapshot.ts";

export type ParquetFile = {
  readonly bytes: Uint8Array;
  readonly totals: Totals;
  readonly changes: number;
  /** The `stats` of a Delta add action. */
  readonly stats: string;
  /** Hex. */
  readonly sha256: string;
};

export type ParquetWriter = {
  /** One call at a time. */
  readonly write: (rows: Iterable<Row>) => Promise<ParquetFile>;
  readonly close: () => Promise<void>;
};

const TABLE = `CREATE OR REPLACE TABLE batch (
  changed_ms BIGINT, op VARCHAR, key VARCHAR, seq VARCHAR, shard VARCHAR, changes BIGINT, kind VARCHAR, source VARCHAR,
  collection VARCHAR, id VARCHAR, user_id VARCHAR, anonymous_id VARCHAR, event VARCHAR, event_ms BIGINT, image VARCHAR)`;

const FILE_COLUMNS = `make_timestamptz(changed_ms * 1000) AS changed_at, changed_ms, op, key, seq, shard, changes, kind,
  source, collection, id, user_id, anonymous_id, event,
  CASE WHEN event_ms BETWEEN -62135596800000 AND 253402300799999 THEN make_timestamptz(event_ms * 1000) END AS event_at, image`;

const SORT = "source, collection, id, key, seq";

/** Columns whose least and greatest values stand in the log, so that readers can pass over files. */
const STATS_COLUMNS = ["changed_ms", "kind", "source", "collection", "id"] as const;
const STATS_TEXT_MAX = 128;

export async function openParquetWriter(memoryMaxMB: number): Promise<ParquetWriter> {
  const dir = await mkdtemp(join(tmpdir(), "varve-parquet-"));
  const { connection, close } = await openDuckDB({ threads: 1, memoryMaxMB, spillDir: join(dir, "spill") });
  const path = join(dir, "batch.parquet");

  return {
    write: async (rows) => {
      await connection.run(TABLE);
      const appender = await connection.createAppender("batch");
      for (const row of rows) appendRow(appender, row);
      appender.closeSync();
      await connection.run(
        `COPY (SELECT ${FILE_COLUMNS} FROM batch ORDER BY ${SORT}) TO ${sqlText(path)} (FORMAT parquet, COMPRESSION zstd)`,
      );
      const summary = await summarize(connection, "batch");
      const bytes = await readFile(path);
      return { ...summary, bytes, sha256: createHash("sha256").update(bytes).digest("hex") };
    },
    close: async () => {
      close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** What the log says of a file, out of its rows: any relation that has the row columns. */
export async function summarize(
  connection: DuckDBConnection,
  relation: string,
): Promise<Pick<ParquetFile, "totals" | "changes" | "stats">> {
  const result = await connection.runAndReadAll(
    `SELECT count(*)::INTEGER AS rows, sum(changes)::VARCHAR AS changes, ${SETSUM_HALVES_SQL},
     ${STATS_COLUMNS.map((column) => `min(${column})::VARCHAR, max(${column})::VARCHAR, (count(*) - count(${column}))::INTEGER`).join(", ")}
     FROM (SELECT *, ${SETSUM_DIGEST_SQL} AS digest FROM ${relation})`,
  );
  const [values] = result.getRows();
  if (values === undefined) throw new Error("DuckDB gave no summary");
  const [count, changes, upper, lower, ...bounds] = values as [number, string, string, string, ...unknown[]];
  return {
    totals: { rows: count, sum: setsumFromHalves(upper, lower) },
    changes: Number(changes),
    stats: statsJson(count, bounds),
  };
}

function appendRow(appender: DuckDBAppender, row: Row): void {
  appender.appendBigInt(BigInt(row.changedMs));
  appender.appendVarchar(row.op);
  appender.appendVarchar(row.key);
  appender.appendVarchar(sequenceColumn(row.seq));
  appender.appendVarchar(row.shard);
  appender.appendBigInt(BigInt(row.changes));
  appendText(appender, row.kind);
  appendText(appender, row.source);
  appendText(appender, row.collection);
  appendText(appender, row.id);
  appendText(appender, row.userId);
  appendText(appender, row.anonymousId);
  appendText(appender, row.event);
  if (row.eventMs === null || !Number.isSafeInteger(row.eventMs)) appender.appendNull();
  else appender.appendBigInt(BigInt(row.eventMs));
  appendText(appender, row.image);
  appender.endRow();
}

function appendText(appender: DuckDBAppender, text: string | null): void {
  if (text === null) appender.appendNull();
  else appender.appendVarchar(text);
}

/** `bounds` holds least, greatest and null count of each statistics column in turn. */
function statsJson(rows: number, bounds: readonly unknown[]): string {
  const minValues: Record<string, unknown> = {};
  const maxValues: Record<string, unknown> = {};
  const nullCount: Record<string, number> = {};
  STATS_COLUMNS.forEach((column, index) => {
    const [min, max, nulls] = bounds.slice(index * 3, index * 3 + 3) as [
      string | null,
      string | null,
      number,
    ];
    nullCount[column] = nulls;
    if (min === null || max === null || min.length > STATS_TEXT_MAX || max.length > STATS_TEXT_MAX) return;
    minValues[column] = column === "changed_ms" ? Number(min) : min;
    maxValues[column] = column === "changed_ms" ? Number(max) : max;
  });
  const least = minValues["changed_ms"] as number;
  const greatest = maxValues["changed_ms"] as number;
  return JSON.stringify({
    numRecords: rows,
    minValues: { changed_at: new Date(least).toISOString(), ...minValues },
    maxValues: { changed_at: new Date(greatest).toISOString(), ...maxValues },
    nullCount: { changed_at: 0, ...nullCount },
  });
}
