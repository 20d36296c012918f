/** Merging windows, beside the flushes: fetch, merge in DuckDB within its memory, upload, commit. */
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DuckDBConnection } from "@duckdb/node-api";
import type { Clock } from "../shared/clock.ts";
import { openDuckDB, sqlText } from "../shared/duckdb.ts";
import { VarveError } from "../shared/errors.ts";
import { dataKey } from "../shared/keys.ts";
import { SETSUM_DIGEST_SQL, SETSUM_HALVES_SQL, setsumFromHalves } from "../shared/setsum.ts";
import type { DataFile, Snapshot, Totals } from "../shared/snapshot.ts";
import type { ObjectStore } from "../shared/store.ts";
import type { CommitBeside } from "./compactor.ts";
import type { MergeResult, MergeTask } from "./levels.ts";
import { mergeTasks, planMerge, taskName } from "./levels.ts";
import type { Metrics } from "./metrics.ts";
import type { CompactorLog } from "./patience.ts";
import type { ParquetFile } from "./parquet.ts";
import { summarize } from "./parquet.ts";
import type { UploadedFile } from "./plan.ts";

export type Beside = {
  readonly snapshot: () => Snapshot;
  readonly owns: (name: string) => boolean;
  readonly commit: CommitBeside;
  /** Drops from memory what was removed before this time: nothing asks for it any more. */
  readonly forgetRemoved: (beforeMs: number) => void;
  readonly signal: AbortSignal;
};

export type Merger = {
  /** Merges the windows that are complete and this worker's, one after the other. */
  readonly run: (beside: Beside) => Promise<void>;
};

/** Rows of some files as one or more files, none much larger than `fileBytesMax`. */
export type MergeEngine = (
  inputs: readonly { readonly file: DataFile; readonly body: Uint8Array }[],
  options: { readonly keepAll: boolean; readonly fileBytesMax: number },
) => Promise<{ readonly outputs: readonly ParquetFile[]; readonly read: Totals; readonly survivors: Totals }>;

export type MergerDeps = {
  readonly store: ObjectStore;
  readonly clock: Clock;
  readonly log: CompactorLog;
  readonly metrics: Metrics;
  readonly engine: MergeEngine;
};

const FILE_BYTES_MAX = 256 * 1024 ** 2;
const FETCHES_IN_FLIGHT = 8;

export const HISTORY_KEY = "varve.history";

export function openMerger(deps: MergerDeps): Merger {
  const mergeOne = async (task: MergeTask, beside: Beside): Promise<void> => {
    const beganMs = deps.clock.nowMs();
    const result = await execute(deps, task, beside.snapshot(), beside.signal);
    const outcome = await beside.commit((snapshot, identity) => planMerge(snapshot, task, result, identity));
    if (outcome.kind !== "committed") return;
    deps.metrics.merged(task.level, result.read.rows);
    deps.log.info("merged", {
      version: beside.snapshot().version,
      level: task.level,
      window: new Date(task.windowStartMs).toISOString(),
      files: task.inputs.length,
      rows: result.read.rows,
      rows_left: result.survivors.rows,
      ms: deps.clock.nowMs() - beganMs,
    });
  };
  return {
    run: async (beside) => {
      for (;;) {
        const task = mergeTasks(beside.snapshot()).find((one) => beside.owns(taskName(one)));
        if (task === undefined || beside.signal.aborted) return;
        await mergeOne(task, beside);
      }
    },
  };
}

async function execute(
  deps: MergerDeps,
  task: MergeTask,
  snapshot: Snapshot,
  signal: AbortSignal,
): Promise<MergeResult> {
  const inputs: { file: DataFile; body: Uint8Array }[] = [];
  for (let start = 0; start < task.inputs.length; start += FETCHES_IN_FLIGHT) {
    const some = task.inputs.slice(start, start + FETCHES_IN_FLIGHT);
    inputs.push(...(await Promise.all(some.map((file) => fetchSound(deps.store, file, signal)))));
  }
  const keepAll = snapshot.metaData.configuration[HISTORY_KEY] === "full";
  const merged = await deps.engine(inputs, { keepAll, fileBytesMax: FILE_BYTES_MAX });
  const outputs: UploadedFile[] = [];
  for (const { bytes, ...file } of merged.outputs) {
    const path = dataKey(task.level, task.windowStartMs, deps.clock.uuid());
    const put = await deps.store.put(path, bytes, { kind: "always" }, signal);
    if (put.kind !== "stored")
      throw put.kind === "unknown" ? put.cause : new Error(`the store refused ${path}`);
    const minChangedMs = Math.min(...task.inputs.map((input) => input.minChangedMs));
    const { level, windowStartMs } = task;
    outputs.push({ path, level, windowStartMs, sizeBytes: bytes.byteLength, minChangedMs, file });
  }
  return { outputs, read: merged.read, survivors: merged.survivors };
}

export async function fetchSound(
  store: ObjectStore,
  file: DataFile,
  signal?: AbortSignal,
): Promise<{ file: DataFile; body: Uint8Array }> {
  const object = await store.get(file.path, signal);
  const sha256 = object === null ? null : createHash("sha256").update(object.body).digest("hex");
  if (object !== null && sha256 === file.sha256) return { file, body: object.body };
  throw new VarveError(
    "damaged_file",
    `${file.path} ${object === null ? "is missing from the store" : "does not match its checksum in the log"}.`,
    "Its window is not merged; everything else goes on. `varve verify` lists what is damaged.",
  );
}

/** DuckDB as the engine: bounded in memory, the rest spilled to disk. */
export const duckdbEngine =
  (memoryMaxMB: number): MergeEngine =>
  async (inputs, { keepAll, fileBytesMax }) => {
    const dir = await mkdtemp(join(tmpdir(), "varve-merge-"));
    const { connection, close } = await openDuckDB({ threads: 1, memoryMaxMB, spillDir: join(dir, "spill") });
    try {
      const paths = await Promise.all(
        inputs.map(async ({ body }, index) => {
          const path = join(dir, `in-${index}.parquet`);
          await writeFile(path, body);
          return path;
        }),
      );
      const relation = `read_parquet([${paths.map(sqlText).join(", ")}])`;
      const inputBytes = inputs.reduce((sum, { body }) => sum + body.byteLength, 0);
      const out = join(dir, "out");
      await mkdir(out);
      const target =
        inputBytes > fileBytesMax
          ? `${sqlText(out)} (FORMAT parquet, COMPRESSION zstd, FILE_SIZE_BYTES ${fileBytesMax})`
          : `${sqlText(join(out, "0.parquet"))} (FORMAT parquet, COMPRESSION zstd)`;
      await connection.run(
        `COPY (${keepAll ? allRows(relation) : lastRows(relation)} ORDER BY ${SORT}) TO ${target}`,
      );
      const outputs: ParquetFile[] = [];
      for (const name of (await readdir(out)).toSorted()) {
        const path = join(out, name);
        const summary = await summarize(connection, `read_parquet(${sqlText(path)})`);
        const bytes = await readFile(path);
        if (summary.totals.rows > 0)
          outputs.push({ ...summary, bytes, sha256: createHash("sha256").update(bytes).digest("hex") });
      }
      const read = await totalsOf(connection, relation);
      const survivors = keepAll ? read : await totalsOf(connection, `(${LAST_IDENTITIES(relation)})`);
      return { outputs, read, survivors };
    } finally {
      close();
      await rm(dir, { recursive: true, force: true });
    }
  };

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
