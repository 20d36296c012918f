/** Merging windows, beside the flushes: fetch, merge, upload, commit. */
import { createHash } from "node:crypto";
import type { Clock } from "../shared/clock.ts";
import { VarveError, errorFields } from "../shared/errors.ts";
import { dataKey } from "../shared/keys.ts";
import type { DataFile, Snapshot } from "../shared/snapshot.ts";
import type { ObjectStore } from "../shared/store.ts";
import { LEVEL_MS } from "../shared/window.ts";
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
  /** Merges the windows that are complete and this worker's, one after the other. One that cannot be merged holds up no other. */
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
  /** Ends the merge where it stands: it then rejects. */
  readonly signal: AbortSignal;
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
const WAIT_FIRST_MS = 10_000;
const WAIT_MAX_MS = 600_000;

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
      ...windowFields(task),
      rows: result.read.rows,
      rows_left: result.survivors.rows,
      ms: deps.clock.nowMs() - beganMs,
    });
  };
  const failures = new Map<string, Failure>();
  const failed = (task: MergeTask, error: unknown): void => {
    const waitMs = Math.min(WAIT_MAX_MS, 2 * (failures.get(taskName(task))?.waitMs ?? WAIT_FIRST_MS / 2));
    failures.set(taskName(task), { task, waitMs, untilMs: deps.clock.nowMs() + waitMs });
    deps.log.warn("a window was not merged", {
      ...windowFields(task),
      again_ms: waitMs,
      ...errorFields(error),
    });
  };
  /** What is to merge that nothing in the same window is known to prevent. */
  const nextTask = ({ snapshot, owns }: Beside): MergeTask | undefined => {
    const nowMs = deps.clock.nowMs();
    const waiting = [...failures.values()].filter(({ untilMs }) => nowMs < untilMs);
    return mergeTasks(snapshot()).find(
      (task) => owns(taskName(task)) && !waiting.some((failure) => contains(task, failure.task)),
    );
  };
  return {
    run: async (beside) => {
      for (;;) {
        const task = nextTask(beside);
        if (task === undefined || beside.signal.aborted) return;
        try {
          await mergeOne(task, beside);
          failures.delete(taskName(task));
        } catch (error) {
          if (beside.signal.aborted) return;
          failed(task, error);
        }
      }
    },
  };
}

/** A window that could not be merged, and when it is tried again. */
type Failure = { readonly task: MergeTask; readonly waitMs: number; readonly untilMs: number };

const contains = (outer: MergeTask, inner: MergeTask): boolean =>
  inner.windowStartMs >= outer.windowStartMs &&
  inner.windowStartMs < outer.windowStartMs + LEVEL_MS[outer.level];

const windowFields = ({ level, windowStartMs, inputs }: MergeTask) => ({
  level,
  window: new Date(windowStartMs).toISOString(),
  files: inputs.length,
});

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
    signal,
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
