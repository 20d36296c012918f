/** Reading the log: entries by version, and the snapshot at its tip. */
import type { Commit } from "./delta.ts";
import { parseCommit } from "./delta.ts";
import { newestCheckpoint, readCheckpoint } from "./checkpoint.ts";
import { VarveError } from "./errors.ts";
import { LOG_DIR, commitKey, parseLogKey } from "./keys.ts";
import type { Snapshot, Violation } from "./snapshot.ts";
import { READER_VERSION_MAX, applyCommit } from "./snapshot.ts";
import type { ObjectStore } from "./store.ts";

const READS_IN_FLIGHT = 16;

/** Null past the tip. */
export async function readCommit(
  store: ObjectStore,
  version: number,
  signal?: AbortSignal,
): Promise<Commit | null> {
  const entry = await store.get(commitKey(version), signal);
  return entry === null
    ? null
    : parseCommit(version, new TextDecoder("utf-8", { fatal: false, ignoreBOM: true }).decode(entry.body));
}

/** The commits of versions above `after`, ascending, up to the tip. */
export async function* readCommits(
  store: ObjectStore,
  after: number,
  signal?: AbortSignal,
): AsyncGenerator<Commit> {
  const versions: number[] = [];
  for await (const { key } of store.list(LOG_DIR, commitKey(Math.max(after, 0)), signal)) {
    const parsed = parseLogKey(key);
    if (parsed?.kind === "commit" && parsed.version > after) versions.push(parsed.version);
  }
  if (after < 0) versions.unshift(0);
  for (let start = 0; start < versions.length; start += READS_IN_FLIGHT) {
    const reads = versions
      .slice(start, start + READS_IN_FLIGHT)
      .map((version) => readCommit(store, version, signal));
    for (const commit of await Promise.all(reads)) if (commit !== null) yield commit;
  }
}

export type Loaded = { readonly snapshot: Snapshot; readonly violations: readonly Violation[] };

/** Applies to `snapshot` all that came after it. Null when there is no log. */
export async function replay(
  store: ObjectStore,
  snapshot: Snapshot | null,
  signal?: AbortSignal,
): Promise<Loaded | null> {
  const violations: Violation[] = [];
  let tip = snapshot;
  for await (const commit of readCommits(store, snapshot?.version ?? -1, signal)) {
    const applied = applyCommit(tip, commit);
    violations.push(...applied.violations);
    tip = applied.snapshot;
  }
  return tip === null ? null : { snapshot: tip, violations };
}

/** The snapshot at the tip, from `known` or the last checkpoint on; null when there is no log. Throws when the log breaks an invariant. */
export async function loadSnapshot(
  store: ObjectStore,
  known?: Snapshot,
  signal?: AbortSignal,
): Promise<Snapshot | null> {
  let base = known ?? (await readCheckpoint(store, signal));
  let loaded = await replay(store, base, signal);
  while (loaded !== null && loaded.violations.length > 0) {
    // Clean-up may have passed a base that was read before it, or the last checkpoint is lost: a later one stands in.
    base = await newestCheckpoint(store, base?.version ?? -1, signal);
    if (base === null) break;
    loaded = await replay(store, base, signal);
  }
  if (loaded === null) return null;
  assertSound(loaded.violations);
  const { protocol } = loaded.snapshot;
  if (protocol.minReaderVersion > READER_VERSION_MAX) {
    throw new VarveError(
      "newer_protocol",
      `this changelog needs Delta reader version ${protocol.minReaderVersion}; this is ${READER_VERSION_MAX}.`,
      "Upgrade Varve.",
    );
  }
  return loaded.snapshot;
}

export function assertSound(violations: readonly Violation[]): void {
  const [first] = violations;
  if (first === undefined) return;
  throw new VarveError(
    "invariant_broken",
    `the log breaks invariant ${first.invariant} at version ${first.version}: ${first.what}${violations.length > 1 ? ` (and ${violations.length - 1} more)` : ""}.`,
    "Nothing was written. `varve verify` lists every violation; docs/operations.md (Restoring) says what to do, PROTOCOL.md what each invariant means.",
  );
}
