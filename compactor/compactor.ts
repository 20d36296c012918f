/**
 * The compactor: reads a table's stream and commits it to the log. All its state is in the log; starting is
 * recovering.
 *
 * Lanes read shards and write data files; here their batches are committed, one after the other, and the shards
 * are handed out. When the log turns out to have moved under a lane's batch, the lane forgets what it has read
 * and resumes from the positions in the log. Merging, checkpoints and clean-up go on beside, never before, a
 * flush.
 */
import type { Clock } from "../shared/clock.ts";
import { hasPassed } from "../shared/clock.ts";
import { errorFields } from "../shared/errors.ts";
import type { Position } from "../shared/position.ts";
import type { Gap, Snapshot } from "../shared/snapshot.ts";
import { gapText } from "../shared/snapshot.ts";
import type { ObjectStore } from "../shared/store.ts";
import { deal } from "./deal.ts";
import type { Lane, LaneBatch } from "./lane.ts";
import {
  assertSameTable,
  childlessGaps,
  forgettableShards,
  missingParents,
  newShards,
  passedGaps,
  passedShards,
  readableShards,
  switchGaps,
} from "./lineage.ts";
import type { Merger } from "./merge.ts";
import { HEARTBEAT_MS, openMembership } from "./membership.ts";
import type { Metrics } from "./metrics.ts";
import type { CompactorLog, Patience } from "./patience.ts";
import { isPassing, openPatience } from "./patience.ts";
import { newGaps, planCommit } from "./plan.ts";
import type { ListedShard, Streams } from "./stream.ts";
import type { CommitBeside, CommitResult, Tip } from "./tip.ts";
import { openTip } from "./tip.ts";
import type { Upkeep } from "./upkeep.ts";

export type CompactorDeps = {
  readonly store: ObjectStore;
  readonly streams: Streams;
  readonly clock: Clock;
  readonly log: CompactorLog;
  readonly metrics: Metrics;
  /** This worker's name; by default one never used before. */
  readonly worker?: string | undefined;
  /** One a core. */
  readonly openLanes: (patience: Patience, stopping: AbortSignal) => Promise<readonly Lane[]>;
  /** Null: windows are left as they were flushed. */
  readonly merger: Merger | null;
  readonly upkeep: Upkeep;
  /** The table properties of a log that is made. */
  readonly configuration: Readonly<Record<string, string>>;
  readonly flushMs: number;
  readonly heartbeatMs: number;
};

const TICKS_PER_FLUSH = 20;
/**
 * An account has ten DescribeStream calls a second, and a listing takes one for every hundred shards. All workers
 * together use some of them: shards that end in numbers would otherwise each bring a listing of all.
 */
const LISTING_CALL_MS = 250;
const SHARDS_A_LISTING_CALL = 100;

/**
 * Runs until `signal` aborts; then commits what it has read, and returns. Throws when the table, its stream or
 * the changelog cannot be used at the start; later such faults are waited out.
 */
export async function runCompactor(deps: CompactorDeps, signal: AbortSignal): Promise<void> {
  try {
    const listed = await deps.streams.describe(signal);
    const tip = await openTip(deps, signal);
    assertSameTable(tip.snapshot(), listed);
    await runLanes(deps, tip, signal);
  } catch (error) {
    // A call that was cut short by the order to stop is not one that went wrong.
    if (!signal.aborted || !isPassing(error)) throw error;
  }
}

async function runLanes(deps: CompactorDeps, tip: Tip, signal: AbortSignal): Promise<void> {
  const { version, log } = tip.snapshot();
  deps.log.info("opened", { version, watermark_ms: log.watermarkMs });
  const stopping = new AbortController();
  const stop = () => stopping.abort();
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) stop();
  const patience = openPatience(deps.clock, deps.log, stopping.signal);
  const lanes = await deps.openLanes(patience, stopping.signal);
  const membership = openMembership(deps.store, deps.clock, deps.worker ?? deps.clock.uuid());
  /** When shards were listed, when they may be again, and whether something was committed since without a listing. */
  let [listedMs, pauseMs, listingOwed] = [0, 0, false];
  const isListable = (): boolean => hasPassed(deps.clock.nowMs(), listedMs, pauseMs);
  const discoverInTurn = async (): Promise<Discovered> => {
    listingOwed = !isListable();
    if (listingOwed) return NOTHING_FOUND;
    const beganMs = deps.clock.nowMs();
    const found = await discover(deps, tip.snapshot(), stopping.signal);
    const shards = Math.max(found.listed, tip.snapshot().shards.size);
    const calls = Math.ceil(shards / SHARDS_A_LISTING_CALL) * membership.workers().length;
    [listedMs, pauseMs] = [beganMs, calls * LISTING_CALL_MS];
    return found;
  };
  /** Commits a batch, and with it what the last discovery found. False when the log had moved under it. */
  const commitBatch = (batch: LaneBatch): Promise<CommitResult["kind"]> =>
    tip.exclusively(async () => {
      await patience.persist("reading the log's tip", () => tip.catchUp(patience.giveUp));
      const found = stopping.signal.aborted ? NOTHING_FOUND : await discoverInTurn();
      const newlyMet = newGaps(tip.snapshot(), found.gaps);
      const change = {
        files: batch.files,
        positions: batch.positions,
        found: found.positions,
        forgotten: found.forgotten,
        gaps: [...found.gaps, ...batch.gaps],
        discoveredMs: found.discoveredMs,
      };
      const outcome = await tip.commit(patience, (snapshot, identity) =>
        planCommit(snapshot, change, identity),
      );
      if (outcome.kind === "stale") deps.log.warn("a batch is read again", { why: outcome.why });
      if (outcome.kind !== "committed") return outcome.kind;
      deps.metrics.committed(tip.snapshot(), batch);
      deps.log.info("committed", commitFields(tip.snapshot(), batch));
      for (const gap of newlyMet) deps.log.warn(gapText(gap), { shard: gap.shard });
      return "committed";
    });

  const ownsAny = (): boolean =>
    [...readableShards(tip.snapshot().shards).keys(), "heartbeat"].some(membership.owns);

  let dealt: ReadonlyMap<string, number> = new Map();
  const assign = async (lane: Lane, index: number): Promise<void> => {
    if (stopping.signal.aborted) return;
    const readable = readableShards(tip.snapshot().shards);
    const owned = [...readable].filter(([shard]) => membership.owns(shard));
    dealt = deal(
      owned.map(([shard]) => shard),
      dealt,
      lanes.length,
    );
    await lane.assign(new Map(owned.filter(([shard]) => dealt.get(shard) === index)));
  };

  const runLane = async (lane: Lane, index: number): Promise<void> => {
    let committedAtMs = deps.clock.nowMs();
    let watermarkMoves = true;
    /** Ends the pause: of what is read meanwhile, more than a flush is due at once. */
    let waking = new AbortController();
    const wake = () => waking.abort();
    lane.onFull(wake);
    stopping.signal.addEventListener("abort", wake, { once: true });
    for (;;) {
      waking = new AbortController();
      const last = stopping.signal.aborted;
      if (last) await lane.stop();
      else await assign(lane, index);
      const beforeMs = tip.snapshot().log.watermarkMs;
      // Rows above the watermark are not visible yet, and wait for no heartbeat while it moves.
      const idleMs = watermarkMoves && hasRowsAbove(tip.snapshot()) ? deps.flushMs : deps.heartbeatMs;
      const idle = hasPassed(deps.clock.nowMs(), committedAtMs, idleMs) || (listingOwed && isListable());
      const batch = await lane.take(last || idle);
      if (batch !== null && (batch.positions.size > 0 || (index === 0 && membership.owns("heartbeat")))) {
        const outcome = await commitBatch(batch);
        if (outcome === "outrun") await quietly(deps.log, "resting", rest);
        if (outcome === "stale" || outcome === "outrun") await lane.reset();
      } else if (batch !== null) listingOwed = false;
      if (batch !== null) {
        committedAtMs = deps.clock.nowMs();
        watermarkMoves = batch.files.length > 0 || tip.snapshot().log.watermarkMs > beforeMs;
      }
      deps.metrics.buffered(index, lane.bufferedBytes());
      if (last || patience.giveUp.aborted) return;
      await deps.clock.sleep(deps.flushMs / TICKS_PER_FLUSH, waking.signal);
    }
  };

  const rest = async (): Promise<void> => {
    const ms = await membership.rest(stopping.signal);
    if (ms === 0) return;
    deps.log.warn("others commit faster than this worker can: its shards go to them for a while", { ms });
  };

  const runMembership = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      await quietly(deps.log, "the heartbeat", () => membership.beat(stopping.signal));
      deps.metrics.workers(membership.workers().length);
      await deps.clock.sleep(HEARTBEAT_MS, stopping.signal);
    }
    await quietly(deps.log, "leaving", () => membership.leave(patience.giveUp));
  };

  /** Apart from the signs of life, which must not wait for a commit that is under way. */
  const followLog = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      await quietly(deps.log, "reading the log's tip", async () => {
        await tip.exclusively(() => tip.catchUp(stopping.signal));
        deps.metrics.followed(tip.snapshot(), !ownsAny());
      });
      await deps.clock.sleep(HEARTBEAT_MS, stopping.signal);
    }
  };

  const runBeside = async (): Promise<void> => {
    /** Tries once: what fails is done again in its turn. */
    const impatient: Patience = { ...patience, persist: (_, work) => work() };
    const commit: CommitBeside = (plan) => tip.exclusively(() => tip.commit(impatient, plan));
    const { snapshot, forgetRemoved } = tip;
    const beside = { snapshot, forgetRemoved, owns: membership.owns, commit, signal: stopping.signal };
    while (!stopping.signal.aborted) {
      await quietly(deps.log, "upkeep", () => deps.upkeep.run(beside));
      if (deps.merger !== null)
        await quietly(deps.log, "merging", () => deps.merger?.run(beside) ?? Promise.resolve());
      await deps.clock.sleep(deps.flushMs, stopping.signal);
    }
  };

  try {
    await patience.persist("registering shards", () => commitBatch(NOTHING));
    await quietly(deps.log, "the heartbeat", () => membership.beat(stopping.signal));
    const running = [...lanes.map(runLane), runMembership(), followLog(), runBeside()];
    // One that fails for good stops the others, which commit what they have.
    for (const one of running) one.catch(stop);
    const settled = await Promise.allSettled(running);
    for (const one of settled) if (one.status === "rejected") throw one.reason;
  } finally {
    stop();
    signal.removeEventListener("abort", stop);
    await Promise.all(lanes.map((lane) => lane.stop()));
    patience.close();
  }
}

const hasRowsAbove = ({ files, log }: Snapshot): boolean =>
  files.values().some(({ maxChangedMs }) => maxChangedMs > log.watermarkMs);

const NOTHING: LaneBatch = { files: [], positions: new Map(), gaps: [], records: 0, rejectedRows: 0 };

type Discovered = {
  readonly listed: number;
  readonly positions: ReadonlyMap<string, Position>;
  readonly forgotten: readonly string[];
  readonly gaps: readonly Gap[];
  /** When the listing began; undefined when it was not complete. */
  readonly discoveredMs: number | undefined;
};
const NOTHING_FOUND: Discovered = {
  listed: 0,
  positions: new Map(),
  forgotten: [],
  gaps: [],
  discoveredMs: undefined,
};

/** What a listing of the shards changes in the log. One that fails only holds the watermark back. */
async function discover(deps: CompactorDeps, snapshot: Snapshot, signal: AbortSignal): Promise<Discovered> {
  const { streams, clock, log } = deps;
  const beganMs = clock.nowMs();
  try {
    const listed = await streams.describe(signal);
    assertSameTable(snapshot, listed);
    const { gone, ...left } = await lookFor(deps, missingParents(snapshot, listed), signal);
    const passed = await lookFor(deps, passedShards(snapshot, listed), signal);
    const positions = newShards(snapshot, listed, gone);
    const gaps = [...switchGaps(snapshot, positions, beganMs), ...passedGaps(passed.there, beganMs)];
    const missing = left.there.length + left.untold;
    // A stream that was just switched on may not list its shards yet.
    if (missing > 0 || listed.length === 0) {
      log.warn("the list of shards is not whole", { listed: listed.length, missing });
      return { ...NOTHING_FOUND, listed: listed.length, positions, gaps };
    }
    return {
      listed: listed.length,
      positions,
      forgotten: forgettableShards(snapshot, listed, beganMs),
      gaps: [...gaps, ...childlessGaps(snapshot, positions, beganMs)],
      discoveredMs: beganMs,
    };
  } catch (error) {
    log.warn("shard discovery failed", errorFields(error));
    return NOTHING_FOUND;
  }
}

/** Asks for shards by name. */
async function lookFor(
  { streams }: CompactorDeps,
  shards: readonly ListedShard[],
  signal: AbortSignal,
): Promise<{
  readonly gone: ReadonlySet<string>;
  readonly there: readonly string[];
  readonly untold: number;
}> {
  const gone = new Set<string>();
  const there: string[] = [];
  for (const { id, stream } of shards) {
    const { kind } = await streams.openIterator(stream, id, null, signal);
    if (kind === "gone" || kind === "trimmed") gone.add(id);
    else if (kind === "iterator") there.push(id);
  }
  return { gone, there, untold: shards.length - gone.size - there.length };
}

async function quietly(log: CompactorLog, what: string, work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    log.warn(`${what} failed`, errorFields(error));
  }
}

function commitFields(snapshot: Snapshot, batch: LaneBatch): Record<string, unknown> {
  return {
    version: snapshot.version,
    rows: batch.files.reduce((sum, { file }) => sum + file.totals.rows, 0),
    rows_total: snapshot.log.committed.rows,
    records: batch.records,
    bytes: batch.files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
    files: batch.files.length,
    gaps: snapshot.gaps.size,
    watermark_ms: snapshot.log.watermarkMs,
  };
}
