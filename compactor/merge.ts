/** Merging windows, beside the flushes: fetch, merge, upload, commit. */
import { createHash } from "node:crypto";
import type { Clock } from "../shared/clock.ts";
import { errorFields, VarveError } from "../shared/errors.ts";
import { dataKey } from "../shared/keys.ts";
import type { DataFile, Snapshot } from "../shared/snapshot.ts";
import type { ObjectStore } from "../shared/store.ts";
import type { MergeResult, MergeTask } from "./levels.ts";
import { mergeTasks, planMerge, taskName } from "./levels.ts";
import type { Metrics } from "./metrics.ts";
import type { CompactorLog } from "./patience.ts";
import type { ParquetFile } from "./summary.ts";
import type { UploadedFile } from "./plan.ts";
import type { CommitBeside } from "./tip.ts";

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

export type MergeJob = {
  readonly inputs: readonly DataFile[];
  /** The bytes of one of them, which are what the log says. */
  readonly fetch: (file: DataFile) => Promise<Uint8Array>;
  /** Takes the merged rows, as one or more files, one after the other; none much larger than `fileBytesMax`. */
  readonly store: (output: ParquetFile) => Promise<void>;
  readonly keepAll: boolean;
  readonly fileBytesMax: number;
};

export type MergeEngine = (job: MergeJob) => Promise<Pick<MergeResult, "read" | "survivors">>;

export type MergerDeps = {
  readonly store: ObjectStore;
  readonly clock: Clock;
  readonly log: CompactorLog;
  readonly metrics: Metrics;
  readonly engine: MergeEngine;
};

const FILE_BYTES_MAX = 128 * 1024 ** 2;
/** What is wrong with one window's files, and with no other's. */
const FAULTS_OF_A_WINDOW = new Set(["damaged_file", "unsound_merge"]);
/** A window with such a fault is tried again after this long. */
const SET_ASIDE_MS = 600_000;

export const HISTORY_KEY = "varve.history";

export function openMerger(deps: MergerDeps): Merger {
  /** Until when windows are left alone, by their tasks' names. */
  const setAside = new Map<string, number>();
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
      for (const [name, untilMs] of setAside) if (untilMs <= deps.clock.nowMs()) setAside.delete(name);
      for (;;) {
        const isDue = (name: string): boolean => beside.owns(name) && !setAside.has(name);
        const task = mergeTasks(beside.snapshot()).find((one) => isDue(taskName(one)));
        if (task === undefined || beside.signal.aborted) return;
        try {
          await mergeOne(task, beside);
        } catch (error) {
          if (!(error instanceof VarveError) || !FAULTS_OF_A_WINDOW.has(error.code)) throw error;
          setAside.set(taskName(task), deps.clock.nowMs() + SET_ASIDE_MS);
          deps.log.warn("a window cannot be merged; it is tried again in 10 minutes", {
            level: task.level,
            window: new Date(task.windowStartMs).toISOString(),
            ...errorFields(error),
          });
        }
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
  const { level, windowStartMs, inputs } = task;
  const minChangedMs = Math.min(...inputs.map((input) => input.minChangedMs));
  const outputs: UploadedFile[] = [];
  const figures = await deps.engine({
    inputs,
    fetch: async (file) => (await fetchSound(deps.store, file, signal)).body,
    store: async ({ bytes, ...file }) => {
      const path = dataKey(level, windowStartMs, deps.clock.uuid());
      const put = await deps.store.put(path, bytes, { kind: "always" }, signal);
      if (put.kind !== "stored")
        throw put.kind === "unknown" ? put.cause : new Error(`the store refused ${path}`);
      outputs.push({ path, level, windowStartMs, sizeBytes: bytes.byteLength, minChangedMs, file });
    },
    keepAll: snapshot.metaData.configuration[HISTORY_KEY] === "full",
    fileBytesMax: FILE_BYTES_MAX,
  });
  return { outputs, ...figures };
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
    "Its window is not merged, all others are. `varve verify` lists what is damaged; docs/operations.md (Restoring) says what to do.",
  );
}
