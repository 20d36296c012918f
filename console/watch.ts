/**
 * The log as it goes on, for as long as somebody looks: the snapshot at its tip and its newest commits.
 *
 * Laws
 * - Looking never waits for the store for long, and never throws: what is wrong is told beside what was known before.
 * - Between two looks the store is asked for one entry, the one after the tip; nothing else is read until it is there.
 */
import type { Clock } from "../shared/clock.ts";
import { VarveError } from "../shared/errors.ts";
import { loadSnapshot, readCommit } from "../shared/log.ts";
import type { Snapshot } from "../shared/snapshot.ts";
import { applyCommit } from "../shared/snapshot.ts";
import type { ObjectStore } from "../shared/store.ts";
import type { KeptCommit } from "./model/commits.ts";
import { keepCommit } from "./model/commits.ts";
import { cadenceMs } from "./model/flow.ts";
import type { Problem } from "./state.ts";

export type Seen = {
  readonly snapshot: Snapshot | null;
  /** Ascending. */
  readonly commits: readonly KeptCommit[];
  readonly problem: Problem | null;
};

export type Watch = {
  /** What is known, after a look at the log if the last one is long enough ago. */
  readonly look: () => Promise<Seen>;
  readonly close: () => void;
};

const COMMITS_KEPT_MAX = 600;
const COMMITS_READ_FIRST = 240;
const READS_IN_FLIGHT = 16;
const LOOK_MIN_MS = 1_000;
const LOOK_MAX_MS = 10_000;
/** After a rest the tip is looked for anew: clean-up may have passed the one that is known. */
const RESTED_MS = 60_000;
const PATIENCE_MS = 2_000;

export function openWatch(store: ObjectStore, clock: Clock): Watch {
  const closing = new AbortController();
  const { signal } = closing;
  let snapshot: Snapshot | null = null;
  let commits: readonly KeptCommit[] = [];
  let problem: Problem | null = null;
  let lookedMs = Number.NEGATIVE_INFINITY;
  let looking: { readonly done: Promise<void>; readonly sinceMs: number } | null = null;

  const load = async (): Promise<void> => {
    const loaded = await loadSnapshot(store, snapshot ?? undefined, signal);
    if (loaded === null) {
      throw new VarveError(
        "no_changelog",
        "there is no changelog at this address yet.",
        "The compactor makes it when it first starts; check VARVE_CHANGELOG if one should be there.",
      );
    }
    const from = Math.max((snapshot?.version ?? -1) + 1, loaded.version - COMMITS_READ_FIRST + 1, 0);
    const read: KeptCommit[] = [];
    for (let start = from; start <= loaded.version; start += READS_IN_FLIGHT) {
      const versions = Array.from(
        { length: Math.min(READS_IN_FLIGHT, loaded.version - start + 1) },
        (_, at) => start + at,
      );
      const entries = await Promise.all(versions.map((version) => readCommit(store, version, signal)));
      for (const commit of entries)
        if (commit !== null) read.push(keepCommit(commit, read.at(-1)?.line.watermarkMs ?? 0));
    }
    const known = commits.filter(({ line }) => line.version < from);
    commits = unbroken([...known, ...read]).slice(-COMMITS_KEPT_MAX);
    snapshot = loaded;
  };

  /** False when what came next does not follow: the log is read anew. */
  const goOn = async (before: Snapshot): Promise<boolean> => {
    for (let tip = before; ;) {
      const commit = await readCommit(store, tip.version + 1, signal);
      if (commit === null) return true;
      const applied = applyCommit(tip, commit);
      if (applied.violations.length > 0) return false;
      commits = [...commits, keepCommit(commit, tip.log.watermarkMs)].slice(-COMMITS_KEPT_MAX);
      tip = applied.snapshot;
      snapshot = tip;
    }
  };

  const refresh = async (rested: boolean): Promise<void> => {
    try {
      if (snapshot === null || rested || !(await goOn(snapshot))) await load();
      problem = null;
    } catch (error) {
      if (signal.aborted) return;
      problem = problemOf(error, problem?.sinceMs ?? clock.nowMs());
    } finally {
      lookedMs = clock.nowMs();
    }
  };

  const everyMs = (): number => {
    const cadence = cadenceMs(commits) ?? LOOK_MIN_MS;
    return Math.min(LOOK_MAX_MS, Math.max(LOOK_MIN_MS, cadence / 4));
  };

  return {
    look: async () => {
      const nowMs = clock.nowMs();
      if (looking === null && nowMs - lookedMs >= everyMs()) {
        const done = refresh(nowMs - lookedMs > RESTED_MS).finally(() => {
          looking = null;
        });
        looking = { done, sinceMs: nowMs };
      }
      const current = looking;
      if (current === null) return { snapshot, commits, problem };
      const waiting = new AbortController();
      await Promise.race([current.done, clock.sleep(PATIENCE_MS, waiting.signal)]);
      waiting.abort();
      const isSlow = looking === current && clock.nowMs() - current.sinceMs > PATIENCE_MS;
      return { snapshot, commits, problem: problem ?? (isSlow ? slow(current.sinceMs) : null) };
    },
    close: () => closing.abort(),
  };
}

/** Those after the last that is missing: too much came while nobody looked, or clean-up took it. */
function unbroken(commits: readonly KeptCommit[]): readonly KeptCommit[] {
  const begins = commits.findLastIndex(
    ({ line }, at) => line.version !== (commits[at - 1]?.line.version ?? -1) + 1,
  );
  return commits.slice(Math.max(0, begins));
}

function problemOf(error: unknown, sinceMs: number): Problem {
  if (error instanceof VarveError) {
    const { code, message, fix } = error;
    return { code, message, fix, sinceMs };
  }
  return {
    code: "unexpected",
    message: error instanceof Error ? error.message : String(error),
    fix: "It is tried again by itself; if it stays, `varve verify` looks closer.",
    sinceMs,
  };
}

const slow = (sinceMs: number): Problem => ({
  code: "store_slow",
  message: "the store of the changelog has not answered yet.",
  fix: "What is shown is what was last read. It is asked again by itself.",
  sinceMs,
});
