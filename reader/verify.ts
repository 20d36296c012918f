/**
 * Verification: the log against its invariants, the files against the log, and the table against the files.
 * What is wrong is reported, never thrown; only what cannot be read at all throws.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import type { DuckDBConnection } from "@duckdb/node-api";
import { sqlText } from "../shared/duckdb.ts";
import { describeError } from "../shared/errors.ts";
import type { AttributeMap } from "../shared/item.ts";
import { attributeMapJson, objectPropertiesJson, parsePk } from "../shared/item.ts";
import { loadSnapshot, readCommits } from "../shared/log.ts";
import { SETSUM_DIGEST_SQL, SETSUM_HALVES_SQL, setsumFromHalves } from "../shared/setsum.ts";
import type { DataFile, Snapshot, Totals, Violation } from "../shared/snapshot.ts";
import { NO_ROWS, addTotals, applyCommit, equalTotals } from "../shared/snapshot.ts";
import type { ObjectStore } from "../shared/store.ts";
import type { Scratch } from "./scratch.ts";
import { openScratch } from "./scratch.ts";

/** The table's items, and how to read some of them again. */
export type TableReader = {
  readonly name: string;
  readonly scan: () => AsyncIterable<readonly AttributeMap[]>;
  /** By key as JSON text. Absent ones are left out. */
  readonly read: (keys: readonly string[]) => Promise<ReadonlyMap<string, AttributeMap>>;
  readonly keyOf: (item: AttributeMap) => string;
};

export type Problem = { readonly what: string; readonly where: string };
export type Progress = (step: string, done: number, total: number | null) => void;

export type Report = {
  readonly version: number;
  readonly watermarkMs: number;
  readonly commits: number;
  readonly files: number;
  readonly rows: number;
  readonly changes: number;
  readonly gaps: number;
  readonly setsum: string;
  readonly table: TableReport | null;
  /** Events whose table item was written again after the changelog took the first: harmless, counted. */
  readonly problems: readonly Problem[];
};
export type TableReport = {
  readonly name: string;
  readonly items: number;
  readonly keys: number;
  readonly expired: number;
};

export type VerifyOptions = {
  readonly table?: TableReader;
  readonly nowMs: () => number;
  readonly sleep: (ms: number) => Promise<void>;
  /** An event's item may be gone once it is older: the edge's dedupe window. */
  readonly dedupeMs: number;
  /** How long the changelog may take to show an item that the scan has met. */
  readonly settleMs: number;
  readonly progress?: Progress;
};

const FILES_A_STEP = 64;
const KEYS_A_READ = 100;
/** Problems of one kind that are named one by one; the rest are counted. */
const NAMED_MAX = 20;

export async function verify(store: ObjectStore, options: VerifyOptions): Promise<Report> {
  const problems: Problem[] = [];
  const progress = options.progress ?? (() => undefined);
  const scratch = await openScratch(store);
  try {
    const snapshot = await replayLog(store, problems, progress);
    await scratch.connection.run(
      "CREATE TABLE seen (key VARCHAR, changed_ms BIGINT, seq VARCHAR, op VARCHAR, kind VARCHAR, content VARCHAR)",
    );
    const live = await checkFiles(scratch, [...snapshot.files.values()], problems, progress);
    if (!equalTotals(live, snapshot.live)) {
      problems.push({
        what: `the live files hold ${live.rows} rows with set checksum ${live.sum}; the log says ${snapshot.live.rows} with ${snapshot.live.sum}`,
        where: `version ${snapshot.version}`,
      });
    }
    await checkRepeats(scratch.connection, options.dedupeMs, problems);
    const table =
      options.table === undefined
        ? null
        : await checkTable(scratch, store, snapshot, options.table, options, problems, progress);
    return {
      version: snapshot.version,
      watermarkMs: snapshot.log.watermarkMs,
      commits: snapshot.version + 1,
      files: snapshot.files.size,
      rows: live.rows,
      changes: snapshot.log.changes,
      gaps: snapshot.gaps.size,
      setsum: live.sum,
      table,
      problems,
    };
  } finally {
    await scratch.close();
  }
}

async function replayLog(store: ObjectStore, problems: Problem[], progress: Progress): Promise<Snapshot> {
  let snapshot: Snapshot | null = null;
  const violations: Violation[] = [];
  try {
    for await (const commit of readCommits(store, -1)) {
      const applied = applyCommit(snapshot, commit);
      snapshot = applied.snapshot;
      violations.push(...applied.violations);
      progress("log entries", commit.version + 1, null);
    }
  } catch (error) {
    if (snapshot === null) throw error;
    problems.push({ what: describeError(error), where: `after version ${snapshot.version}` });
  }
  for (const { invariant, version, what } of violations) {
    problems.push({ what: `invariant ${invariant} is broken: ${what}`, where: `version ${version}` });
  }
  if (snapshot === null) return (await loadSnapshot(store)) ?? raiseEmpty();
  return snapshot;
}

function raiseEmpty(): never {
  throw new Error("there is no changelog at this address");
}

/** The totals of what the files really hold. Their rows go into table `seen`. */
async function checkFiles(
  scratch: Scratch,
  files: readonly DataFile[],
  problems: Problem[],
  progress: Progress,
): Promise<Totals> {
  let live = NO_ROWS;
  for (let start = 0; start < files.length; start += FILES_A_STEP) {
    const step = files.slice(start, start + FILES_A_STEP);
    const sound = await soundFiles(scratch, step, problems);
    for (const { file, path } of sound) {
      const held = await checkRows(scratch.connection, file, path, problems);
      if (held !== null) live = addTotals(live, held);
    }
    progress("files", Math.min(start + FILES_A_STEP, files.length), files.length);
  }
  return live;
}

async function sha256Of(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const piece of createReadStream(path)) hash.update(piece as Uint8Array);
  return hash.digest("hex");
}

type LocalFile = { readonly file: DataFile; readonly path: string };

/** Fetches files, and reports those that are missing or whose bytes are not those that were committed. */
async function soundFiles(
  scratch: Scratch,
  files: readonly DataFile[],
  problems: Problem[],
): Promise<LocalFile[]> {
  const checks = files.map(async (file): Promise<LocalFile | null> => {
    const object = await scratch.read(file);
    if (object === null) problems.push({ what: "the file is missing from the store", where: file.path });
    else if (object.sizeBytes !== file.sizeBytes) {
      problems.push({
        what: `the file has ${object.sizeBytes} bytes, the log says ${file.sizeBytes}`,
        where: file.path,
      });
    } else if ((await sha256Of(object.path)) !== file.sha256) {
      problems.push({ what: "the file's bytes do not match its checksum in the log", where: file.path });
    } else return { file, path: object.path };
    return null;
  });
  return (await Promise.all(checks)).filter((checked) => checked !== null);
}

async function checkRows(
  connection: DuckDBConnection,
  file: DataFile,
  path: string,
  problems: Problem[],
): Promise<Totals | null> {
  const relation = `read_parquet(${sqlText(path)})`;
  try {
    const summary = await connection.runAndReadAll(
      `SELECT count(*)::INTEGER, coalesce(sum(changes), 0)::INTEGER, min(changed_ms)::DOUBLE, max(changed_ms)::DOUBLE,
       count(DISTINCT key)::INTEGER, ${SETSUM_HALVES_SQL} FROM (SELECT *, ${SETSUM_DIGEST_SQL} AS digest FROM ${relation})`,
    );
    const [row] = summary.getRows();
    const [rows, changes, minMs, maxMs, keys, upper, lower] = row as [
      number,
      number,
      number,
      number,
      number,
      string,
      string,
    ];
    const sum = setsumFromHalves(upper, lower);
    const report = (what: string) => problems.push({ what, where: file.path });
    if (rows !== file.totals.rows) report(`it holds ${rows} rows, the log says ${file.totals.rows}`);
    else if (sum !== file.totals.sum)
      report(`its rows' set checksum is ${sum}, the log says ${file.totals.sum}`);
    if (changes !== file.changes)
      report(`its rows stand for ${changes} changes, the log says ${file.changes}`);
    if (minMs < file.minChangedMs || maxMs > file.maxChangedMs)
      report("it holds rows outside of its statistics");
    if (keys !== rows) report(`it holds ${rows - keys} rows whose key is there already`);
    await connection.run(
      `INSERT INTO seen SELECT key, changed_ms, seq, op, kind, CASE WHEN kind = 'event' OR kind = 'rejected' THEN NULL ELSE image END FROM ${relation}`,
    );
    return { rows, sum };
  } catch (error) {
    problems.push({ what: `it cannot be read: ${describeError(error)}`, where: file.path });
    return null;
  }
}

/** An event stands once: a second insert within the dedupe window is a row doubled. */
async function checkRepeats(
  connection: DuckDBConnection,
  dedupeMs: number,
  problems: Problem[],
): Promise<void> {
  const repeats = await connection.runAndReadAll(
    `SELECT key, count(*)::INTEGER AS n FROM seen WHERE kind = 'event' AND op = 'insert'
     GROUP BY key HAVING n > 1 AND max(changed_ms) - min(changed_ms) < ${dedupeMs} ORDER BY key`,
  );
  const rows = repeats.getRows() as [string, number][];
  named(problems, rows, ([key, n]) => ({ what: `the event is in the changelog ${n} times`, where: key }));
}

/** The latest row of each key against the item in the table. A key that differs is looked at again, later. */
async function checkTable(
  scratch: Scratch,
  store: ObjectStore,
  snapshot: Snapshot,
  table: TableReader,
  options: VerifyOptions,
  problems: Problem[],
  progress: Progress,
): Promise<TableReport> {
  const { connection } = scratch;
  await connection.run("CREATE TABLE items (key VARCHAR, content VARCHAR)");
  const appender = await connection.createAppender("items");
  let items = 0;
  for await (const page of table.scan()) {
    for (const item of page) {
      appender.appendVarchar(table.keyOf(item));
      const content = contentOf(item);
      if (content === null) appender.appendNull();
      else appender.appendVarchar(content);
      appender.endRow();
      items += 1;
    }
    appender.flushSync();
    progress("items", items, null);
  }
  appender.closeSync();

  const deadlineMs = options.nowMs() + options.settleMs;
  let tip = snapshot;
  for (;;) {
    await connection.run(LATEST);
    const differing = await differences(connection, options);
    const settled = differing.length === 0 || options.nowMs() >= deadlineMs;
    if (settled) {
      named(problems, differing, ({ key, what }) => ({ what, where: key }));
      break;
    }
    await options.sleep(500);
    tip = await takeNewRows(scratch, store, tip);
    await readAgain(
      connection,
      table,
      differing.map(({ key }) => key),
    );
  }
  const counts = await connection.runAndReadAll(
    `SELECT count(*)::INTEGER, (count(*) FILTER (op <> 'delete' AND key NOT IN (SELECT key FROM items)))::INTEGER FROM latest`,
  );
  const [row] = counts.getRows();
  const [keys, expired] = row as [number, number];
  return { name: table.name, items, keys, expired };
}

const LATEST = `CREATE OR REPLACE TABLE latest AS SELECT key, arg_max(op, (changed_ms, seq)) AS op, arg_max(kind, (changed_ms, seq)) AS kind,
  arg_max(coalesce(content, ''), (changed_ms, seq)) AS content, max(changed_ms) AS changed_ms FROM seen GROUP BY key`;

type Difference = { readonly key: string; readonly what: string };

async function differences(
  connection: DuckDBConnection,
  { dedupeMs, nowMs }: VerifyOptions,
): Promise<Difference[]> {
  const result = await connection.runAndReadAll(
    `SELECT key, what FROM (
       SELECT coalesce(i.key, l.key) AS key, CASE
         WHEN l.key IS NULL THEN 'the item is in the table, but no row of it is in the changelog'
         WHEN i.key IS NULL AND l.op <> 'delete' AND (l.kind IS NULL OR l.kind = 'object' OR l.changed_ms > ${nowMs() - dedupeMs})
           THEN 'the changelog has it, the table does not, and no delete was recorded'
         WHEN i.key IS NOT NULL AND l.op = 'delete' THEN 'the changelog says deleted, but the table has it'
         WHEN i.key IS NOT NULL AND i.content IS NOT NULL AND i.content <> l.content
           THEN 'the latest row differs from the item in the table' END AS what
       FROM items i FULL OUTER JOIN latest l ON i.key = l.key
     ) WHERE what IS NOT NULL ORDER BY key`,
  );
  return (result.getRows() as [string, string][]).map(([key, what]) => ({ key, what }));
}

async function takeNewRows(scratch: Scratch, store: ObjectStore, known: Snapshot): Promise<Snapshot> {
  const tip = (await loadSnapshot(store, known)) ?? known;
  const added = [...tip.files.values()].filter((file) => !known.files.has(file.path) && file.add.dataChange);
  if (added.length > 0) await checkFiles(scratch, added, [], () => undefined);
  return tip;
}

async function readAgain(
  connection: DuckDBConnection,
  table: TableReader,
  keys: readonly string[],
): Promise<void> {
  for (let start = 0; start < keys.length; start += KEYS_A_READ) {
    const some = keys.slice(start, start + KEYS_A_READ);
    const items = await table.read(some);
    await connection.run(`DELETE FROM items WHERE key IN (${some.map(sqlText).join(", ")})`);
    for (const [key, item] of items) {
      const content = contentOf(item);
      await connection.run(
        `INSERT INTO items VALUES (${sqlText(key)}, ${content === null ? "NULL" : sqlText(content)})`,
      );
    }
  }
}

/** What a row's image is compared with. Null for events: a resent one rewrites its item, and the first row stands. */
function contentOf(item: AttributeMap): string | null {
  const pk = item["pk"];
  const parsed = pk !== undefined && "S" in pk ? parsePk(pk.S) : null;
  if (parsed === null) return attributeMapJson(item);
  return parsed.kind === "object" ? objectPropertiesJson(item) : null;
}

function named<T>(problems: Problem[], found: readonly T[], describe: (one: T) => Problem): void {
  problems.push(...found.slice(0, NAMED_MAX).map(describe));
  if (found.length > NAMED_MAX)
    problems.push({ what: `${found.length - NAMED_MAX} more like these`, where: "" });
}
