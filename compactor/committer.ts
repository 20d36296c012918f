/**
 * Commits by put-if-absent, with read-back.
 *
 * A refusal is not yet a conflict: a retry inside the store's client, or a time-out that succeeded after all,
 * makes a writer's own entry refuse it. So whatever is not plainly `stored` is settled by reading the entry:
 * it carries the writer's transaction id or somebody else's.
 *
 * Nor is every success one: an entry that clean-up has deleted can be put again by a writer that stood still
 * since. So a writer that read the tip long ago takes its entry back unless it stands on the one before it.
 */
import type { Clock } from "../shared/clock.ts";
import { hasPassed } from "../shared/clock.ts";
import type { Commit } from "../shared/delta.ts";
import { encodeCommit } from "../shared/delta.ts";
import { checkpointKey, commitKey } from "../shared/keys.ts";
import { readCommit } from "../shared/log.ts";
import type { ObjectStore } from "../shared/store.ts";

export type CommitOutcome =
  | { readonly kind: "committed" }
  /** Another entry stands at this version. */
  | { readonly kind: "conflicted"; readonly by: Commit }
  /** The log has gone on without this writer, past this version; its entry was taken back. */
  | { readonly kind: "fenced" }
  /** The store does not say. The entry may be there now, or later, or never. */
  | { readonly kind: "unknown"; readonly cause: unknown };

const ATTEMPTS_MAX = 4;
const RETRY_MS = 200;
/** Clean-up leaves entries alone for days; a tip read this recently cannot have been cleaned away. */
export const TIP_FRESH_MS = 60_000;

/** @param tipReadMs when the tip was read that this commit follows */
export async function putCommit(
  store: ObjectStore,
  commit: Commit,
  clock: Clock,
  tipReadMs: number,
  signal?: AbortSignal,
): Promise<CommitOutcome> {
  const key = commitKey(commit.version);
  const body = new TextEncoder().encode(encodeCommit(commit));
  let cause: unknown;
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt += 1) {
    if (signal?.aborted) break;
    if (attempt > 0) await clock.sleep(RETRY_MS * 2 ** attempt * (0.5 + clock.random() / 2), signal);
    try {
      const put = await store.put(key, body, { kind: "if-absent" }, signal);
      cause = put.kind === "unknown" ? put.cause : undefined;
      const standing = put.kind === "stored" ? commit : await readCommit(store, commit.version, signal);
      if (standing === null) continue;
      if (standing.info.txnId !== commit.info.txnId) return { kind: "conflicted", by: standing };
      const isFresh = !hasPassed(clock.nowMs(), tipReadMs, TIP_FRESH_MS);
      if (isFresh || (await standsOnLog(store, commit.version, signal))) return { kind: "committed" };
      await store.delete(key, signal);
      return { kind: "fenced" };
    } catch (error) {
      cause = error;
    }
  }
  return { kind: "unknown", cause };
}

/**
 * Clean-up deletes entries in ascending order, up to a checkpoint whose own entry stays. So one that was put where
 * it had been has none before it, and no checkpoint of its version.
 */
async function standsOnLog(store: ObjectStore, version: number, signal?: AbortSignal): Promise<boolean> {
  if (version === 0 || (await store.get(commitKey(version - 1), signal)) !== null) return true;
  return (await store.get(checkpointKey(version), signal)) !== null;
}
