/**
 * Rewriting files without some of their rows: those of a person who is forgotten, or scan rows that the stream
 * has made superfluous. committed = live + superseded + expired + forgotten shows that nothing else went.
 *
 * Laws
 * - A file's rows are those that stay and those that are dropped, by count and by set checksum.
 * - Readers that go by version see no new rows: what stays has been in the log before.
 * - Nothing of what was dropped, nor why, is written into the log.
 */
import type { Clock } from "../shared/clock.ts";
import type { Action } from "../shared/delta.ts";
import { VarveError } from "../shared/errors.ts";
import { loadSnapshot } from "../shared/log.ts";
import type { DataFile, LogState, Snapshot, Totals } from "../shared/snapshot.ts";
import { NO_ROWS, addTotals, equalTotals } from "../shared/snapshot.ts";
import type { ObjectStore } from "../shared/store.ts";
import { putCommit } from "./committer.ts";
import { removeAction } from "./levels.ts";
import type { CommitIdentity, CommitPlan, UploadedFile } from "./plan.ts";
import { addAction, logAction, sound } from "./plan.ts";

export type Rewrite = {
  readonly input: DataFile;
  /** What takes its place. Null: none of its rows stay. */
  readonly output: UploadedFile | null;
  /** What was dropped, taken from the dropped rows themselves. */
  readonly dropped: Totals;
};

/** @param as what the rows that go are counted as */
export function planRewrite(
  snapshot: Snapshot,
  rewrites: readonly Rewrite[],
  { txnId, nowMs }: CommitIdentity,
  as: "forgotten" | "superseded" = "forgotten",
): CommitPlan {
  for (const { input, output, dropped } of rewrites) {
    if (!snapshot.files.has(input.path)) return { kind: "stale", why: `${input.path} is no longer live` };
    const kept = output?.file.totals ?? NO_ROWS;
    if (!equalTotals(input.totals, addTotals(kept, dropped))) throw unsound(input, kept, dropped);
  }
  const gone = rewrites.reduce((totals, { dropped }) => addTotals(totals, dropped), NO_ROWS);
  const committedMs = Math.max(nowMs, snapshot.log.committedMs + 1);
  const log: LogState = { ...snapshot.log, committedMs, [as]: addTotals(snapshot.log[as], gone) };
  const outputs = rewrites.flatMap(({ output }) => (output === null ? [] : [output]));
  const info = {
    timestamp: nowMs,
    inCommitTimestamp: committedMs,
    operation: "DELETE",
    operationParameters: { reason: "rewrite" },
    isBlindAppend: false,
    txnId,
    engineInfo: "varve",
    operationMetrics: {
      numRemovedFiles: String(rewrites.length),
      numAddedFiles: String(outputs.length),
      numDeletedRows: String(gone.rows),
    },
  };
  const actions: Action[] = [
    ...outputs.map((file) => addAction(file, nowMs, false)),
    ...rewrites.map(({ input }) => removeAction(input, nowMs, false)),
    logAction(log),
  ];
  return { kind: "commit", ...sound(snapshot, { version: snapshot.version + 1, info, actions }) };
}

const unsound = (input: DataFile, kept: Totals, dropped: Totals): VarveError =>
  new VarveError(
    "unsound_rewrite",
    `rewriting ${input.path} was given up: of its ${input.totals.rows} rows ${kept.rows} stay and ${dropped.rows} go, or their checksums do not add up.`,
    "Nothing was committed. `varve verify` tells whether the file is damaged.",
  );

const ATTEMPTS_MAX = 100;
const PAUSE_MS = 100;

/** Commits beside running compactors: plans again on what they commit meanwhile. `stale`: an input is gone. */
export async function commitRewrite(
  store: ObjectStore,
  clock: Clock,
  rewrites: readonly Rewrite[],
): Promise<"committed" | "stale"> {
  const mine = new Set<string>();
  let cause: unknown;
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt += 1) {
    if (attempt > 0) await clock.sleep(PAUSE_MS * (0.5 + clock.random()));
    const readMs = clock.nowMs();
    const snapshot = await loadSnapshot(store);
    if (snapshot === null) return "stale";
    const identity = { txnId: clock.uuid(), nowMs: clock.nowMs() };
    const plan = planRewrite(snapshot, rewrites, identity);
    // A put whose outcome was unknown may have landed: then the inputs are gone, and the outputs live.
    if (plan.kind === "stale") return outputsLive(snapshot, rewrites) ? "committed" : "stale";
    mine.add(identity.txnId);
    const outcome = await putCommit(store, plan.commit, clock, readMs);
    if (outcome.kind === "committed") return "committed";
    if (outcome.kind === "conflicted" && mine.has(outcome.by.info.txnId)) return "committed";
    if (outcome.kind === "unknown") cause = outcome.cause;
  }
  throw new VarveError(
    "not_committed",
    `the rewrite was not committed in ${ATTEMPTS_MAX} attempts: others always came first, or the store did not answer.`,
    "Nothing is lost; run it again.",
    cause,
  );
}

const outputsLive = ({ files }: Snapshot, rewrites: readonly Rewrite[]): boolean =>
  rewrites.some(({ output }) => output !== null && files.has(output.path));
