/**
 * Rows to a Parquet file. The file's statistics and set checksum come out of the same engine.
 *
 * A flush is about one row group, so there is nothing inside it that an order could prune: its rows stand as they
 * came, at zstd's cheapest level, for the minutes until its window is merged. What the rows of a shard share goes
 * into DuckDB once, as a lane: each value that is handed over costs as much as writing it.
 */
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DuckDBAppender, DuckDBConnection } from "@duckdb/node-api";
import { openDuckDB, sqlText } from "../shared/duckdb.ts";
import type { Row } from "../shared/row.ts";
import { SEQUENCE_DIGITS_MAX } from "../shared/sequence.ts";
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

const TABLES = `
  CREATE OR REPLACE TABLE lanes (lane INTEGER, shard VARCHAR, op VARCHAR, kind VARCHAR);
  CREATE OR REPLACE TABLE batch (lane INTEGER, changed_ms BIGINT, key VARCHAR, digits VARCHAR, changes INTEGER, source VARCHAR,
    collection VARCHAR, id VARCHAR, user_id VARCHAR, anonymous_id VARCHAR, event VARCHAR, event_ms BIGINT, image VARCHAR)`;

const ROWS = `(SELECT * EXCLUDE digits, lpad(digits, ${SEQUENCE_DIGITS_MAX}, '0') AS seq FROM batch JOIN lanes USING (lane))`;

const FILE_COLUMNS = `make_timestamptz(changed_ms * 1000) AS changed_at, changed_ms, op, key, seq, shard, changes::BIGINT AS changes,
  kind, source, collection, id, user_id, anonymous_id, event,
  CASE WHEN event_ms BETWEEN -62135596800000 AND 253402300799999 THEN make_timestamptz(event_ms * 1000) END AS event_at, image`;

/** Columns whose least and greatest values stand in the log, so that readers can pass over files. */
const STATS_COLUMNS = ["changed_ms", "kind", "source", "collection", "id"] as const;
const STATS_TEXT_MAX = 128;

export async function openParquetWriter(memoryMaxMB: number): Promise<ParquetWriter> {
  const dir = await mkdtemp(join(tmpdir(), "varve-parquet-"));
  const { connection, close } = await openDuckDB({ threads: 1, memoryMaxMB, spillDir: join(dir, "spill") });
  const path = join(dir, "batch.parquet");

  return {
    write: async (rows) => {
      await connection.run(TABLES);
      await append(connection, rows);
      await connection.run(
        `COPY (SELECT ${FILE_COLUMNS} FROM ${ROWS}) TO ${sqlText(path)} (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)`,
      );
      const summary = await connection.runAndReadAll(
        `SELECT count(*)::INTEGER AS rows, sum(changes)::VARCHAR AS changes, ${SETSUM_HALVES_SQL},
         ${STATS_COLUMNS.map((column) => `min(${column})::VARCHAR, max(${column})::VARCHAR, (count(*) - count(${column}))::INTEGER`).join(", ")}
         FROM (SELECT *, ${SETSUM_DIGEST_SQL} AS digest FROM ${ROWS})`,
      );
      const [values] = summary.getRows();
      if (values === undefined) throw new Error("DuckDB gave no summary of a batch");
      const [count, changes, upper, lower, ...bounds] = values as [
        number,
        string,
        string,
        string,
        ...unknown[],
      ];
      const bytes = await readFile(path);
      return {
        bytes,
        totals: { rows: count, sum: setsumFromHalves(upper, lower) },
        changes: Number(changes),
        stats: statsJson(count, bounds),
        sha256: createHash("sha256").update(bytes).digest("hex"),
      };
    },
    close: async () => {
      close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

async function append(connection: DuckDBConnection, rows: Iterable<Row>): Promise<void> {
  const appender = await connection.createAppender("batch");
  const lanes: Row[] = [];
  let lane = 0;
  for (const row of rows) {
    const last = lanes[lane];
    if (last === undefined || !sameLane(last, row)) {
      const known = lanes.findIndex((one) => sameLane(one, row));
      lane = known === -1 ? lanes.push(row) - 1 : known;
    }
    appendRow(appender, lane, row);
  }
  appender.closeSync();
  const named = await connection.createAppender("lanes");
  for (const [index, { shard, op, kind }] of lanes.entries()) {
    named.appendInteger(index);
    named.appendVarchar(shard);
    named.appendVarchar(op);
    appendText(named, kind);
    named.endRow();
  }
  named.closeSync();
}

const sameLane = (a: Row, b: Row): boolean => a.shard === b.shard && a.op === b.op && a.kind === b.kind;

function appendRow(appender: DuckDBAppender, lane: number, row: Row): void {
  appender.appendInteger(lane);
  appender.appendDouble(row.changedMs);
  appender.appendVarchar(row.key);
  appender.appendVarchar(row.seq);
  appender.appendInteger(row.changes);
  appendText(appender, row.source);
  appendText(appender, row.collection);
  appendText(appender, row.id);
  appendText(appender, row.userId);
  appendText(appender, row.anonymousId);
  appendText(appender, row.event);
  if (row.eventMs === null || !Number.isSafeInteger(row.eventMs)) appender.appendNull();
  else appender.appendDouble(row.eventMs);
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
