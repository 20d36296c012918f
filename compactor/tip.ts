/**
 * The log's tip: what stands there, and commits on top of it, planned anew on whatever others have committed
 * meanwhile.
 *
 * A worker whose PUT is slower than the others' commits would find another's entry at every version, for ever. So one
 * that the log has passed by for some time is told so: `outrun`.
 */
import type { Clock } from "../shared/clock.ts";
import { hasPassed } from "../shared/clock.ts";
import { VarveError } from "../shared/errors.ts";
import { commitKey } from "../shared/keys.ts";
import { assertSound, loadSnapshot, readCommit } from "../shared/log.ts";
import type { Snapshot } from "../shared/snapshot.ts";
import { applyCommit } from "../shared/snapshot.ts";
import type { ObjectStore } from "../shared/store.ts";
import { TIP_FRESH_MS, putCommit } from "./committer.ts";
import type { Metrics } from "./metrics.ts";
import type { CompactorLog, Patience } from "./patience.ts";
import type { CommitPlan } from "./plan.ts";
import { planCreate } from "./plan.ts";

export type TipDeps = {
  readonly store: ObjectStore;
  readonly clock: Clock;
  readonly log: CompactorLog;
  readonly metrics: Metrics;
  /** The table properties of a log that is made. */
  readonly configuration: Readonly<Record<string, string>>;
};

/** A commit that has met others' entries so often, and for so long, belongs to a worker too slow for the log. */
const OUTRUN_CONFLICTS = 5;
const OUTRUN_AFTER_MS = 15_000;

/** The snapshot at the tip, with its entry, which a checkpoint does not hold. Null when there is no log. */
async function loadTip(store: ObjectStore, signal?: AbortSignal): Promise<Snapshot | null> {
  const snapshot = await loadSnapshot(store, undefined, signal);
  if (snapshot === null || snapshot.entry !== null) return snapshot;
  return { ...snapshot, entry: (await readCommit(store, snapshot.version, signal))?.entry ?? null };
}

/** As `loadTip`. Makes the log when there is none. */
async function openLog(
  { store, clock, configuration }: Pick<TipDeps, "store" | "clock" | "configuration">,
  signal?: AbortSignal,
): Promise<Snapshot> {
  const found = await loadTip(store, signal);
  if (found !== null) return found;
  const { commit } = planCreate(clock.uuid(), { txnId: clock.uuid(), nowMs: clock.nowMs() }, configuration);
  const outcome = await putCommit(store, commit, clock, clock.nowMs(), signal);
  // Others may have made it meanwhile, and gone on.
  const made = await loadTip(store, signal);
  if (made !== null) return made;
  throw new VarveError(
    "log_not_made",
    "the changelog's first log entry could not be written.",
    "Check that the bucket exists and that these credentials may write to it.",
    outcome.kind === "unknown" ? outcome.cause : undefined,
  );
}

export type CommitResult =
  | { readonly kind: "committed" }
  | { readonly kind: "stale"; readonly why: string }
  /** Others commit faster than this worker can: the batch is for one of them to read again. */
  | { readonly kind: "outrun" }
  | { readonly kind: "gave up" };
type Planner = (
  snapshot: Snapshot,
  identity: { readonly txnId: string; readonly nowMs: number },
) => CommitPlan;

/** Commits made beside the flushes: merges, retention. */
export type CommitBeside = (plan: Planner) => Promise<CommitResult>;

export type Tip = {
  readonly snapshot: () => Snapshot;
  readonly forgetRemoved: (beforeMs: number) => void;
  /** One at a time: within a process nobody conflicts with itself. */
  readonly exclusively: <T>(work: () => Promise<T>) => Promise<T>;
  /** Applies what others have committed. */
  readonly catchUp: (signal: AbortSignal) => Promise<void>;
  /** Plans, commits, and plans again on what others committed meanwhile, until it is in, stale or outrun. */
  readonly commit: (patience: Patience, plan: Planner) => Promise<CommitResult>;
};

/** Opens the log, or makes it. */
export async function openTip(deps: TipDeps, opening: AbortSignal): Promise<Tip> {
  const { store, clock } = deps;
  // Not later: what stands still while it opens the log may open one that has been cleaned up meanwhile.
  let readMs = clock.nowMs();
  let snapshot = await openLog(deps, opening);
  let queue: Promise<unknown> = Promise.resolve();
  const apply = (commit: Parameters<typeof applyCommit>[1]): void => {
    const applied = applyCommit(snapshot, commit);
    assertSound(applied.violations);
    snapshot = applied.snapshot;
  };
  /** Then what seems to be the tip is where clean-up has been. */
  const isCleaned = async (version: number, signal: AbortSignal): Promise<boolean> =>
    (await store.get(commitKey(version), signal)) === null;
  const catchUp = async (signal: AbortSignal): Promise<void> => {
    for (;;) {
      const beganMs = clock.nowMs();
      const next = await readCommit(store, snapshot.version + 1, signal);
      if (next !== null) apply(next);
      else if (hasPassed(beganMs, readMs, TIP_FRESH_MS) && (await isCleaned(snapshot.version, signal))) {
        snapshot = await openLog(deps, signal);
      } else {
        readMs = beganMs;
        return;
      }
    }
  };
  const commit = async (patience: Patience, plan: Planner): Promise<CommitResult> => {
    const mine = new Set<string>();
    let [conflicts, firstConflictMs] = [0, 0];
    for (;;) {
      const txnId = clock.uuid();
      mine.add(txnId);
      const planned = plan(snapshot, { txnId, nowMs: clock.nowMs() });
      if (planned.kind === "stale") return planned;
      const outcome = await patience.persist(`committing version ${planned.commit.version}`, async () => {
        const put = await putCommit(store, planned.commit, clock, readMs, patience.giveUp);
        if (put.kind === "unknown") throw put.cause;
        return put;
      });
      if (outcome === null) return { kind: "gave up" };
      if (outcome.kind === "committed") {
        snapshot = planned.next;
        return { kind: "committed" };
      }
      if (outcome.kind === "fenced") {
        snapshot = await openLog(deps, patience.giveUp);
        return { kind: "stale", why: "the log was cleaned up past this worker's tip while it stood still" };
      }
      deps.metrics.conflicted();
      deps.log.info("conflicted", { version: planned.commit.version });
      apply(outcome.by);
      if (mine.has(outcome.by.info.txnId)) return { kind: "committed" };
      const nowMs = clock.nowMs();
      if (conflicts++ === 0) firstConflictMs = nowMs;
      if (conflicts >= OUTRUN_CONFLICTS && nowMs - firstConflictMs >= OUTRUN_AFTER_MS)
        return { kind: "outrun" };
      // The log may have gone on by more than one entry, and a GET is cheaper than a PUT in vain.
      await patience.persist("reading the log's tip", () => catchUp(patience.giveUp));
    }
  };
  const exclusively = <T>(work: () => Promise<T>): Promise<T> => {
    const result = queue.then(work);
    queue = result.catch(() => undefined);
    return result;
  };
  return {
    snapshot: () => snapshot,
    forgetRemoved: (beforeMs) => {
      const removed = [...snapshot.removed].filter(([, removedMs]) => removedMs >= beforeMs);
      snapshot = { ...snapshot, removed: new Map(removed) };
    },
    exclusively,
    catchUp,
    commit,
  };
}
