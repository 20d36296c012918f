/** The rows of a bootstrap scan whose key has a row from the stream, and the files without them. */
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DuckDBConnection } from "@duckdb/node-api";
import type { Clock } from "../shared/clock.ts";
import { openDuckDB, sqlText } from "../shared/duckdb.ts";
import { dataKey } from "../shared/keys.ts";
import type { DataFile } from "../shared/snapshot.ts";
import type { ObjectStore } from "../shared/store.ts";
import { fetchSound } from "./merge.ts";
import { summarize, totalsOf } from "./summary.ts";
import type { Rewrite } from "./rewrite.ts";

const MEMORY_MAX_MB = 512;
const SORT = "source, collection, id, key, seq";

/** Uploads what takes the place of each file that holds such rows; the others are left out. */
export async function findRepeats(
  store: ObjectStore,
  clock: Clock,
  scanned: readonly DataFile[],
  streamed: readonly DataFile[],
): Promise<readonly Rewrite[]> {
  const dir = await mkdtemp(join(tmpdir(), "varve-repeats-"));
  const limits = { threads: 1, memoryMaxMB: MEMORY_MAX_MB, spillDir: join(dir, "spill") };
  const { connection, close } = await openDuckDB(limits);
  const path = join(dir, "in.parquet");
  const rewrites: Rewrite[] = [];
  try {
    await connection.run("CREATE TABLE streamed (key VARCHAR)");
    for (const file of streamed) {
      await writeFile(path, (await fetchSound(store, file)).body);
      await connection.run(`INSERT INTO streamed SELECT DISTINCT key FROM read_parquet(${sqlText(path)})`);
    }
    for (const file of scanned) {
      await writeFile(path, (await fetchSound(store, file)).body);
      const rewrite = await rewriteOf(connection, store, clock, file, path, join(dir, "out.parquet"));
      if (rewrite !== null) rewrites.push(rewrite);
    }
    return rewrites;
  } finally {
    close();
    await rm(dir, { recursive: true, force: true });
  }
}

async function rewriteOf(
  connection: DuckDBConnection,
  store: ObjectStore,
  clock: Clock,
  file: DataFile,
  path: string,
  out: string,
): Promise<Rewrite | null> {
  const rows = `read_parquet(${sqlText(path)})`;
  const dropped = await totalsOf(
    connection,
    `(SELECT * FROM ${rows} WHERE key IN (SELECT key FROM streamed))`,
  );
  if (dropped.rows === 0) return null;
  if (dropped.rows === file.totals.rows) return { input: file, output: null, dropped };
  await connection.run(
    `COPY (SELECT * FROM ${rows} WHERE key NOT IN (SELECT key FROM streamed) ORDER BY ${SORT}) TO ${sqlText(out)} (FORMAT parquet, COMPRESSION zstd)`,
  );
  const summary = await summarize(connection, `read_parquet(${sqlText(out)})`);
  const bytes = await readFile(out);
  const { level, windowStartMs, minChangedMs } = file;
  const key = dataKey(level, windowStartMs, clock.uuid());
  const put = await store.put(key, bytes, { kind: "always" });
  if (put.kind !== "stored") throw put.kind === "unknown" ? put.cause : new Error(`the store refused ${key}`);
  const written = { ...summary, sha256: createHash("sha256").update(bytes).digest("hex") };
  const output = {
    path: key,
    level,
    windowStartMs,
    sizeBytes: bytes.byteLength,
    minChangedMs,
    file: written,
  };
  return { input: file, output, dropped };
}
