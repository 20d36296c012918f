/**
 * Rows to Parquet files, by way of a stage: DuckDB takes each row in as it is read, so that none of them is held in
 * JavaScript's heap, where keeping it until the flush would cost more than parsing it did. The statistics and the
 * set checksum come out of the same engine.
 *
 * A flush stands for the minutes until its window is merged: its rows are as they came, at zstd's cheapest level. What
 * many rows share goes into DuckDB once, as a family: handing a value over costs as much as writing it to the file.
 * Which row is the last of its key is asked of DuckDB too, for a tenth of what a map of all keys costs here.
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

/** Rows on their way into files: those of one batch. */
export type Stage = {
  readonly add: (row: Row) => void;
  /**
   * The file of the rows with `changedMs` in [startMs, endMs): of each key the one added last, for the `changes`
   * of all. One call at a time, and none of `add` after the first.
   */
  readonly write: (startMs: number, endMs: number) => Promise<ParquetFile>;
  readonly close: () => Promise<void>;
};

export type ParquetWriter = {
  readonly stage: () => Promise<Stage>;
  readonly close: () => Promise<void>;
};

const STAGE = `(family INTEGER, changed_ms BIGINT, key VARCHAR, seq VARCHAR, id VARCHAR, user_id VARCHAR, anonymous_id VARCHAR,
  event_ms BIGINT, image VARCHAR)`;

const FAMILIES = `(family INTEGER, shard VARCHAR, op VARCHAR, kind VARCHAR, changes INTEGER, source VARCHAR, collection VARCHAR,
  event VARCHAR)`;

const FILE_COLUMNS = `make_timestamptz(changed_ms * 1000) AS changed_at, changed_ms, op, key, lpad(seq, ${SEQUENCE_DIGITS_MAX}, '0') AS seq,
  shard, coalesce(repeated.changes, families.changes)::BIGINT AS changes, kind, source, collection, id, user_id, anonymous_id, event,
  CASE WHEN event_ms BETWEEN -62135596800000 AND 253402300799999 THEN make_timestamptz(event_ms * 1000) END AS event_at, image`;

/**
 * DuckDB holds a row group until it is whole: a small one stays in the processor's cache, and takes no new memory from
 * the system for each flush. And it looks for values that repeat until it has found more than the limit: what families
 * share repeats, all else is of one row or few.
 */
const FILE_FORMAT =
  "FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE 16384, DICTIONARY_SIZE_LIMIT 1000";

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
  const families = openFamilies();
  let sealed = false;

  const seal = async (): Promise<void> => {
    if (sealed) return;
    sealed = true;
    appender.closeSync();
    await connection.run(`CREATE TEMP TABLE families ${FAMILIES}`);
    await appendFamilies(connection, families.all);
  };

  return {
    add: (row) => appendRow(appender, families.of(row), row),

    write: async (startMs, endMs) => {
      await seal();
      // A name for each window: DuckDB remembers what it has read under a name.
      const path = `${prefix}-${startMs}.parquet`;
      const rows = `${name} JOIN families USING (family)`;
      const isIn = `changed_ms >= ${startMs} AND changed_ms < ${endMs}`;
      // In a table that was only appended to, rowid counts the rows from 0.
      await connection.run(
        `CREATE OR REPLACE TEMP TABLE repeated AS SELECT key, max(${name}.rowid) AS last, sum(changes) AS changes
         FROM ${rows} WHERE ${isIn} GROUP BY key HAVING count(*) > 1`,
      );
      await connection.run(
        `COPY (SELECT ${FILE_COLUMNS} FROM ${rows} LEFT JOIN repeated USING (key)
         WHERE ${isIn} AND (last IS NULL OR last = ${name}.rowid))
         TO ${sqlText(path)} (${FILE_FORMAT})`,
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

type Family = Pick<Row, "shard" | "op" | "kind" | "changes" | "source" | "collection" | "event">;
type Families = {
  /** The number of the row's family. */
  readonly of: (row: Row) => number;
  /** By number. */
  readonly all: readonly Family[];
};

/** Keyed by value after value: text that holds them all would have to be made and hashed for each row. */
type Branch<Leaf> = Map<string | number | null, Leaf>;

function openFamilies(): Families {
  const all: Family[] = [];
  const kins: Branch<Branch<Branch<Branch<Branch<Branch<Branch<number>>>>>>> = new Map();
  let last: Row | null = null;
  let alike: Branch<Branch<Branch<number>>> = new Map();
  return {
    all,
    of: (row) => {
      const { shard, op, kind, changes, source, collection, event } = row;
      // These seldom differ from one row to the next.
      if (last?.shard !== shard || last.op !== op || last.kind !== kind || last.changes !== changes)
        alike = branch(branch(branch(branch(kins, shard), op), kind), changes);
      last = row;
      const named = branch(branch(alike, source), collection);
      let family = named.get(event);
      if (family === undefined) {
        family = all.push({ shard, op, kind, changes, source, collection, event }) - 1;
        named.set(event, family);
      }
      return family;
    },
  };
}

function branch<Leaf>(from: Branch<Branch<Leaf>>, value: string | number | null): Branch<Leaf> {
  let next = from.get(value);
  if (next === undefined) from.set(value, (next = new Map()));
  return next;
}

async function appendFamilies(connection: DuckDBConnection, families: readonly Family[]): Promise<void> {
  const appender = await connection.createAppender("families");
  for (const [index, { shard, op, kind, changes, source, collection, event }] of families.entries()) {
    appender.appendInteger(index);
    appender.appendVarchar(shard);
    appender.appendVarchar(op);
    appendText(appender, kind);
    appender.appendInteger(changes);
    appendText(appender, source);
    appendText(appender, collection);
    appendText(appender, event);
    appender.endRow();
  }
  appender.closeSync();
}

function appendRow(appender: DuckDBAppender, family: number, row: Row): void {
  appender.appendInteger(family);
  appender.appendDouble(row.changedMs);
  appender.appendVarchar(row.key);
  appender.appendVarchar(row.seq);
  appendText(appender, row.id);
  appendText(appender, row.userId);
  appendText(appender, row.anonymousId);
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
