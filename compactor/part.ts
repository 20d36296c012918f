/**
 * A part: local files with some of a window's rows, and how it is merged in little memory.
 *
 * DuckDB's sort needs memory in proportion to what it sorts, spilled or not. So a part that is too large is dealt out
 * into smaller ones along the sort order, until each can be merged at one go; put together in their order, what they
 * come to is sorted.
 *
 * Laws
 * - The rows of a key are of one part. Those of an event that was deleted do not sort together, for its delete has no
 *   collection: such keys are merged before the others.
 * - The totals that were read are those of the rows in the parts: a row that got lost on the way shows.
 */
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { DuckDBConnection } from "@duckdb/node-api";
import { COLUMNS } from "../shared/delta.ts";
import { sqlText } from "../shared/duckdb.ts";
import type { Totals } from "../shared/snapshot.ts";
import { NO_ROWS, addTotals, subtractTotals } from "../shared/snapshot.ts";
import { totalsOf } from "./summary.ts";

export type Ground = {
  readonly connection: DuckDBConnection;
  /** Where files may be made. */
  readonly dir: string;
  readonly memoryBytes: number;
  /** Every row survives, and not only the last of its key. */
  readonly keepAll: boolean;
};

type PartFile = { readonly path: string; readonly bytes: number; readonly rows: number };
/** `bytes`: about as many as its rows take in memory. */
export type Part = { readonly files: readonly PartFile[]; readonly bytes: number; readonly rows: number };

export type Judged = { readonly read: Totals; readonly survivors: Totals };

/** What a row takes in memory beside its texts. */
const ROW_BYTES = 300;
const ROWS_A_GROUP_MAX = 122_880;
/** Of memory: what is merged at one go, less when its rows are wide; what is dealt out at one go; and a row group. */
const WHOLE_SHARE = 0.35;
const WHOLE_WIDE_SHARE = 0.12;
const DEALT_SHARE = 0.12;
const GROUP_SHARE = 0.08;
/** DuckDB has so many rows in hand at each step; they are wide when those are more than this share of memory. */
const VECTOR_ROWS = 2048;
const VECTOR_SHARE = 0.05;
/** Into how many parts one is dealt out: DuckDB keeps half a megabyte for each. */
const PARTS_MAX = 16;
/** A sample does not part it quite evenly. */
const MARGIN = 1.2;
const SAMPLES_A_PART = 100;
const DEPTH_MAX = 12;

const NAMES = COLUMNS.map(({ name }) => name).join(", ");
const PLACE = "source, collection, id, key";
const SORT = `${PLACE}, seq`;

/** @param paths of Parquet files, at least one */
export async function partOf(connection: DuckDBConnection, paths: readonly string[]): Promise<Part> {
  const answer = await connection.runAndReadAll(
    `SELECT file_name, sum(row_group_num_rows) FILTER (column_id = 0)::DOUBLE, sum(total_uncompressed_size)::DOUBLE
     FROM parquet_metadata([${paths.map(sqlText).join(", ")}]) GROUP BY file_name ORDER BY file_name`,
  );
  const files = (answer.getRows() as [string, number, number][]).map(([path, rows, bytes]) => ({
    path,
    rows,
    bytes: bytes + ROW_BYTES * rows,
  }));
  return together({ files, bytes: 0, rows: 0 });
}

const together = (...parts: readonly Part[]): Part => {
  const files = parts.flatMap((part) => part.files);
  const sumOf = (of: "bytes" | "rows"): number => files.reduce((sum, file) => sum + file[of], 0);
  return { files, bytes: sumOf("bytes"), rows: sumOf("rows") };
};

/** How much of such rows is merged at one go. */
function wholeBytesMax({ memoryBytes }: Ground, { bytes, rows }: Part): number {
  const areWide = (VECTOR_ROWS * bytes) / rows > memoryBytes * VECTOR_SHARE;
  return memoryBytes * (areWide ? WHOLE_WIDE_SHARE : WHOLE_SHARE);
}

export const isMergedWhole = (ground: Ground, part: Part): boolean =>
  part.bytes <= wholeBytesMax(ground, part);

/** Rows of a row group that memory has room for. */
export const rowsAGroup = ({ memoryBytes }: Ground, { bytes, rows }: Part): number =>
  Math.max(1, Math.min(ROWS_A_GROUP_MAX, Math.floor((memoryBytes * GROUP_SHARE * rows) / bytes)));

/** @param condition SQL over the row columns, `filename` and `file_row_number` */
const rowsOf = (paths: readonly string[], condition = "true"): string =>
  `(SELECT ${NAMES} FROM read_parquet([${paths.map(sqlText).join(", ")}], hive_partitioning = false,
    filename = true, file_row_number = true) WHERE ${condition})`;

export const rowsOfPart = ({ files }: Part, condition?: string): string =>
  rowsOf(
    files.map(({ path }) => path),
    condition,
  );

/** The rows that survive, sorted. */
export const survivorsOf = (keepAll: boolean, rows: string): string =>
  `${keepAll ? `SELECT * FROM ${rows}` : lastRows(rows)} ORDER BY ${SORT}`;

const lastRows = (rows: string): string => `SELECT r.* REPLACE (last.changes AS changes) FROM ${rows} r
  JOIN (SELECT key, max((changed_ms, seq)) AS at, sum(changes)::BIGINT AS changes FROM ${rows} GROUP BY key) last
  ON r.key = last.key AND r.changed_ms = last.at[1] AND r.seq = last.at[2]`;

/** The same choice of rows, made another way. */
const lastIdentities = (rows: string): string => `(SELECT key, arg_max(shard, (changed_ms, seq)) AS shard,
  arg_max(seq, (changed_ms, seq)) AS seq, arg_max(op, (changed_ms, seq)) AS op FROM ${rows} GROUP BY key)`;

/** What was read, and what must survive of it. */
export async function judge({ connection, keepAll }: Ground, rows: string): Promise<Judged> {
  const read = await totalsOf(connection, rows);
  return { read, survivors: keepAll ? read : await totalsOf(connection, lastIdentities(rows)) };
}

/** Files that are sorted one after the other. */
export type Merged = Judged & { readonly paths: readonly string[] };

/** Merges a part of any size. Its own files are left as they are. */
export async function mergeInParts(ground: Ground, part: Part): Promise<Merged> {
  const { connection } = ground;
  const names = openNames(ground.dir);
  if (ground.keepAll) return mergePart(ground, names, part);
  await connection.run(
    `CREATE TABLE scattered AS SELECT DISTINCT key FROM ${rowsOfPart(part)} WHERE op = 'delete' AND kind IN ('event', 'rejected')`,
  );
  const scattered = rowsOfPart(part, "key IN (SELECT key FROM scattered)");
  const { read, survivors } = await judge(ground, scattered);
  if (read.rows === 0) return mergePart(ground, names, part);
  const path = names.next();
  await mergeWhole(ground, scattered, part, path);
  const merged = await mergePart(
    ground,
    names,
    together(part, await partOf(connection, [path])),
    `(filename = ${sqlText(path)} OR key NOT IN (SELECT key FROM scattered))`,
  );
  return { ...merged, read: addTotals(merged.read, subtractTotals(read, survivors)) };
}

type Names = { readonly next: () => string };

function openNames(dir: string): Names {
  let made = 0;
  return { next: () => join(dir, `part-${(made += 1)}`) };
}

async function mergePart(
  ground: Ground,
  names: Names,
  part: Part,
  condition = "true",
  depth = 0,
): Promise<Merged> {
  const own = depth === 0 ? [] : part.files.map(({ path }) => path);
  const parts =
    isMergedWhole(ground, part) || depth === DEPTH_MAX ? [] : await deal(ground, names, part, condition);
  if (parts.length === 0) {
    const path = names.next();
    const rows = rowsOfPart(part, condition);
    await mergeWhole(ground, rows, part, path);
    const judged = await judge(ground, rows);
    await remove(own);
    return { paths: [path], ...judged };
  }
  await remove(own);
  const merged: Merged[] = [];
  for (const one of parts) merged.push(await mergePart(ground, names, one, "true", depth + 1));
  return {
    paths: merged.flatMap(({ paths }) => paths),
    read: merged.reduce((totals, { read }) => addTotals(totals, read), NO_ROWS),
    survivors: merged.reduce((totals, { survivors }) => addTotals(totals, survivors), NO_ROWS),
  };
}

async function mergeWhole(ground: Ground, rows: string, part: Part, path: string): Promise<void> {
  await ground.connection.run(
    `COPY (${survivorsOf(ground.keepAll, rows)}) TO ${sqlText(path)}
     (FORMAT parquet, COMPRESSION lz4_raw, ROW_GROUP_SIZE ${rowsAGroup(ground, part)})`,
  );
}

async function remove(paths: readonly string[]): Promise<void> {
  for (const path of paths) await rm(path);
}

/** Parts of a part, in sort order. None when all its rows are of one place. */
async function deal(ground: Ground, names: Names, part: Part, condition: string): Promise<readonly Part[]> {
  const { connection, memoryBytes } = ground;
  const columns = ground.keepAll ? SORT : PLACE;
  const count = Math.min(PARTS_MAX, Math.ceil((MARGIN * part.bytes) / wholeBytesMax(ground, part)));
  const sample = await connection.runAndReadAll(
    `SELECT ${columns} FROM (SELECT ${columns} FROM ${rowsOfPart(part)}
     USING SAMPLE reservoir(${count * SAMPLES_A_PART} ROWS) REPEATABLE (1)) ORDER BY ${columns}`,
  );
  const bounds = boundsOf(sample.getRows() as (string | null)[][], count);
  if (bounds.length === 0) return [];
  const folder = names.next();
  await mkdir(folder);
  for (const [index, piece] of piecesOf(part, memoryBytes * DEALT_SHARE, condition).entries()) {
    await connection.run(
      `COPY (SELECT *, ${partNumber(columns, bounds)} AS part FROM ${piece}) TO ${sqlText(folder)}
       (FORMAT parquet, COMPRESSION lz4_raw, PARTITION_BY (part), FILENAME_PATTERN 'piece${index}_{i}', OVERWRITE_OR_IGNORE)`,
    );
  }
  const parts: Part[] = [];
  // The sample may have had rows that the condition leaves out: not every part has some.
  const made = new Set(await readdir(folder));
  for (let number = 0; number <= bounds.length; number += 1) {
    const name = `part=${number}`;
    if (!made.has(name)) continue;
    const files = await readdir(join(folder, name));
    parts.push(
      await partOf(
        connection,
        files.map((file) => join(folder, name, file)),
      ),
    );
  }
  return parts;
}

/** Rows that together are all of a part, each once; none larger than memory has room for. */
function piecesOf({ files }: Part, bytesMax: number, condition: string): readonly string[] {
  const pieces: string[] = [];
  let small: string[] = [];
  let bytes = 0;
  for (const file of files) {
    if (small.length > 0 && bytes + file.bytes > bytesMax) {
      pieces.push(rowsOf(small, condition));
      [small, bytes] = [[], 0];
    }
    if (file.bytes <= bytesMax) {
      small.push(file.path);
      bytes += file.bytes;
      continue;
    }
    const step = Math.ceil(file.rows / Math.ceil(file.bytes / bytesMax));
    for (let from = 0; from < file.rows; from += step) {
      const range = `file_row_number >= ${from} AND file_row_number < ${from + step}`;
      pieces.push(rowsOf([file.path], `${range} AND ${condition}`));
    }
  }
  if (small.length > 0) pieces.push(rowsOf(small, condition));
  return pieces;
}

type Place = readonly (string | null)[];

/** Where to part a sorted sample into some `count` like parts, none of them empty of its rows. */
function boundsOf(sample: readonly Place[], count: number): readonly string[] {
  const bounds = new Set<string>();
  const least = placeText(sample[0] ?? []);
  for (let part = 1; part < count; part += 1) {
    const bound = placeText(sample[Math.floor((part * sample.length) / count)] ?? []);
    if (bound !== least) bounds.add(bound);
  }
  return [...bounds];
}

const placeText = (place: Place): string =>
  `(${place.map((text) => (text === null ? "NULL::VARCHAR" : sqlText(text))).join(", ")})`;

/** SQL for the number of a row's part: a binary search. */
function partNumber(columns: string, bounds: readonly string[], low = 0, high = bounds.length): string {
  if (low === high) return String(low);
  const middle = Math.floor((low + high) / 2);
  const [before, after] = [
    partNumber(columns, bounds, low, middle),
    partNumber(columns, bounds, middle + 1, high),
  ];
  return `CASE WHEN (${columns}) < ${bounds[middle]} THEN ${before} ELSE ${after} END`;
}
