/** The files against the log: there, whole, with the rows that were committed, once each. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { rm } from "node:fs/promises";
import type { DuckDBConnection } from "@duckdb/node-api";
import { many } from "../shared/amounts.ts";
import { sqlText } from "../shared/duckdb.ts";
import { describeError } from "../shared/errors.ts";
import { sequenceColumn } from "../shared/sequence.ts";
import { SETSUM_DIGEST_SQL, SETSUM_HALVES_SQL, setsumFromHalves } from "../shared/setsum.ts";
import type { DataFile, Snapshot, Totals } from "../shared/snapshot.ts";
import { NO_ROWS, addTotals } from "../shared/snapshot.ts";
import { allEnded } from "../shared/turnstile.ts";
import { compareBytes, statsOf } from "./range.ts";
import type { Scratch } from "./scratch.ts";
import { missing } from "./scratch.ts";
import type { Problem, Progress } from "./verify.ts";
import { NAMED_MAX, named } from "./verify.ts";

const FILES_A_STEP = 16;
/** Text columns whose bounds readers prune by. */
const BOUNDED = ["kind", "source", "collection", "id"] as const;

/** Every row of the live files, as far as later checks need it. */
export const createSeen = async (connection: DuckDBConnection): Promise<void> => {
  await connection.run(
    "CREATE TABLE seen (key VARCHAR, changed_ms BIGINT, seq VARCHAR, shard VARCHAR, op VARCHAR, kind VARCHAR, content VARCHAR)",
  );
};

/** The totals of what the files really hold. Their rows go into table `seen`. */
export async function checkFiles(
  scratch: Scratch,
  files: readonly DataFile[],
  problems: Problem[],
  progress: Progress,
): Promise<Totals> {
  let live = NO_ROWS;
  for (let start = 0; start < files.length; start += FILES_A_STEP) {
    const step = files.slice(start, start + FILES_A_STEP);
    const fetched = await allEnded(step.map((file) => fetchSound(scratch, file)));
    for (const [index, file] of step.entries()) {
      const { path, problem } = fetched[index] ?? { path: null, problem: null };
      if (problem !== null) problems.push(problem);
      if (path === null) continue;
      const held = await checkRows(scratch.connection, file, path, problems);
      if (held !== null) live = addTotals(live, held);
      await rm(path, { force: true });
    }
    progress("files", Math.min(start + FILES_A_STEP, files.length), files.length);
  }
  return live;
}

type Fetched = { readonly path: string | null; readonly problem: Problem | null };

/** The file's path; or what is wrong, when it is missing or its bytes are not those that were committed. */
async function fetchSound(scratch: Scratch, file: DataFile): Promise<Fetched> {
  const object = await scratch.read(file);
  const where = file.path;
  if (object === null) {
    const { message } = missing(file);
    return { path: null, problem: { kind: "file_missing", what: message.slice(where.length + 1), where } };
  }
  let what: string | null = null;
  if (object.sizeBytes !== file.sizeBytes)
    what = `the file has ${object.sizeBytes} bytes, the log says ${file.sizeBytes}`;
  else if ((await sha256Of(object.path)) !== file.sha256)
    what = "the file's bytes do not match its checksum in the log";
  if (what === null) return { path: object.path, problem: null };
  await rm(object.path, { force: true });
  return { path: null, problem: { kind: "file_damaged", what, where } };
}

async function sha256Of(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const piece of createReadStream(path)) hash.update(piece as Uint8Array);
  return hash.digest("hex");
}

type Summary = readonly [
  rows: number,
  changes: number,
  minMs: number,
  maxMs: number,
  keys: number,
  upper: string,
  lower: string,
  ...bounds: (string | null)[],
];

async function checkRows(
  connection: DuckDBConnection,
  file: DataFile,
  path: string,
  problems: Problem[],
): Promise<Totals | null> {
  const relation = `read_parquet(${sqlText(path)})`;
  const report = (what: string) => problems.push({ kind: "rows", what, where: file.path });
  try {
    const answer = await connection.runAndReadAll(
      `SELECT count(*)::INTEGER, coalesce(sum(changes), 0)::DOUBLE, min(changed_ms)::DOUBLE, max(changed_ms)::DOUBLE,
       count(DISTINCT (key, seq))::INTEGER, ${SETSUM_HALVES_SQL}, ${BOUNDED.map((column) => `min(${column}), max(${column})`).join(", ")}
       FROM (SELECT *, ${SETSUM_DIGEST_SQL} AS digest FROM ${relation})`,
    );
    const [rows, changes, minMs, maxMs, keys, upper, lower, ...bounds] =
      answer.getRows()[0] as unknown as Summary;
    const sum = setsumFromHalves(upper, lower);
    if (rows < file.totals.rows)
      report(
        `${many(file.totals.rows - rows, "row is", "rows are")} lost: it holds ${rows}, the log says ${file.totals.rows}`,
      );
    else if (rows > file.totals.rows)
      report(
        `${many(rows - file.totals.rows, "row is", "rows are")} too many: it holds ${rows}, the log says ${file.totals.rows}`,
      );
    else if (sum !== file.totals.sum)
      report(
        `its rows are not those that were committed: their set checksum is ${sum}, the log says ${file.totals.sum}`,
      );
    if (changes !== file.changes)
      report(`its rows stand for ${many(changes, "change")}, the log says ${file.changes}`);
    if (minMs < file.minChangedMs || maxMs > file.maxChangedMs)
      report("it holds rows outside of its statistics: readers pass over them");
    for (const what of outOfBounds(file, bounds)) report(what);
    if (keys !== rows)
      problems.push({
        kind: "row_doubled",
        what: `${many(rows - keys, "row is", "rows are")} in it twice`,
        where: file.path,
      });
    await connection.run(
      `INSERT INTO seen SELECT key, changed_ms, seq, shard, op, kind, CASE WHEN kind = 'event' OR kind = 'rejected' THEN NULL ELSE image END FROM ${relation}`,
    );
    return { rows, sum };
  } catch (error) {
    problems.push({
      kind: "file_damaged",
      what: `it cannot be read: ${describeError(error)}`,
      where: file.path,
    });
    return null;
  }
}

/** @param bounds least and greatest of each bounded column in turn */
function* outOfBounds(file: DataFile, bounds: readonly (string | null)[]): Generator<string> {
  const { minValues = {}, maxValues = {} } = statsOf(file);
  for (const [index, column] of BOUNDED.entries()) {
    const [least, greatest] = [bounds[index * 2] ?? null, bounds[index * 2 + 1] ?? null];
    const [min, max] = [minValues[column], maxValues[column]];
    if (least === null || greatest === null || typeof min !== "string" || typeof max !== "string") continue;
    if (compareBytes(min, least) > 0 || compareBytes(max, greatest) < 0)
      yield `it holds a ${column} outside of its statistics: readers pass over it`;
  }
}

/** Rows that are held against each other at once: as many as memory has room for. */
const ROWS_A_PART = 1_000_000;

/** Conditions that part the rows of table `seen` by key. */
export async function partsOfSeen(
  connection: DuckDBConnection,
  rowsAPart = ROWS_A_PART,
): Promise<readonly string[]> {
  const [[rows]] = (await answerTo(connection, "SELECT count(*)::DOUBLE FROM seen")) as [[number]];
  const parts = Math.max(1, Math.ceil(rows / rowsAPart));
  return Array.from({ length: parts }, (_, part) => `hash(key) % ${parts} = ${part}`);
}

/** A row stands once in the changelog; and an event once within the dedupe window, whatever its rows. */
export async function checkRepeats(
  connection: DuckDBConnection,
  dedupeMs: number,
  problems: Problem[],
  rowsAPart = ROWS_A_PART,
): Promise<void> {
  const rows = await firstOf(
    connection,
    rowsAPart,
    (part) =>
      `SELECT key, shard, seq, count(*)::INTEGER AS n FROM seen WHERE ${part} GROUP BY key, shard, seq HAVING n > 1`,
  );
  const doubled = rows.found as [key: string, shard: string, seq: string, n: number][];
  named(problems, "row_doubled", doubled, rows.total, ([key, shard, seq, n]) => ({
    what: `the row is in the changelog ${n} times (${shard}, ${seq.replace(/^0+(?=\d)/, "")})`,
    where: key,
  }));
  const events = await firstOf(
    connection,
    rowsAPart,
    (part) =>
      `SELECT key, count(DISTINCT (shard, seq))::INTEGER AS n FROM seen
       WHERE ${part} AND kind = 'event' AND op = 'insert'
       GROUP BY key HAVING n > 1 AND max(changed_ms) - min(changed_ms) < ${dedupeMs}`,
  );
  const repeated = events.found as [key: string, n: number][];
  named(problems, "row_doubled", repeated, events.total, ([key, n]) => ({
    what: `the event is in the changelog ${n} times`,
    where: key,
  }));
}

/**
 * The first by key of what a query finds, as many as are named, and how many there are.
 * @param query for the rows of a part of the keys, which a condition tells
 */
async function firstOf(
  connection: DuckDBConnection,
  rowsAPart: number,
  query: (part: string) => string,
): Promise<{ readonly found: readonly unknown[][]; readonly total: number }> {
  let found: readonly unknown[][] = [];
  let total = 0;
  for (const part of await partsOfSeen(connection, rowsAPart)) {
    const some = await answerTo(
      connection,
      `SELECT *, count(*) OVER ()::DOUBLE FROM (${query(part)}) ORDER BY key LIMIT ${NAMED_MAX}`,
    );
    total += Number(some[0]?.at(-1) ?? 0);
    found = [...found, ...some]
      .toSorted(([a], [b]) => compareBytes(String(a), String(b)))
      .slice(0, NAMED_MAX);
  }
  return { found, total };
}

const answerTo = async (connection: DuckDBConnection, query: string): Promise<readonly unknown[][]> =>
  (await connection.runAndReadAll(query)).getRows();

/** No row is beyond what the log says was read of its shard. */
export async function checkPositions(
  connection: DuckDBConnection,
  { shards, version }: Snapshot,
  problems: Problem[],
): Promise<void> {
  const answer = await connection.runAndReadAll(
    "SELECT shard, max(seq) FROM seen GROUP BY shard ORDER BY shard",
  );
  for (const [shard, greatest] of answer.getRows() as [string, string][]) {
    const seq = shards.get(shard)?.seq ?? null;
    if (shards.has(shard) && (seq === null || sequenceColumn(seq) < greatest)) {
      problems.push({
        kind: "log_entry",
        what: `${shard} is at ${seq}, but there are rows up to ${greatest.replace(/^0+(?=\d)/, "")}`,
        where: `version ${version}`,
      });
    }
  }
}
