/**
 * Bootstrap: the items that a table held before its stream was read, as rows. A parallel scan beside the running
 * compactors, which take in the stream meanwhile.
 *
 * Laws
 * - The segments of the scan stand in the log as shards do. They hold the watermark where it was when the scan
 *   began, so that no reader sees a part of the table.
 * - A scan row stands right above that watermark, below every change read since: stream rows win.
 * - A segment's rows and where its scan goes on are one commit: a kill repeats and loses nothing.
 * - At the end, when every shard has passed the scan's end, scan rows whose key has a row from the stream go:
 *   an event stands once. Then the segments are done, and the watermark is free.
 */
import type { Clock } from "../shared/clock.ts";
import { VarveError } from "../shared/errors.ts";
import type { AttributeMap } from "../shared/item.ts";
import { loadSnapshot } from "../shared/log.ts";
import type { Position } from "../shared/position.ts";
import { BOOTSTRAP_STREAM } from "../shared/position.ts";
import { rowOf } from "../shared/row.ts";
import { parseSequence } from "../shared/sequence.ts";
import type { SequenceNumber } from "../shared/sequence.ts";
import type { DataFile, Snapshot } from "../shared/snapshot.ts";
import type { ObjectStore } from "../shared/store.ts";
import { turnstile } from "../shared/turnstile.ts";
import { LEVEL_MS, windowStartMs } from "../shared/window.ts";
import { dataKey } from "../shared/keys.ts";
import { putCommit } from "./committer.ts";
import type { OpenStage, Stage } from "./stage.ts";
import type { Change, CommitPlan, UploadedFile } from "./plan.ts";
import { planCommit } from "./plan.ts";
import type { Rewrite } from "./rewrite.ts";
import { planRewrite } from "./rewrite.ts";

/** Scan files are of the highest level: their keys differ, so that merging would make nothing of them less. */
const LEVEL = 3;
const ROWS_A_COMMIT = 100_000;
const BYTES_A_COMMIT = 64 * 1024 ** 2;
/** Of all segments together, before they are committed; a segment's page is up to a megabyte. */
const BYTES_HELD_MAX = 256 * 1024 ** 2;
const SCANS_MAX = 16;
const ATTEMPTS_MAX = 200;
const PAUSE_MS = 100;
const POLL_MS = 500;

export type ScanPage = {
  readonly items: readonly AttributeMap[];
  /** Where the segment goes on, JSON text; null at its end. */
  readonly cursor: string | null;
};

export type BootstrapDeps = {
  readonly store: ObjectStore;
  readonly clock: Clock;
  readonly openStage: OpenStage;
  readonly scan: (segment: number, segments: number, cursor: string | null) => Promise<ScanPage>;
  /** The table's key attributes. */
  readonly keyNames: readonly string[];
  /** Fixed when the scan begins; one that is resumed keeps its own. */
  readonly segments: number;
  /** Which scan rows a file of the stream makes superfluous; see seal.ts. */
  readonly repeats: (
    scanned: readonly DataFile[],
    streamed: readonly DataFile[],
  ) => Promise<readonly Rewrite[]>;
  readonly progress: (what: string, done: number) => void;
};

export type Bootstrapped = { readonly items: number; readonly repeated: number; readonly resumed: boolean };

const segmentName = (segment: number): string => `bootstrap-${String(segment).padStart(3, "0")}`;

export async function bootstrap(deps: BootstrapDeps, signal: AbortSignal): Promise<Bootstrapped> {
  const opened = await tip(deps.store);
  let resumed = segmentsOf(opened).length > 0;
  if (!resumed) {
    const streams = new Set([...opened.shards.values()].map(({ stream }) => stream));
    if (streams.has(BOOTSTRAP_STREAM)) {
      throw new VarveError(
        "bootstrapped",
        "this changelog was bootstrapped already.",
        "Nothing is left to do.",
      );
    }
    if (streams.size === 0) {
      throw new VarveError(
        "no_compactor",
        "no shard of the table's stream is in the log yet.",
        "Start `varve compactor` first: the stream must be taken in while the table is scanned.",
      );
    }
    resumed = (await register(deps)) === "stale";
  }
  const segments = segmentsOf(await tip(deps.store));
  const counts = new Map(segments.map(([name, { seq }]) => [name, Number(seq ?? 0)]));
  const counted = (name: string, count: number): void => {
    counts.set(name, count);
    deps.progress("items", itemsIn(counts));
  };
  const scanning: Scanning = {
    deps,
    segments: segments.length,
    counted,
    inTurn: turnstile(1),
    scanInTurn: turnstile(SCANS_MAX),
    signal,
  };
  await Promise.all(
    segments.map(([name, position], segment) => scanSegment(scanning, name, segment, position)),
  );
  if (signal.aborted) throw stopped();
  const repeated = await seal(deps, deps.clock.nowMs(), signal);
  return { items: itemsIn(counts), repeated, resumed };
}

const itemsIn = (counts: ReadonlyMap<string, number>): number =>
  [...counts.values()].reduce((sum, count) => sum + count, 0);

const stopped = (): VarveError =>
  new VarveError(
    "stopped",
    "the bootstrap was stopped.",
    "Run `varve bootstrap` again: it goes on where it was.",
  );

async function tip(store: ObjectStore, known?: Snapshot): Promise<Snapshot> {
  const snapshot = await loadSnapshot(store, known);
  if (snapshot !== null) return snapshot;
  throw new VarveError(
    "no_changelog",
    "there is no changelog at this address.",
    "Start `varve compactor` first.",
  );
}

/** In their order: a segment is known to the table by its number. */
const segmentsOf = ({ shards }: Snapshot): (readonly [string, Position])[] =>
  [...shards]
    .filter(([, { stream, done }]) => stream === BOOTSTRAP_STREAM && !done)
    .toSorted(([a], [b]) => (a < b ? -1 : 1));

/** From here on the watermark stands still until the scan is sealed. Stale: somebody else has begun one. */
async function register(deps: BootstrapDeps): Promise<"committed" | "stale"> {
  const begunMs = deps.clock.nowMs();
  return commit(deps, (snapshot, identity) => {
    if (segmentsOf(snapshot).length > 0) return { kind: "stale", why: "a scan has begun" };
    const at = Math.max(snapshot.log.watermarkMs, begunMs);
    const found = new Map<string, Position>();
    for (let segment = 0; segment < deps.segments; segment += 1) {
      found.set(segmentName(segment), {
        from: null,
        seq: null,
        at,
        parent: null,
        done: false,
        stream: BOOTSTRAP_STREAM,
      });
    }
    return planCommit(snapshot, { files: [], positions: new Map(), found, gaps: [] }, identity);
  });
}

type Scanning = {
  readonly deps: BootstrapDeps;
  readonly segments: number;
  /** How many items of a segment are in. */
  readonly counted: (name: string, count: number) => void;
  /** Segments would only meet each other at the log's end. */
  readonly inTurn: ReturnType<typeof turnstile>;
  readonly scanInTurn: ReturnType<typeof turnstile>;
  readonly signal: AbortSignal;
};

const isScanned = ({ seq, cursor }: Position): boolean => seq !== null && cursor === undefined;

async function scanSegment(
  scanning: Scanning,
  name: string,
  segment: number,
  start: Position,
): Promise<void> {
  const { deps, inTurn, signal } = scanning;
  let position = start;
  while (!isScanned(position) && !signal.aborted) {
    const stage = deps.openStage();
    try {
      const { next, count } = await fill(scanning, stage, name, segment, position);
      const file = count === 0 ? null : await upload(deps, stage, start.at);
      const change: Change = {
        files: file === null ? [] : [file],
        positions: new Map([[name, next]]),
        gaps: [],
      };
      const isIn = ({ files }: Snapshot) => file !== null && files.has(file.path);
      const outcome = await inTurn(() =>
        commit(deps, (snapshot, identity) => planCommit(snapshot, change, identity), isIn),
      );
      if (outcome === "committed") position = next;
      else {
        // Somebody else scans too, and has come further.
        const there = (await tip(deps.store)).shards.get(name);
        if (there === undefined || there.done) return;
        position = there;
        scanning.counted(name, Number(there.seq ?? 0));
      }
    } finally {
      stage.close();
    }
  }
}

/** Scans a commit's worth of a segment into a stage. */
async function fill(
  { deps, segments, counted, scanInTurn, signal }: Scanning,
  stage: Stage,
  name: string,
  segment: number,
  position: Position,
): Promise<{ readonly next: Position; readonly count: number }> {
  const before = Number(position.seq ?? 0);
  const bytesMax = Math.min(BYTES_A_COMMIT, BYTES_HELD_MAX / segments);
  let [count, bytes] = [before, 0];
  let cursor = position.cursor ?? null;
  do {
    const page = await scanInTurn(() => deps.scan(segment, segments, cursor));
    for (const item of page.items) bytes += add(stage, item, deps.keyNames, name, (count += 1), position.at);
    ({ cursor } = page);
    counted(name, count);
  } while (cursor !== null && count - before < ROWS_A_COMMIT && bytes < bytesMax && !signal.aborted);
  // Not done before it is sealed: it goes on holding the watermark.
  const next: Position = {
    ...withoutCursor(position),
    from: position.seq,
    seq: sequence(count),
    ...(cursor === null ? {} : { cursor }),
  };
  return { next, count: count - before };
}

function withoutCursor({ from, seq, at, parent, done, stream }: Position): Position {
  return { from, seq, at, parent, done, stream };
}

function sequence(count: number): SequenceNumber {
  const parsed = parseSequence(String(count));
  if (parsed === null) throw new Error(`${count} is not a sequence number`);
  return parsed;
}

/** Adds an item's row; gives its size. */
function add(
  stage: Stage,
  item: AttributeMap,
  keyNames: readonly string[],
  name: string,
  count: number,
  heldMs: number,
): number {
  const keys = Object.fromEntries(keyNames.map((key) => [key, item[key] ?? { NULL: true }]));
  const record = {
    eventName: "INSERT",
    dynamodb: { Keys: keys, NewImage: item, SequenceNumber: String(count) },
  };
  const row = rowOf(record, sequence(count), name, heldMs, heldMs);
  if (row === null) return 0;
  stage.add(row);
  return row.key.length + (row.image?.length ?? 0);
}

async function upload(deps: BootstrapDeps, stage: Stage, heldMs: number): Promise<UploadedFile> {
  const start = windowStartMs(LEVEL, heldMs + 1);
  const { bytes, ...file } = await stage.write(start, start + LEVEL_MS[LEVEL]);
  const path = dataKey(LEVEL, start, deps.clock.uuid());
  const put = await deps.store.put(path, bytes, { kind: "always" });
  if (put.kind !== "stored")
    throw put.kind === "unknown" ? put.cause : new Error(`the store refused ${path}`);
  return {
    path,
    level: LEVEL,
    windowStartMs: start,
    sizeBytes: bytes.byteLength,
    minChangedMs: heldMs + 1,
    file,
  };
}

/**
 * Waits until the stream has passed the scan's end, drops what it has made superfluous, and frees the watermark.
 *
 * A shard's watermark is of its worker's clock. So it has to pass not only the end by this clock, but also the log's
 * time after the shard's position has moved since: by then its worker's clock had come to no more.
 */
async function seal(deps: BootstrapDeps, scanEndedMs: number, signal: AbortSignal): Promise<number> {
  const atEnd = await tip(deps.store);
  let snapshot = atEnd;
  const passMs = new Map<string, number>();
  for (;;) {
    let behind = 0;
    for (const [shard, { stream, done, at }] of snapshot.shards) {
      if (stream === BOOTSTRAP_STREAM || done) continue;
      if (!passMs.has(shard) && at !== atEnd.shards.get(shard)?.at)
        passMs.set(shard, Math.max(scanEndedMs, snapshot.log.committedMs));
      if (at <= (passMs.get(shard) ?? Infinity)) behind += 1;
    }
    deps.progress("shards that have not passed the scan's end", behind);
    if (behind === 0) break;
    if (signal.aborted) throw stopped();
    await deps.clock.sleep(POLL_MS, signal);
    snapshot = await tip(deps.store, snapshot);
  }
  let repeated = 0;
  const ours = new Set(segmentsOf(snapshot).map(([name]) => name));
  const heldMs = Math.max(0, ...segmentsOf(snapshot).map(([, { at }]) => at));
  const isOfScan = (file: DataFile) =>
    file.level === LEVEL && file.minChangedMs === heldMs + 1 && file.maxChangedMs === heldMs + 1;
  for (;;) {
    const files = [...snapshot.files.values()];
    const rewrites = await deps.repeats(
      files.filter(isOfScan),
      files.filter((file) => !isOfScan(file)),
    );
    const outcome = await commit(deps, (now, identity) =>
      rewrites.length === 0 ? free(now, ours, identity) : planRewrite(now, rewrites, identity, "superseded"),
    );
    if (outcome === "stale") {
      snapshot = await tip(deps.store, snapshot);
      continue;
    }
    repeated += rewrites.reduce((sum, { dropped }) => sum + dropped.rows, 0);
    if (rewrites.length === 0) return repeated;
    snapshot = await tip(deps.store, snapshot);
  }
}

function free(
  snapshot: Snapshot,
  names: ReadonlySet<string>,
  identity: { txnId: string; nowMs: number },
): CommitPlan {
  const positions = new Map<string, Position>();
  for (const [name, position] of snapshot.shards) {
    if (names.has(name)) positions.set(name, { ...withoutCursor(position), from: position.seq, done: true });
  }
  return planCommit(snapshot, { files: [], positions, gaps: [] }, identity);
}

type Planner = (snapshot: Snapshot, identity: { txnId: string; nowMs: number }) => CommitPlan;

/** Commits beside running compactors: plans again on what they commit meanwhile. */
async function commit(
  deps: BootstrapDeps,
  plan: Planner,
  isIn: (snapshot: Snapshot) => boolean = () => false,
): Promise<"committed" | "stale"> {
  const mine = new Set<string>();
  let known: Snapshot | undefined;
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt += 1) {
    if (attempt > 0) await deps.clock.sleep(PAUSE_MS * (0.5 + deps.clock.random()));
    const readMs = deps.clock.nowMs();
    known = await tip(deps.store, known);
    const identity = { txnId: deps.clock.uuid(), nowMs: deps.clock.nowMs() };
    const planned = plan(known, identity);
    // A put whose outcome was unknown may have landed.
    if (planned.kind === "stale") return isIn(known) ? "committed" : "stale";
    mine.add(identity.txnId);
    const outcome = await putCommit(deps.store, planned.commit, deps.clock, readMs);
    if (outcome.kind === "committed") return "committed";
    if (outcome.kind === "conflicted" && mine.has(outcome.by.info.txnId)) return "committed";
  }
  throw new VarveError(
    "not_committed",
    `nothing could be committed in ${ATTEMPTS_MAX} attempts: others always came first, or the store did not answer.`,
    "Nothing is lost; run `varve bootstrap` again.",
  );
}
