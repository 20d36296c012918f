/**
 * Rows to Parquet files, by way of a stage: DuckDB takes each row in as it is read, so that none of them is held in
 * JavaScript's heap, where keeping it until the flush would cost more than parsing it did. The statistics and the
 * set checksum come out of the same engine.
 *
 * A flush is about one row group, so there is nothing inside it that an order could prune: its rows stand as they
 * came, at zstd's cheapest level, for the minutes until its window is merged. What the rows of a shard share goes
 * into DuckDB once, as a family: handing a value over costs as much as writing it to the file.
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

/** Rows on their way into files: those of one batch. */
export type Stage = {
  /** Takes a row in, and gives its number. */
  readonly add: (row: Row) => number;
  /**
   * The file of the rows with `changedMs` in [startMs, endMs), less those whose numbers are in `superseded`.
   * One call at a time, and none of `add` after the first.
   */
  readonly write: (startMs: number, endMs: number, superseded: readonly number[]) => Promise<ParquetFile>;
  readonly close: () => Promise<void>;
};

export type ParquetWriter = {
  readonly stage: () => Promise<Stage>;
  readonly close: () => Promise<void>;
};

const STAGE = `(family INTEGER, changed_ms BIGINT, key VARCHAR, seq VARCHAR, changes INTEGER, source VARCHAR, collection VARCHAR,
  id VARCHAR, user_id VARCHAR, anonymous_id VARCHAR, event VARCHAR, event_ms BIGINT, image VARCHAR)`;

const FILE_COLUMNS = `make_timestamptz(changed_ms * 1000) AS changed_at, changed_ms, op, key, seq, shard, changes::BIGINT AS changes,
  kind, source, collection, id, user_id, anonymous_id, event,
  CASE WHEN event_ms BETWEEN -62135596800000 AND 253402300799999 THEN make_timestamptz(event_ms * 1000) END AS event_at, image`;

/** Columns whose least and greatest values stand in the log, so that readers can pass over files. */
const STATS_COLUMNS = ["changed_ms", "kind", "source", "collection", "id"] as const;
const STATS_TEXT_MAX = 128;

export async function openParquetWriter(memoryMaxMB: number): Promise<ParquetWriter> {
  const dir = await mkdtemp(join(tmpdir(), "varve-parquet-"));
  const duckdb = await openDuckDB({ threads: 1, memoryMaxMB, spillDir: join(dir, "spill") });
  let stages = 0;
  return {
    stage: async () => {
      const number = (stages += 1);
      return openStage(await duckdb.connect(), `stage_${number}`, join(dir, String(number)));
    },
    close: async () => {
      duckdb.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

async function openStage(connection: DuckDBConnection, name: string, prefix: string): Promise<Stage> {
  await connection.run(`CREATE TABLE ${name} ${STAGE}`);
  const appender = await connection.createAppender(name);
  const families: Row[] = [];
  let family = 0;
  let count = 0;
  let sealed = false;

  const seal = async (superseded: readonly number[]): Promise<void> => {
    if (sealed) return;
    sealed = true;
    appender.closeSync();
    await connection.run(
      `CREATE TEMP TABLE families (family INTEGER, shard VARCHAR, op VARCHAR, kind VARCHAR); CREATE TEMP TABLE superseded (number BIGINT)`,
    );
    await appendFamilies(connection, families);
    const numbers = await connection.createAppender("superseded");
    for (const number of superseded) {
      numbers.appendDouble(number);
      numbers.endRow();
    }
    numbers.closeSync();
  };

  return {
    add: (row) => {
      const last = families[family];
      if (last === undefined || !sameFamily(last, row)) {
        const known = families.findIndex((one) => sameFamily(one, row));
        family = known === -1 ? families.push({ ...row, image: null }) - 1 : known;
      }
      appendRow(appender, family, row);
      count += 1;
      return count - 1;
    },

    write: async (startMs, endMs, superseded) => {
      await seal(superseded);
      // A name for each window: DuckDB remembers what it has read under a name.
      const path = `${prefix}-${startMs}.parquet`;
      // In a table that was only appended to, rowid counts the rows from 0.
      const last = superseded.length === 0 ? "" : `AND ${name}.rowid NOT IN (SELECT number FROM superseded)`;
      await connection.run(
        `COPY (SELECT ${FILE_COLUMNS} FROM ${name} JOIN families USING (family) WHERE changed_ms >= ${startMs} AND changed_ms < ${endMs} ${last})
         TO ${sqlText(path)} (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)`,
      );
      const summary = await summarize(connection, `read_parquet(${sqlText(path)})`);
      const bytes = await readFile(path);
      await rm(path, { force: true });
      return { ...summary, bytes, sha256: createHash("sha256").update(bytes).digest("hex") };
    },

    close: async () => {
      if (!sealed) appender.closeSync();
      await connection.run(`DROP TABLE ${name}`);
      connection.closeSync();
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

async function appendFamilies(connection: DuckDBConnection, families: readonly Row[]): Promise<void> {
  const appender = await connection.createAppender("families");
  for (const [index, { shard, op, kind }] of families.entries()) {
    appender.appendInteger(index);
    appender.appendVarchar(shard);
    appender.appendVarchar(op);
    appendText(appender, kind);
    appender.endRow();
  }
  appender.closeSync();
}

const sameFamily = (a: Row, b: Row): boolean => a.shard === b.shard && a.op === b.op && a.kind === b.kind;

function appendRow(appender: DuckDBAppender, family: number, row: Row): void {
  appender.appendInteger(family);
  appender.appendDouble(row.changedMs);
  appender.appendVarchar(row.key);
  appender.appendVarchar(sequenceColumn(row.seq));
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
