/**
 * Merging in DuckDB, whose memory is bounded and the rest on disk: at one go, or in parts when the window is too large
 * for that. Of the files themselves, a few are in memory on their way in, and one on its way out.
 */
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DuckDBConnection } from "@duckdb/node-api";
import { openDuckDB, sqlText } from "../shared/duckdb.ts";
import type { DataFile } from "../shared/snapshot.ts";
import { allEnded } from "../shared/turnstile.ts";
import type { MergeEngine } from "./merge.ts";
import { isMergedWhole, judge, mergeInParts, partOf, rowsAGroup, rowsOfPart, survivorsOf } from "./part.ts";
import { summarize } from "./summary.ts";

const FETCHED_BYTES_MAX = 32 * 1024 ** 2;
const FETCHES_MAX = 8;
const INTERRUPT_MS = 100;

export const duckdbEngine =
  (memoryMaxMB: number): MergeEngine =>
  async ({ inputs, fetch, store, keepAll, fileBytesMax, signal }) => {
    const dir = await mkdtemp(join(tmpdir(), "varve-merge-"));
    const { connection, close } = await openDuckDB({ threads: 1, memoryMaxMB, spillDir: join(dir, "spill") });
    const ended = interruptAt(signal, connection);
    try {
      const pathOf = (file: DataFile): string => join(dir, `in-${inputs.indexOf(file)}.parquet`);
      for (const some of runsOf(inputs))
        await allEnded(some.map(async (file) => writeFile(pathOf(file), await fetch(file))));
      const ground = { connection, dir, memoryBytes: memoryMaxMB * 10 ** 6, keepAll };
      const part = await partOf(connection, inputs.map(pathOf));
      const whole = isMergedWhole(ground, part) ? rowsOfPart(part) : null;
      const merged = whole === null ? await mergeInParts(ground, part) : null;
      const sorted = whole === null ? filesInTurn(merged?.paths ?? []) : survivorsOf(keepAll, whole);
      const inputBytes = inputs.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
      const out = join(dir, "out");
      await mkdir(out);
      const format = `FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE ${rowsAGroup(ground, part)}`;
      const target =
        inputBytes > fileBytesMax
          ? `${sqlText(out)} (${format}, FILE_SIZE_BYTES ${fileBytesMax})`
          : `${sqlText(join(out, "0.parquet"))} (${format})`;
      await connection.run(`COPY (${sorted}) TO ${target}`);
      for (const name of (await readdir(out)).toSorted()) {
        const path = join(out, name);
        const summary = await summarize(connection, `read_parquet(${sqlText(path)})`);
        if (summary.totals.rows === 0) continue;
        const bytes = await readFile(path);
        await rm(path);
        await store({ ...summary, bytes, sha256: createHash("sha256").update(bytes).digest("hex") });
      }
      const { read, survivors } = merged ?? (await judge(ground, rowsOfPart(part)));
      return { read, survivors };
    } finally {
      ended();
      close();
      await rm(dir, { recursive: true, force: true });
    }
  };

/** Interrupts each statement of the connection once `signal` aborts, until what it gives is called. */
function interruptAt(signal: AbortSignal, connection: DuckDBConnection): () => void {
  let timer: NodeJS.Timeout | undefined;
  const interrupt = (): void => {
    // Only a statement that runs can be: those that would follow are, too.
    timer ??= setInterval(() => connection.interrupt(), INTERRUPT_MS);
  };
  if (signal.aborted) interrupt();
  else signal.addEventListener("abort", interrupt, { once: true });
  return () => {
    signal.removeEventListener("abort", interrupt);
    clearInterval(timer);
  };
}

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

const filesInTurn = (paths: readonly string[]): string =>
  `SELECT * FROM read_parquet([${paths.map(sqlText).join(", ")}])`;
