/** Keeping the log small: checkpoints, retention, clean-up of old entries, and of files that no reader needs. */
import { CHECKPOINT_EVERY, readLastCheckpoint, writeCheckpoint } from "../shared/checkpoint.ts";
import type { Clock } from "../shared/clock.ts";
import { hasPassed } from "../shared/clock.ts";
import { LOG_DIR, checkpointKey, commitKey, parseLogKey } from "../shared/keys.ts";
import type { LogKey } from "../shared/keys.ts";
import type { ObjectStore } from "../shared/store.ts";
import { expiredFiles, planExpire } from "./levels.ts";
import type { Beside } from "./merge.ts";
import type { CompactorLog } from "./patience.ts";
import { vacuum } from "./vacuum.ts";

export type Upkeep = { readonly run: (beside: Beside) => Promise<void> };

export type UpkeepDeps = {
  readonly store: ObjectStore;
  readonly clock: Clock;
  readonly log: CompactorLog;
  /** How long log entries, and files that were merged away, are kept for readers that are behind. */
  readonly logRetentionMs: number;
  /** How long rows are kept. Null: for ever. */
  readonly retentionMs: number | null;
  readonly cleanEveryMs?: number;
  /** How old files in no commit grow: a commit may still be on its way that names them. */
  readonly orphanAgeMs?: number;
};

const CLEAN_EVERY_MS = 3_600_000;
const ORPHAN_AGE_MS = 7 * 86_400_000;

export function openUpkeep(deps: UpkeepDeps): Upkeep {
  const { store, clock, log, cleanEveryMs = CLEAN_EVERY_MS, orphanAgeMs = ORPHAN_AGE_MS } = deps;
  let checkpointVersion: number | null = null;
  let cleanedMs = clock.nowMs();

  const checkpoint = async ({ snapshot, forgetRemoved, signal }: Beside): Promise<void> => {
    checkpointVersion ??= (await readLastCheckpoint(store, signal))?.version ?? -1;
    const tip = snapshot();
    if (tip.version - checkpointVersion < CHECKPOINT_EVERY) return;
    const forgetBeforeMs = clock.nowMs() - deps.logRetentionMs - orphanAgeMs;
    await writeCheckpoint(store, tip, { forgetBeforeMs, signal });
    forgetRemoved(forgetBeforeMs);
    checkpointVersion = tip.version;
    log.info("checkpoint", { version: tip.version, files: tip.files.size, shards: tip.shards.size });
  };

  const clean = async (beside: Beside): Promise<void> => {
    if (!hasPassed(clock.nowMs(), cleanedMs, cleanEveryMs)) return;
    cleanedMs = clock.nowMs();
    const nowMs = Math.min(cleanedMs, await storeTimeMs(store, beside.signal));
    const entries = await cleanLog(store, nowMs - deps.logRetentionMs, beside.signal);
    const { files } = await vacuum(store, beside.snapshot(), {
      removedBeforeMs: nowMs - deps.logRetentionMs,
      orphanBeforeMs: nowMs - orphanAgeMs,
      dryRun: false,
      signal: beside.signal,
    });
    if (entries + files.length > 0) log.info("cleaned", { entries, files: files.length });
  };

  return {
    run: async (beside) => {
      if (beside.owns("checkpoint")) await checkpoint(beside);
      if (!beside.owns("clean-up")) return;
      const { retentionMs } = deps;
      if (retentionMs !== null && expiredFiles(beside.snapshot(), retentionMs).length > 0) {
        await beside.commit((snapshot, identity) =>
          planExpire(snapshot, expiredFiles(snapshot, retentionMs), identity),
        );
      }
      await clean(beside);
    },
  };
}

/**
 * When the newest log entry was written, by the store's clock, which gave what is cleaned up its times too. By a
 * worker's, if it were days ahead, files would be old that are on their way into a commit.
 */
async function storeTimeMs(store: ObjectStore, signal: AbortSignal): Promise<number> {
  let latestMs = 0;
  for await (const { modifiedMs } of store.list(LOG_DIR, undefined, signal)) {
    latestMs = Math.max(latestMs, modifiedMs);
  }
  return latestMs;
}

type ListedEntry = LogKey & { readonly modifiedMs: number };

/**
 * Entries and checkpoints that no reader needs: all before the newest checkpoint that is older than the
 * retention and not above what `_last_checkpoint` names. That checkpoint and the entry of its version stay.
 * Ascending, so that what is left has no hole.
 */
export function obsoleteEntries(
  listed: readonly ListedEntry[],
  beforeMs: number,
  lastVersion: number,
): readonly LogKey[] {
  const old = listed.filter(
    ({ kind, version, modifiedMs }) =>
      kind === "checkpoint" && version <= lastVersion && modifiedMs < beforeMs,
  );
  const keep = Math.max(-1, ...old.map(({ version }) => version));
  return listed.filter(({ version }) => version < keep).toSorted((a, b) => a.version - b.version);
}

/** Deletes obsolete entries; gives their number. */
export async function cleanLog(store: ObjectStore, beforeMs: number, signal?: AbortSignal): Promise<number> {
  const last = await readLastCheckpoint(store, signal);
  if (last === null) return 0;
  const listed: ListedEntry[] = [];
  for await (const { key, modifiedMs } of store.list(LOG_DIR, undefined, signal)) {
    const parsed = parseLogKey(key);
    if (parsed !== null) listed.push({ ...parsed, modifiedMs });
  }
  const obsolete = obsoleteEntries(listed, beforeMs, last.version);
  for (const { kind, version } of obsolete)
    await store.delete(kind === "commit" ? commitKey(version) : checkpointKey(version), signal);
  return obsolete.length;
}
