/** The latest row of each key against the item in the table: all of them, or a sample from both sides. */
import type { DuckDBAppender, DuckDBConnection } from "@duckdb/node-api";
import { many } from "../shared/amounts.ts";
import { sqlText } from "../shared/duckdb.ts";
import { VarveError } from "../shared/errors.ts";
import type { AttributeMap } from "../shared/item.ts";
import { attributeMapJson, objectPropertiesJson, parseItem } from "../shared/item.ts";
import { loadSnapshot } from "../shared/log.ts";
import type { Snapshot } from "../shared/snapshot.ts";
import type { ObjectStore } from "../shared/store.ts";
import { completeUpTo, iso, keptSinceMs } from "./range.ts";
import type { Scratch } from "./scratch.ts";
import { checkFiles, partsOfSeen } from "./verify-files.ts";
import type { Problem, Progress, TableReader, TableReport, VerifyOptions } from "./verify.ts";
import { NAMED_MAX, named } from "./verify.ts";

const KEYS_A_READ = 100;
/** How far this machine's clock may be from DynamoDB's. */
const CLOCKS_APART_MS = 5_000;
const LOOK_MS = 500;
/** A key that changes again and again is never read at rest: so long it is tried. */
const CHANGING_MS = 30_000;
/** A log that a reader stops at. */
const BROKEN_LOG = new Set(["bad_log_entry", "invariant_broken"]);

/**
 * A key whose row differs from its item is judged once the watermark has passed the time at which the item was read:
 * until then the changelog need not have the change. One that changed after that is read again.
 */
export async function checkTable(
  scratch: Scratch,
  store: ObjectStore,
  snapshot: Snapshot,
  table: TableReader,
  options: VerifyOptions,
  problems: Problem[],
  progress: Progress,
): Promise<TableReport> {
  const { connection } = scratch;
  await connection.run("CREATE TABLE items (key VARCHAR, content VARCHAR, received_ms BIGINT)");
  await takeLatest(connection);
  const keys = await countOf(connection, "latest");
  const { sample } = options;
  const fromMs = options.nowMs();
  const items = await (sample === undefined
    ? takeItems(connection, table, table.scan(), (count) => progress("items", count, keys))
    : takeSample(connection, table, sample, progress));
  const readMs = options.nowMs();
  await connection.run("CREATE TABLE read_again (key VARCHAR, from_ms BIGINT, until_ms BIGINT)");

  let deadlineMs = readMs + options.settleMs;
  let tip: Snapshot | null = snapshot;
  let watermarkMs = snapshot.log.watermarkMs;
  let found: Differences;
  for (;;) {
    await takeLatest(connection);
    const read = { fromMs, untilMs: readMs };
    const sampled = sample !== undefined;
    found = await differences(connection, options, {
      keptMs: keptSinceMs(snapshot),
      sampled,
      read,
      watermarkMs,
    });
    if (found.early === 0) deadlineMs = Math.min(deadlineMs, options.nowMs() + CHANGING_MS);
    const undecided = found.early + found.changing;
    if (undecided === 0 || options.nowMs() >= deadlineMs || tip === null) break;
    progress(`${many(undecided, "key")} again`, 0, null);
    await readAgain(connection, table, found.outdated, options.nowMs);
    const known: Snapshot = tip;
    do {
      await options.sleep(LOOK_MS);
      tip = await takeNewRows(scratch, store, known, problems);
    } while (tip?.version === known.version && options.nowMs() < deadlineMs);
    watermarkMs = tip?.log.watermarkMs ?? watermarkMs;
  }
  named(problems, "table", found.wrong, found.wrongKeys, ({ key, what }) => ({ what, where: key }));
  if (found.early > 0) {
    const differ = many(found.early, "key differs", "keys differ");
    problems.push({
      kind: "table_ahead",
      what: `${differ} from the table as it was at ${iso(readMs)}, but the changelog is ${completeUpTo(watermarkMs)}: what is missing may be on its way`,
      where: "",
    });
  }
  const expired = await connection.runAndReadAll(
    `SELECT count(*)::INTEGER FROM latest WHERE op <> 'delete' AND key NOT IN (SELECT key FROM items)
     ${sample === undefined ? "" : "AND key IN (SELECT key FROM asked)"}`,
  );
  return {
    name: table.name,
    items,
    keys: await countOf(connection, "latest"),
    sampled: sample === undefined ? null : await countOf(connection, "asked"),
    expired: expired.getRows()[0]?.[0] as number,
    beyondRetention: found.beyondRetention,
  };
}

async function countOf(connection: DuckDBConnection, table: string): Promise<number> {
  const answer = await connection.runAndReadAll(`SELECT count(*)::INTEGER FROM ${table}`);
  return answer.getRows()[0]?.[0] as number;
}

/** The items of `pages` into table `items`; their number. */
async function takeItems(
  connection: DuckDBConnection,
  table: TableReader,
  pages: AsyncIterable<readonly AttributeMap[]>,
  progress: (count: number) => void,
): Promise<number> {
  const appender = await connection.createAppender("items");
  let count = 0;
  for await (const page of pages) {
    for (const item of page) appendItem(appender, table.keyOf(item), item);
    appender.flushSync();
    progress((count += page.length));
  }
  appender.closeSync();
  return count;
}

function appendItem(appender: DuckDBAppender, key: string, item: AttributeMap): void {
  appender.appendVarchar(key);
  const content = contentOf(item);
  if (content === null) appender.appendNull();
  else appender.appendVarchar(content);
  const received = item["received_at"];
  if (received !== undefined && "N" in received && Number.isSafeInteger(Number(received.N)))
    appender.appendBigInt(BigInt(received.N));
  else appender.appendNull();
  appender.endRow();
}

/** Half of the sample is drawn from the table, half from the changelog; the keys of both go into table `asked`. */
async function takeSample(
  connection: DuckDBConnection,
  table: TableReader,
  sample: number,
  progress: Progress,
): Promise<number> {
  const half = Math.ceil(sample / 2);
  let count = await takeItems(connection, table, table.sample(half), (done) =>
    progress("items", done, sample),
  );
  await connection.run(
    `CREATE TABLE asked AS SELECT DISTINCT key FROM (SELECT key FROM items UNION ALL
       (SELECT key FROM latest WHERE key NOT IN (SELECT key FROM items) USING SAMPLE ${half} ROWS))`,
  );
  const drawn = await connection.runAndReadAll(
    "SELECT key FROM asked WHERE key NOT IN (SELECT key FROM items)",
  );
  const keys = drawn.getRows().map(([key]) => key as string);
  for (let start = 0; start < keys.length; start += KEYS_A_READ) {
    const found = await table.read(keys.slice(start, start + KEYS_A_READ));
    const appender = await connection.createAppender("items");
    for (const [key, item] of found) appendItem(appender, key, item);
    appender.closeSync();
    count += found.size;
    progress("items", count, sample);
  }
  return count;
}

async function takeLatest(connection: DuckDBConnection): Promise<void> {
  await connection.run(`CREATE OR REPLACE TABLE latest AS ${latestOf("false")}`);
  for (const part of await partsOfSeen(connection))
    await connection.run(`INSERT INTO latest ${latestOf(part)}`);
}

const latestOf = (
  part: string,
): string => `SELECT key, arg_max(op, (changed_ms, seq)) AS op, arg_max(kind, (changed_ms, seq)) AS kind,
  arg_max(coalesce(content, ''), (changed_ms, seq)) AS content, max(changed_ms) AS changed_ms FROM seen WHERE ${part} GROUP BY key`;

type Difference = { readonly key: string; readonly what: string };
type Differences = {
  /** The first by key. */
  readonly wrong: readonly Difference[];
  readonly wrongKeys: number;
  /** Keys of which the changelog need not have everything yet. */
  readonly early: number;
  /** Keys that changed after their item was read, as the changelog tells: they are read again, and may change again. */
  readonly changing: number;
  /** The first of them whose item is older than that change. */
  readonly outdated: readonly string[];
  readonly beyondRetention: number;
};

const AGAIN_MAX = 10_000;

type Question = {
  /** The changelog's rows from before have expired; null: none have. */
  readonly keptMs: number | null;
  readonly sampled: boolean;
  /** When the items were read that have not been read again. */
  readonly read: { readonly fromMs: number; readonly untilMs: number };
  readonly watermarkMs: number;
};

async function differences(
  connection: DuckDBConnection,
  { dedupeMs, nowMs }: VerifyOptions,
  { keptMs, sampled, read, watermarkMs }: Question,
): Promise<Differences> {
  const mayHaveExpired = keptMs === null ? "false" : `(i.received_ms IS NULL OR i.received_ms <= ${keptMs})`;
  await connection.run(
    `CREATE OR REPLACE TABLE differing AS SELECT key, what, CASE
       WHEN what = '${BEYOND}' THEN '${BEYOND}'
       WHEN coalesce(until_ms, ${read.untilMs}) + ${CLOCKS_APART_MS} > ${watermarkMs}
         THEN CASE WHEN until_ms IS NULL THEN 'early' ELSE 'read again' END
       WHEN changed_ms > coalesce(from_ms, ${read.fromMs}) - ${CLOCKS_APART_MS} THEN 'outdated'
       ELSE 'wrong' END AS verdict
     FROM (
       SELECT coalesce(i.key, l.key) AS key, l.changed_ms, CASE
         WHEN l.key IS NULL AND ${mayHaveExpired} THEN '${BEYOND}'
         WHEN l.key IS NULL THEN 'the item is in the table, but no row of it is in the changelog'
         WHEN i.key IS NULL AND l.op <> 'delete' AND (l.kind IS NULL OR l.kind = 'object' OR l.changed_ms > ${nowMs() - dedupeMs})
           THEN 'the changelog has it, the table does not, and no delete was recorded'
         WHEN i.key IS NOT NULL AND l.op = 'delete' THEN 'the changelog says deleted, but the table has it'
         WHEN i.key IS NOT NULL AND i.content IS NOT NULL AND i.content <> l.content
           THEN 'the latest row differs from the item in the table' END AS what
       FROM items i FULL OUTER JOIN
         (SELECT * FROM latest ${sampled ? "WHERE key IN (SELECT key FROM asked)" : ""}) l ON i.key = l.key
     ) LEFT JOIN read_again USING (key) WHERE what IS NOT NULL`,
  );
  const first = async (verdict: string, most: number): Promise<Difference[]> => {
    const answer = await connection.runAndReadAll(
      `SELECT key, what FROM differing WHERE verdict = '${verdict}' ORDER BY key LIMIT ${most}`,
    );
    return (answer.getRows() as [string, string][]).map(([key, what]) => ({ key, what }));
  };
  const countOfVerdict = (verdict: string) => countOf(connection, `differing WHERE verdict = '${verdict}'`);
  return {
    wrong: await first("wrong", NAMED_MAX),
    wrongKeys: await countOfVerdict("wrong"),
    early: await countOfVerdict("early"),
    changing: (await countOfVerdict("outdated")) + (await countOfVerdict("read again")),
    outdated: (await first("outdated", AGAIN_MAX)).map(({ key }) => key),
    beyondRetention: await countOfVerdict(BEYOND),
  };
}

const BEYOND = "beyond retention";

/**
 * Rows committed since are above the watermark of then. Their file may be merged by now: so also what merges wrote.
 * Null when the log cannot be read on: the replay has told why.
 */
async function takeNewRows(
  scratch: Scratch,
  store: ObjectStore,
  known: Snapshot,
  problems: Problem[],
): Promise<Snapshot | null> {
  let tip: Snapshot;
  try {
    tip = (await loadSnapshot(store, known)) ?? known;
  } catch (error) {
    if (error instanceof VarveError && BROKEN_LOG.has(error.code)) return null;
    throw error;
  }
  const added = [...tip.files.values()].filter(
    ({ path, maxChangedMs }) => !known.files.has(path) && maxChangedMs > known.log.watermarkMs,
  );
  if (added.length > 0) await checkFiles(scratch, added, problems, () => undefined);
  return tip;
}

async function readAgain(
  connection: DuckDBConnection,
  table: TableReader,
  keys: readonly string[],
  nowMs: () => number,
): Promise<void> {
  for (let start = 0; start < keys.length; start += KEYS_A_READ) {
    const some = keys.slice(start, start + KEYS_A_READ);
    const fromMs = nowMs();
    const items = await table.read(some);
    const among = `key IN (${some.map(sqlText).join(", ")})`;
    await connection.run(`DELETE FROM items WHERE ${among}`);
    await connection.run(`DELETE FROM read_again WHERE ${among}`);
    await connection.run(
      `INSERT INTO read_again SELECT unnest([${some.map(sqlText).join(", ")}]), ${fromMs}, ${nowMs()}`,
    );
    const appender = await connection.createAppender("items");
    for (const [key, item] of items) appendItem(appender, key, item);
    appender.closeSync();
  }
}

/** What a row's image is compared with. Null for events: a resent one rewrites its item, and the first row stands. */
function contentOf(item: AttributeMap): string | null {
  const pk = item["pk"];
  const parsed = pk !== undefined && "S" in pk ? parseItem(pk.S, item) : null;
  if (parsed === null) return attributeMapJson(item);
  return parsed.kind === "object" ? objectPropertiesJson(item) : null;
}
