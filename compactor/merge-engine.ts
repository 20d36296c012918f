/**
 * Merging in DuckDB, whose memory is bounded and the rest spilled to disk. Of the files themselves, a few are in
 * memory on their way in, and one on its way out, however large the window is.
 */
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DuckDBConnection } from "@duckdb/node-api";
import { openDuckDB, sqlText } from "../shared/duckdb.ts";
import { SETSUM_DIGEST_SQL, SETSUM_HALVES_SQL, setsumFromHalves } from "../shared/setsum.ts";
import type { DataFile, Totals } from "../shared/snapshot.ts";
import { allEnded } from "../shared/turnstile.ts";
import type { MergeEngine } from "./merge.ts";
import { summarize } from "./summary.ts";

const FETCHED_BYTES_MAX = 32 * 1024 ** 2;
const FETCHES_MAX = 8;

export const duckdbEngine =
  (memoryMaxMB: number): MergeEngine =>
  async ({ inputs, fetch, store, keepAll, fileBytesMax }) => {
    const dir = await mkdtemp(join(tmpdir(), "varve-merge-"));
    const { connection, close } = await openDuckDB({ threads: 1, memoryMaxMB, spillDir: join(dir, "spill") });
    try {
      const pathOf = (file: DataFile): string => join(dir, `in-${inputs.indexOf(file)}.parquet`);
      for (const some of runsOf(inputs))
        await allEnded(some.map(async (file) => writeFile(pathOf(file), await fetch(file))));
      const relation = `read_parquet([${inputs.map((file) => sqlText(pathOf(file))).join(", ")}])`;
      const inputBytes = inputs.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
      const out = join(dir, "out");
      await mkdir(out);
      const target =
        inputBytes > fileBytesMax
          ? `${sqlText(out)} (FORMAT parquet, COMPRESSION zstd, FILE_SIZE_BYTES ${fileBytesMax})`
          : `${sqlText(join(out, "0.parquet"))} (FORMAT parquet, COMPRESSION zstd)`;
      await connection.run(
        `COPY (${keepAll ? allRows(relation) : lastRows(relation)} ORDER BY ${SORT}) TO ${target}`,
      );
      for (const name of (await readdir(out)).toSorted()) {
        const path = join(out, name);
        const summary = await summarize(connection, `read_parquet(${sqlText(path)})`);
        if (summary.totals.rows === 0) continue;
        const bytes = await readFile(path);
        await rm(path);
        await store({ ...summary, bytes, sha256: createHash("sha256").update(bytes).digest("hex") });
      }
      const read = await totalsOf(connection, relation);
      const survivors = keepAll ? read : await totalsOf(connection, `(${LAST_IDENTITIES(relation)})`);
      return { read, survivors };
    } finally {
      close();
      await rm(dir, { recursive: true, force: true });
    }
  };

/** Files to fetch together: few, and not many bytes of them, but at least one. */
function runsOf(files: readonly DataFile[]): DataFile[][] {
  const runs: DataFile[][] = [];
  let bytes = Infinity;
  for (const file of files) {
    bytes += file.sizeBytes;
    const last = runs.at(-1);
    if (last !== undefined && last.length < FETCHES_MAX && bytes <= FETCHED_BYTES_MAX) last.push(file);
    else {
      runs.push([file]);
      bytes = file.sizeBytes;
    }
  }
  return runs;
}

const SORT = "source, collection, id, key, seq";

const allRows = (relation: string): string => `SELECT * FROM ${relation}`;

const lastRows = (
  relation: string,
): string => `SELECT r.* REPLACE (last.changes AS changes) FROM ${relation} r
  JOIN (SELECT key, max((changed_ms, seq)) AS at, sum(changes)::BIGINT AS changes FROM ${relation} GROUP BY key) last
  ON r.key = last.key AND r.changed_ms = last.at[1] AND r.seq = last.at[2]`;

/** The same choice of rows, made another way. */
const LAST_IDENTITIES = (relation: string): string => `SELECT key, arg_max(shard, (changed_ms, seq)) AS shard,
  arg_max(seq, (changed_ms, seq)) AS seq, arg_max(op, (changed_ms, seq)) AS op FROM ${relation} GROUP BY key`;

export async function totalsOf(connection: DuckDBConnection, relation: string): Promise<Totals> {
  const result = await connection.runAndReadAll(
    `SELECT count(*)::INTEGER, ${SETSUM_HALVES_SQL} FROM (SELECT ${SETSUM_DIGEST_SQL} AS digest FROM ${relation})`,
  );
  const [rows, upper, lower] = (result.getRows()[0] ?? [0, "0", "0"]) as [number, string, string];
  return { rows, sum: setsumFromHalves(upper, lower) };
}
