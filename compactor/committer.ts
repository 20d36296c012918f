/**
 * Commits by put-if-absent, with read-back.
 *
 * A refusal is not yet a conflict: a retry inside the store's client, or a time-out that succeeded after all,
 * makes a writer's own entry refuse it. So whatever is not plainly `stored` is settled by reading the entry:
 * it carries the writer's transaction id or somebody else's.
 */
import type { Clock } from "../shared/clock.ts";
import type { Commit } from "../shared/delta.ts";
import { encodeCommit } from "../shared/delta.ts";
import { commitKey } from "../shared/keys.ts";
import { readCommit } from "../shared/log.ts";
import type { ObjectStore } from "../shared/store.ts";

export type CommitOutcome =
  | { readonly kind: "committed" }
  /** Another entry stands at this version. */
  | { readonly kind: "conflicted"; readonly by: Commit }
  /** The store does not say. The entry may be there now, or later, or never. */
  | { readonly kind: "unknown"; readonly cause: unknown };

const ATTEMPTS_MAX = 4;
const RETRY_MS = 200;

export async function putCommit(
  store: ObjectStore,
  commit: Commit,
  clock: Clock,
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
      if (put.kind === "stored") return { kind: "committed" };
      cause = put.kind === "unknown" ? put.cause : undefined;
      const standing = await readCommit(store, commit.version, signal);
      if (standing === null) continue;
      if (standing.info.txnId === commit.info.txnId) return { kind: "committed" };
      return { kind: "conflicted", by: standing };
    } catch (error) {
      cause = error;
    }
  }
  return { kind: "unknown", cause };
}
