/**
 * The log, replayed: from version 0, or from the oldest checkpoint where clean-up has taken what came before. Every
 * entry is held against the invariants, and the checkpoints against what the entries come to.
 */
import { createHash } from "node:crypto";
import { readCheckpointAt, readIfSound } from "../shared/checkpoint.ts";
import type { Commit } from "../shared/delta.ts";
import { describeError, VarveError } from "../shared/errors.ts";
import { LOG_DIR, parseDataKey, parseLogKey } from "../shared/keys.ts";
import { readCommit } from "../shared/log.ts";
import type { DataFile, Snapshot } from "../shared/snapshot.ts";
import { applyCommit, parseDataFile } from "../shared/snapshot.ts";
import type { ObjectStore } from "../shared/store.ts";
import { LEVEL_MS, dateOf } from "../shared/window.ts";
import type { Problem, Progress } from "./verify.ts";

export type Replayed = {
  readonly snapshot: Snapshot;
  readonly commits: number;
  readonly fromCheckpoint: number | null;
  readonly checkpoints: number;
};

/** Checkpoints that are compared: the newest. */
const CHECKPOINTS_MAX = 12;
const READS_IN_FLIGHT = 16;

export async function replayLog(
  store: ObjectStore,
  problems: Problem[],
  progress: Progress,
): Promise<Replayed> {
  const { commits: versions, checkpoints } = await listLog(store);
  const start = await startOf(store, versions, checkpoints, problems);
  const above = versions.filter((version) => version > start.version);
  const compared = new Set(checkpoints.slice(-CHECKPOINTS_MAX));
  let snapshot = start.snapshot;
  let done = 0;
  const wrong = (version: number, what: string): void => {
    problems.push({ kind: "log_entry", what, where: `version ${version}` });
  };

  // The start's own entry may stand beside its checkpoint.
  let previous = versions.includes(start.version) ? await readOne(store, start.version) : null;

  for await (const read of readEach(store, above)) {
    const { version, commit, error } = read;
    progress("log entries", (done += 1), above.length);
    if (commit === null) {
      wrong(version, error ?? "the entry is missing");
      // What comes after it cannot be judged: it builds on what this one said.
      break;
    }
    const where = `version ${version - 1}`;
    if (
      previous?.version === version - 1 &&
      !vouchesFor(commit, previous) &&
      !problems.some((problem) => problem.where === where)
    ) {
      wrong(version - 1, `the entry is not the one after which entry ${version} was written: it was altered`);
    }
    previous = read;
    const applied = applyCommit(snapshot, commit);
    ({ snapshot } = applied);
    for (const { invariant, what } of applied.violations)
      wrong(version, `invariant ${invariant} is broken: ${what}`);
    for (const what of misplacedFiles(commit)) wrong(version, what);
    if (compared.has(version)) await compareCheckpoint(store, snapshot, problems);
  }
  if (snapshot === null) {
    throw new VarveError(
      "no_changelog",
      "there is no log that can be read at this address.",
      problems.map(({ what, where }) => `${where}: ${what}`).join("; ") || "Check VARVE_CHANGELOG.",
    );
  }
  return {
    snapshot,
    commits: done,
    fromCheckpoint: start.snapshot === null ? null : start.version,
    checkpoints: compared.size,
  };
}

async function listLog(
  store: ObjectStore,
): Promise<{ readonly commits: number[]; readonly checkpoints: number[] }> {
  const commits: number[] = [];
  const checkpoints: number[] = [];
  for await (const { key } of store.list(LOG_DIR)) {
    const parsed = parseLogKey(key);
    if (parsed?.kind === "commit") commits.push(parsed.version);
    if (parsed?.kind === "checkpoint") checkpoints.push(parsed.version);
  }
  return { commits, checkpoints };
}

/** Before version 0, or at the oldest checkpoint that can be read. */
async function startOf(
  store: ObjectStore,
  versions: readonly number[],
  checkpoints: readonly number[],
  problems: Problem[],
): Promise<{ readonly version: number; readonly snapshot: Snapshot | null }> {
  if (versions[0] === 0 || versions.length + checkpoints.length === 0) return { version: -1, snapshot: null };
  for (const version of checkpoints) {
    const snapshot = await readIfSound(store, version);
    if (snapshot !== null) return { version, snapshot };
    problems.push({ kind: "checkpoint", what: "the checkpoint cannot be read", where: `version ${version}` });
  }
  problems.push({
    kind: "log_entry",
    what: `the log begins with entry ${versions[0]}, and no checkpoint stands for those before`,
    where: "version 0",
  });
  return { version: -1, snapshot: null };
}

type Read = { readonly version: number; readonly commit: Commit | null; readonly error: string | null };

/** False when a commit was written after another entry than the one before it. */
function vouchesFor({ info }: Commit, previous: Read): boolean {
  const entry = previous.commit?.entry;
  if (info.previousSha256 === undefined || entry === undefined) return true;
  return createHash("sha256").update(entry).digest("hex") === info.previousSha256;
}

async function readOne(store: ObjectStore, version: number): Promise<Read> {
  try {
    return { version, commit: await readCommit(store, version), error: null };
  } catch (error) {
    if (error instanceof VarveError && error.code === "bad_log_entry")
      return { version, commit: null, error: error.message };
    throw error;
  }
}

async function* readEach(store: ObjectStore, versions: readonly number[]): AsyncGenerator<Read> {
  for (let start = 0; start < versions.length; start += READS_IN_FLIGHT)
    yield* await Promise.all(
      versions.slice(start, start + READS_IN_FLIGHT).map((version) => readOne(store, version)),
    );
}

/** Where what an entry says of a file does not agree with itself: readers prune by these. */
function* misplacedFiles(commit: Commit): Generator<string> {
  for (const action of commit.actions) {
    if (!("add" in action)) continue;
    const file = parseDataFile(action.add);
    if (file === null) continue;
    const { path, level, windowStartMs } = file;
    const named = parseDataKey(path);
    if (named !== null && (named.level !== level || named.windowStartMs !== windowStartMs))
      yield `${path} is tagged as level ${level}, window ${windowStartMs}: its name says otherwise`;
    if (action.add.partitionValues["dt"] !== dateOf(windowStartMs))
      yield `${path} is in partition ${action.add.partitionValues["dt"]}, its window in ${dateOf(windowStartMs)}`;
    if (file.minChangedMs < windowStartMs || file.maxChangedMs >= windowStartMs + LEVEL_MS[level])
      yield `${path} has statistics outside of its window`;
  }
}

async function compareCheckpoint(store: ObjectStore, snapshot: Snapshot, problems: Problem[]): Promise<void> {
  const where = `checkpoint ${snapshot.version}`;
  let summary: Snapshot | null;
  try {
    summary = await readCheckpointAt(store, snapshot.version);
  } catch (error) {
    problems.push({ kind: "checkpoint", what: `it cannot be read: ${describeError(error)}`, where });
    return;
  }
  if (summary === null) {
    problems.push({ kind: "checkpoint", what: "it is not whole", where });
    return;
  }
  for (const what of differences(snapshot, summary)) problems.push({ kind: "checkpoint", what, where });
}

function* differences(log: Snapshot, summary: Snapshot): Generator<string> {
  const paths = new Set([...log.files.keys(), ...summary.files.keys()]);
  for (const path of paths) {
    const [ours, theirs] = [log.files.get(path), summary.files.get(path)];
    if (ours === undefined) yield `it has ${path}, the entries up to it do not`;
    else if (theirs === undefined) yield `the entries up to it have ${path}, it does not`;
    else if (contentOf(ours) !== contentOf(theirs)) yield `it says other things of ${path} than its entry`;
  }
  if (JSON.stringify(log.log) !== JSON.stringify(summary.log))
    yield "its totals or watermark are not those of its entry";
  const shards = new Set([...log.shards.keys(), ...summary.shards.keys()]);
  for (const shard of shards) {
    if (JSON.stringify(log.shards.get(shard)) !== JSON.stringify(summary.shards.get(shard)))
      yield `it has another position of ${shard} than the entries up to it`;
  }
}

const contentOf = ({ add, ...file }: DataFile): string => JSON.stringify([file, add.stats]);
