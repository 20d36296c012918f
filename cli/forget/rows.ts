/** The rows of the changelog: finding a person's, and writing files anew without them. */
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DuckDBConnection } from "@duckdb/node-api";
import { filesInRange } from "../../reader/range.ts";
import { summarize } from "../../compactor/parquet.ts";
import type { Rewrite } from "../../compactor/rewrite.ts";
import { commitRewrite } from "../../compactor/rewrite.ts";
import type { Clock } from "../../shared/clock.ts";
import { openDuckDB, sqlText } from "../../shared/duckdb.ts";
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
  readonly files: number;
  readonly filesRead: number;
  /** Keys of the items that the rows are of, JSON text. */
  readonly keys: ReadonlySet<string>;
  /** Deletes of the person's own record: they name the id, and nothing else. */
  readonly deletes: number;
};

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

/** Where one file at a time is looked at. */
type Table = {
  readonly connection: DuckDBConnection;
  /** SQL for the file's rows. */
  readonly relation: string;
  /** A path that may be written to. */
  readonly scratch: string;
};

const MEMORY_MAX_MB = 512;

/** Each file in turn, on disk for as long as `visit` takes. A file that is merged away meanwhile is passed over. */
async function eachFile(
  store: ObjectStore,
  files: readonly DataFile[],
  visit: (table: Table, file: DataFile) => Promise<void>,
  progress: Progress,
): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), "varve-forget-"));
  const { connection, close } = await openDuckDB({
    threads: 2,
    memoryMaxMB: MEMORY_MAX_MB,
    spillDir: join(dir, "spill"),
  });
  const path = join(dir, "file.parquet");
  try {
    for (const [at, file] of files.entries()) {
      const object = await store.get(file.path);
      if (object === null) await passOver(store, file);
      else {
        await writeFile(path, object.body);
        const relation = `read_parquet(${sqlText(path)})`;
        await visit({ connection, relation, scratch: join(dir, "rewritten.parquet") }, file);
      }
      progress(at + 1, files.length);
    }
  } finally {
    close();
    await rm(dir, { recursive: true, force: true });
  }
}

/** Throws when the file should be there. */
async function passOver(store: ObjectStore, file: DataFile): Promise<void> {
  if (!(await liveSnapshot(store)).files.has(file.path)) return;
  throw new VarveError(
    "file_missing",
    `${file.path} is in the log, but not in the store: whether it had rows of the user cannot be told.`,
    "`varve verify` lists every missing file; docs/operations.md says what to do.",
  );
}

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
    async ({ connection, relation }) => {
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
  let files = 0;
  let filesRead = 0;
  let deleted = 0;
  const live = candidates(await liveSnapshot(store), person);
  await eachFile(
    store,
    live,
    async ({ connection, relation }) => {
      filesRead += 1;
      const found = await connection.runAndReadAll(
        `SELECT key, count(*)::INTEGER FROM ${relation} WHERE ${personSql(person, { deletes })} GROUP BY key`,
      );
      const perKey = found.getRows() as [string, number][];
      for (const [key, count] of perKey) {
        keys.add(key);
        rows += count;
      }
      if (perKey.length > 0) files += 1;
      const named = await connection.runAndReadAll(
        `SELECT count(*)::INTEGER FROM ${relation} WHERE op = 'delete' AND source = ${sqlText(person.source)} AND user_id = ${sqlText(person.userId)}`,
      );
      deleted += Number(named.getRows()[0]?.[0] ?? 0);
    },
    progress,
  );
  return { rows, files, filesRead, keys, deletes: deleted };
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
      async (table, file) => {
        const rewrite = await rewriteFile(store, clock, table, file, where);
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
  { connection, relation, scratch: path }: Table,
  file: DataFile,
  where: string,
): Promise<Rewrite | null> {
  const going = await connection.runAndReadAll(
    `SELECT count(*)::INTEGER, ${SETSUM_HALVES_SQL} FROM (SELECT ${SETSUM_DIGEST_SQL} AS digest FROM ${relation} WHERE ${where})`,
  );
  const [count, upper, lower] = (going.getRows()[0] ?? [0, "0", "0"]) as [number, string, string];
  if (count === 0) return null;
  const dropped: Totals = { rows: count, sum: setsumFromHalves(upper, lower) };
  if (count === file.totals.rows) return { input: file, output: null, dropped };
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
