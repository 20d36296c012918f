/** The rows of the changelog: finding a person's, and writing files anew without them. */
import { createHash } from "node:crypto";
import { readFile, rm } from "node:fs/promises";
import type { ReadFile, Scratch } from "../../reader/scratch.ts";
import { missing, openScratch } from "../../reader/scratch.ts";
import { filesInRange } from "../../reader/range.ts";
import { summarize } from "../../compactor/summary.ts";
import type { Rewrite } from "../../compactor/rewrite.ts";
import { commitRewrite } from "../../compactor/rewrite.ts";
import type { Clock } from "../../shared/clock.ts";
import { sqlText } from "../../shared/duckdb.ts";
import { VarveError } from "../../shared/errors.ts";
import { dataKey } from "../../shared/keys.ts";
import { loadSnapshot } from "../../shared/log.ts";
import { SETSUM_DIGEST_SQL, SETSUM_HALVES_SQL, setsumFromHalves } from "../../shared/setsum.ts";
import type { DataFile, Snapshot, Totals } from "../../shared/snapshot.ts";
import type { ObjectStore } from "../../shared/store.ts";
import type { Person } from "./person.ts";
import { anonymousSql, personSql } from "./person.ts";

export type Progress = (done: number, total: number) => void;

export type FoundRows = {
  readonly rows: number;
  readonly filesRead: number;
  /** Keys of the items that the rows are of, JSON text. */
  readonly keys: ReadonlySet<string>;
  /** Deletes of the person's own record: they name the id, and nothing else. */
  readonly deletes: number;
};

const FILES_A_SCRATCH = 32;
const FILES_A_COMMIT = 32;
const PASSES_MAX = 20;
const SORT = "source, collection, id, key, seq";

async function liveSnapshot(store: ObjectStore): Promise<Snapshot> {
  const snapshot = await loadSnapshot(store);
  if (snapshot !== null) return snapshot;
  throw new VarveError("no_changelog", "there is no changelog at this address.", "Check VARVE_CHANGELOG.");
}

const candidates = (snapshot: Snapshot, { source }: Person): DataFile[] =>
  filesInRange(
    snapshot.files.values(),
    { kind: "time", sinceMs: Number.NEGATIVE_INFINITY, untilMs: Number.POSITIVE_INFINITY },
    { source },
  );

/** Each file in turn, on disk for as long as `visit` takes. A file that is merged away meanwhile is passed over. */
async function eachFile(
  store: ObjectStore,
  files: readonly DataFile[],
  visit: (scratch: Scratch, file: DataFile, read: ReadFile) => Promise<void>,
  progress: Progress,
): Promise<void> {
  for (let start = 0; start < files.length; start += FILES_A_SCRATCH) {
    const scratch = await openScratch(store);
    try {
      for (const file of files.slice(start, start + FILES_A_SCRATCH)) {
        const read = await scratch.read(file);
        if (read !== null) {
          await visit(scratch, file, read);
          await rm(read.path, { force: true });
        } else if ((await liveSnapshot(store)).files.has(file.path)) throw missing(file);
      }
    } finally {
      await scratch.close();
    }
    progress(Math.min(start + FILES_A_SCRATCH, files.length), files.length);
  }
}

const relationOf = ({ path }: ReadFile): string => `read_parquet(${sqlText(path)})`;

/** Anonymous ids that were seen with the user, and with no other. */
export async function findAnonymousIds(
  store: ObjectStore,
  person: Person,
  progress: Progress,
): Promise<readonly string[]> {
  const own = new Set<string>();
  const others = new Set<string>();
  const files = candidates(await liveSnapshot(store), person);
  await eachFile(
    store,
    files,
    async ({ connection }, _, read) => {
      const relation = relationOf(read);
      const mine = await connection.runAndReadAll(anonymousSql(relation, person));
      for (const [id] of mine.getRows() as [string][]) own.add(id);
      const theirs = await connection.runAndReadAll(
        `SELECT DISTINCT anonymous_id FROM ${relation} WHERE source = ${sqlText(person.source)}
         AND anonymous_id IS NOT NULL AND user_id <> ${sqlText(person.userId)}`,
      );
      for (const [id] of theirs.getRows() as [string][]) others.add(id);
    },
    progress,
  );
  return [...own].filter((id) => !others.has(id)).toSorted();
}

export async function findRows(
  store: ObjectStore,
  person: Person,
  deletes: boolean,
  progress: Progress,
): Promise<FoundRows> {
  const keys = new Set<string>();
  let rows = 0;
  let filesRead = 0;
  let deleted = 0;
  const live = candidates(await liveSnapshot(store), person);
  await eachFile(
    store,
    live,
    async ({ connection }, _, read) => {
      filesRead += 1;
      const relation = relationOf(read);
      const found = await connection.runAndReadAll(
        `SELECT key, count(*)::INTEGER FROM ${relation} WHERE ${personSql(person, { deletes })} GROUP BY key`,
      );
      const perKey = found.getRows() as [string, number][];
      for (const [key, count] of perKey) {
        keys.add(key);
        rows += count;
      }
      const named = await connection.runAndReadAll(
        `SELECT count(*)::INTEGER FROM ${relation} WHERE op = 'delete' AND source = ${sqlText(person.source)} AND user_id = ${sqlText(person.userId)}`,
      );
      deleted += Number(named.getRows()[0]?.[0] ?? 0);
    },
    progress,
  );
  return { rows, filesRead, keys, deletes: deleted };
}

export type Dropped = {
  readonly rows: number;
  /** Files that were written anew, or left out whole. */
  readonly replaced: readonly string[];
};

/** Until no live file has any: those of compactors that commit and merge meanwhile included. */
export async function dropRows(
  store: ObjectStore,
  clock: Clock,
  person: Person,
  deletes: boolean,
  progress: Progress,
): Promise<Dropped> {
  const clean = new Set<string>();
  const replaced: string[] = [];
  const where = personSql(person, { deletes });
  let rows = 0;
  for (let pass = 0; pass < PASSES_MAX; pass += 1) {
    const snapshot = await liveSnapshot(store);
    const files = candidates(snapshot, person).filter(({ path }) => !clean.has(path));
    if (files.length === 0) return { rows, replaced };
    let waiting: Rewrite[] = [];
    const commit = async (): Promise<void> => {
      if (waiting.length === 0) return;
      const outcome = await commitRewrite(store, clock, waiting);
      for (const { input, output, dropped } of waiting) {
        if (outcome === "committed") {
          rows += dropped.rows;
          replaced.push(input.path);
          if (output !== null) clean.add(output.path);
        } else if (output !== null) await store.delete(output.path);
      }
      waiting = [];
    };
    await eachFile(
      store,
      files,
      async (scratch, file, read) => {
        const rewrite = await rewriteFile(store, clock, scratch, file, read, where);
        if (rewrite === null) clean.add(file.path);
        else waiting.push(rewrite);
        if (waiting.length >= FILES_A_COMMIT) await commit();
      },
      progress,
    );
    await commit();
  }
  throw new VarveError(
    "not_settled",
    `the person's rows kept coming for ${PASSES_MAX} passes over the changelog.`,
    "Events of the person are still being sent: stop them, then run this again.",
  );
}

/** Null when none of the file's rows match. */
async function rewriteFile(
  store: ObjectStore,
  clock: Clock,
  { connection }: Scratch,
  file: DataFile,
  read: ReadFile,
  where: string,
): Promise<Rewrite | null> {
  const relation = relationOf(read);
  const going = await connection.runAndReadAll(
    `SELECT count(*)::INTEGER, ${SETSUM_HALVES_SQL} FROM (SELECT ${SETSUM_DIGEST_SQL} AS digest FROM ${relation} WHERE ${where})`,
  );
  const [count, upper, lower] = (going.getRows()[0] ?? [0, "0", "0"]) as [number, string, string];
  if (count === 0) return null;
  const dropped: Totals = { rows: count, sum: setsumFromHalves(upper, lower) };
  if (count === file.totals.rows) return { input: file, output: null, dropped };
  const path = `${read.path}.rewritten`;
  try {
    await connection.run(
      `COPY (SELECT * FROM ${relation} WHERE NOT ${where} ORDER BY ${SORT}) TO ${sqlText(path)} (FORMAT parquet, COMPRESSION zstd)`,
    );
    const summary = await summarize(connection, `read_parquet(${sqlText(path)})`);
    const bytes = await readFile(path);
    const { level, windowStartMs, minChangedMs } = file;
    const key = dataKey(level, windowStartMs, clock.uuid());
    const put = await store.put(key, bytes, { kind: "always" });
    if (put.kind !== "stored")
      throw put.kind === "unknown" ? put.cause : new Error(`the store refused ${key}`);
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    const written = { ...summary, sha256 };
    const output = {
      path: key,
      level,
      windowStartMs,
      minChangedMs,
      sizeBytes: bytes.byteLength,
      file: written,
    };
    return { input: file, output, dropped };
  } finally {
    await rm(path, { force: true });
  }
}
