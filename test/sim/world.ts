/**
 * One world, from one seed: a table whose items change, its stream, a store, and compactors over them that crash,
 * are paused and wake up, with clocks that differ. Time is virtual, so a run is the same each time.
 */
import { createHash } from "node:crypto";
import { cleanLog } from "../../compactor/upkeep.ts";
import { vacuum } from "../../compactor/vacuum.ts";
import { parseLogKey } from "../../shared/keys.ts";
import { loadSnapshot, replay } from "../../shared/log.ts";
import { compareSequence, parseSequence } from "../../shared/sequence.ts";
import type { Snapshot } from "../../shared/snapshot.ts";
import type { ObjectStore } from "../../shared/store.ts";
import { T0 } from "../fakes/changes.ts";
import { virtualTime } from "../fakes/clock.ts";
import type { VirtualTime } from "../fakes/clock.ts";
import type { Random } from "../fakes/random.ts";
import { randomOf } from "../fakes/random.ts";
import type { MemoryStore, StoreFault } from "../fakes/store.ts";
import { faultyStore, memoryStore } from "../fakes/store.ts";
import type { FakeStreams, StreamFault } from "../fakes/streams.ts";
import { fakeStreams } from "../fakes/streams.ts";
import type { Worker } from "./process.ts";
import { supervise } from "./process.ts";
import type { Lost, Truth } from "./truth.ts";
import { checkLog, emptyTruth } from "./truth.ts";
import { writeSomething } from "./workload.ts";

export type Plan = {
  readonly seed: number;
  readonly workers: number;
  /** In each worker. */
  readonly lanes: number;
  /** Calls to GetRecords under way at once, in a lane. */
  readonly answersMax: number;
  /** How long items are written for. */
  readonly writingMs: number;
  /** Probabilities, each of one call. */
  readonly crash: number;
  readonly pause: number;
  readonly pauseMaxMs: number;
  /** How long log entries are kept. Null: for ever. */
  readonly logRetentionMs: number | null;
  readonly storeFault: number;
  readonly streamFault: number;
  /** Of one step of the writer. */
  readonly shardEnd: number;
  readonly outage: number;
  readonly switchOff: number;
  /** Every compactor is told to stop and started again, while the store does not answer. */
  readonly restart: number;
  readonly listLagMaxMs: number;
  /** How long a shard's records are kept once the log has some of it. Null: to the end. */
  readonly keptMs: number | null;
  readonly skewMaxMs: number;
  /** Of one process: that its clock jumps by hours, and is set right again. */
  readonly jump: number;
  /** How much longer than the others' the first worker's commits are on their way. */
  readonly slowMs: number;
  /** The stream says all it has when it is asked, and clocks agree: the watermark is then true of time. */
  readonly prompt: boolean;
  /** The first worker dies at its n-th call to the outside, before it is made or after it was done. */
  readonly crashAt?: { readonly call: number; readonly when: "before" | "after" };
};

export type Result = {
  /** Empty: all is well. */
  readonly problems: readonly string[];
  readonly commits: number;
  /** Log entries that clean-up deleted. */
  readonly cleaned: number;
  readonly rows: number;
  readonly shards: number;
  /** Calls to the outside of the first worker, until it first ended. */
  readonly calls: number;
  readonly crashes: number;
  readonly virtualMs: number;
  /** Of everything that is in the store. */
  readonly digest: string;
};

/** The plan that a seed stands for. */
export function planOf(seed: number): Plan {
  const random = randomOf(seed * 7919 + 1);
  const calm = random.chance(0.1);
  const cleaned = random.chance(0.15);
  const prompt = seed % 3 === 0;
  const skewMaxMs = prompt ? 0 : random.pick([0, 1_000, 120_000]);
  const workers = random.pick([1, 1, 2, 3]);
  const logRetentionMs = cleaned ? 100_000 + 3 * skewMaxMs : null;
  return {
    seed,
    workers,
    lanes: random.pick([1, 1, 2]),
    writingMs: cleaned ? random.between(120_000, 240_000) : random.between(20_000, 90_000),
    crash: calm ? 0 : random.pick([0, 0.002, 0.01]),
    pause: calm ? 0 : random.pick([0, 0.002, 0.005]),
    storeFault: calm ? 0 : random.pick([0.02, 0.1, 0.3]),
    streamFault: calm ? 0 : random.pick([0.02, 0.1, 0.3]),
    shardEnd: random.pick([0, 0.02, 0.05]),
    outage: random.pick([0, 0, 0.02]),
    switchOff: random.pick([0, 0, 0, 0.01]),
    restart: random.pick([0, 0, 0.01]),
    pauseMaxMs: cleaned ? 400_000 : 90_000,
    logRetentionMs,
    listLagMaxMs: random.pick([0, 2_000, 20_000]),
    skewMaxMs,
    slowMs: workers > 1 ? random.pick([0, 0, 6_000]) : 0,
    prompt,
    answersMax: random.pick([1, 2, 32]),
    keptMs: prompt ? null : random.pick([null, null, 8_000, 30_000]),
    jump: prompt || calm ? 0 : random.pick([0, 0.5]),
  };
}

const QUIET: Omit<Plan, "seed" | "writingMs"> = {
  workers: 1,
  lanes: 1,
  answersMax: 32,
  crash: 0,
  pause: 0,
  pauseMaxMs: 0,
  logRetentionMs: null,
  storeFault: 0,
  streamFault: 0,
  shardEnd: 0.08,
  outage: 0,
  switchOff: 0,
  restart: 0,
  listLagMaxMs: 1_000,
  keptMs: null,
  skewMaxMs: 0,
  jump: 0,
  slowMs: 0,
  prompt: true,
};

/** A short run in which nothing goes wrong but what `some` says. */
export const quietPlan = (some: Partial<Plan>): Plan => ({ ...QUIET, seed: 1, writingMs: 15_000, ...some });

const DESCRIBE_FAULTS: readonly StreamFault[] = ["failed", "partial", "partial", "stale"];
const PROMPT_FAULTS: readonly StreamFault[] = ["throttled", "expired", "repeated"];
const GET_FAULTS: readonly StreamFault[] = [...PROMPT_FAULTS, "empty"];

/** A window's boundary is crossed soon after the start. */
const START_MS = T0 + 285_000;
/** All must be in the log this long after the last write and the last fault. */
const SETTLE_MAX_MS = 600_000;
/** A slow worker commits a few records at a time, for it may hold no more here. */
const SLOW_SETTLE_MAX_MS = 3 * SETTLE_MAX_MS;
/** A compactor that was told to stop must have ended by then. */
const STOP_MAX_MS = 20_000;

export type World = {
  readonly plan: Plan;
  readonly time: VirtualTime;
  readonly random: Random;
  readonly disk: MemoryStore;
  /** Every log entry and file that ever was, as it was first stored. */
  readonly archive: MemoryStore;
  readonly store: ObjectStore;
  readonly streams: FakeStreams;
  readonly truth: Truth;
  readonly problems: string[];
  /** While true, things go wrong. */
  chaos: boolean;
  /** While true, no process is paused. */
  calm: boolean;
  outageEndMs: number;
  stopping: boolean;
  /** Until when a process is paused, at most. */
  pauseEndMs: number;
  crashes: number;
  firstCalls: number;
};

export async function simulate(plan: Plan): Promise<Result> {
  const world = makeWorld(plan);
  const { time, problems } = world;
  const workers = Array.from({ length: plan.workers }, (_, index) => supervise(world, index));
  let tip: Snapshot | null = null;
  let ended = false;
  const story = async (): Promise<void> => {
    await writeItems(world, workers);
    world.chaos = false;
    const settleMaxMs = plan.slowMs > 0 ? SLOW_SETTLE_MAX_MS : SETTLE_MAX_MS;
    const deadlineMs = time.nowMs() + settleMaxMs;
    do {
      await time.sleep(1_000);
      tip = (await replay(world.archive, tip))?.snapshot ?? null;
      if (time.nowMs() > deadlineMs) {
        problems.push(
          `not all was in the log ${settleMaxMs} ms after the last write: ${missing(world, tip)}`,
        );
        break;
      }
    } while (missing(world, tip) !== null && problems.length === 0);
    await time.sleep(world.pauseEndMs - time.nowMs());
    world.stopping = true;
    await restart(world, workers);
    const final = (await replay(world.archive, null))?.snapshot ?? null;
    problems.push(...checkGaps(world, final));
    problems.push(...(await checkLog(world.archive, world.truth, plan.prompt, lostOf(world, final))));
    if (problems.length === 0) problems.push(...(await checkOpened(world, final)));
  };
  const done = story().then(
    () => (ended = true),
    (error: unknown) => {
      problems.push(`the simulation failed: ${error instanceof Error ? error.stack : String(error)}`);
      ended = true;
    },
  );
  await time.run(() => ended, 24 * 3_600_000).catch((error: unknown) => problems.push(String(error)));
  if (ended) await done;
  const final = await replay(world.archive, null);
  return {
    problems,
    commits: final?.snapshot.version ?? 0,
    cleaned: [...world.archive.objects.keys()].filter(
      (key) => parseLogKey(key) !== null && !world.disk.objects.has(key),
    ).length,
    rows: final?.snapshot.live.rows ?? 0,
    shards: world.streams.shards.size,
    calls: world.firstCalls,
    crashes: world.crashes,
    virtualMs: time.nowMs() - START_MS,
    digest: digestOf(world.disk),
  };
}

/** What was trimmed, and stands after a gap of its shard: it may have been lost. */
function lostOf({ streams }: World, tip: Snapshot | null): Lost {
  const gaps = Map.groupBy(tip?.gaps.values() ?? [], ({ shard }) => shard);
  return ({ shard, seq }) => {
    const { records = [], trimmed = 0 } = streams.shards.get(shard) ?? {};
    const index = records.findIndex((record) => record.dynamodb.SequenceNumber === seq);
    const isAfter = (after: string | null): boolean => compareSequence(parseSequence(after ?? ""), seq) < 0;
    return index < trimmed && (gaps.get(shard) ?? []).some(({ after }) => isAfter(after));
  };
}

/** A stream that was switched on again is a gap, and so is what was trimmed before it was read; nothing else is. */
function checkGaps({ streams }: World, tip: Snapshot | null): string[] {
  const problems: string[] = [];
  const [, ...later] = new Set([...streams.shards.values()].map(({ stream }) => stream));
  const switched = new Set<string>();
  for (const { shard, reason } of tip?.gaps.values() ?? []) {
    const { stream = "", trimmed = 0 } = streams.shards.get(shard) ?? {};
    if (reason.includes("switched off and on")) switched.add(stream);
    else if (trimmed === 0)
      problems.push(`there is a gap in ${shard}, and nothing of it was trimmed: ${reason}`);
  }
  for (const stream of later) {
    if (!switched.has(stream)) problems.push(`there is no gap before ${stream}`);
    switched.delete(stream);
  }
  if (switched.size > 0) problems.push(`there are gaps before ${[...switched].join(", ")}`);
  return problems;
}

/**
 * Who opens the log as it lies there now, by its checkpoint, finds what its whole history comes to. It has no hole,
 * once clean-up has taken what landed late where it had been before; and what it names is there, whatever is vacuumed.
 */
async function checkOpened({ disk, plan, time }: World, whole: Snapshot | null): Promise<string[]> {
  const problems: string[] = [];
  if (plan.logRetentionMs !== null) await cleanLog(disk, time.nowMs() - plan.logRetentionMs);
  const opened = await loadSnapshot(disk);
  const [found, wanted] = [opened, whole].map((some) =>
    JSON.stringify([some?.version, some?.log, Object.fromEntries(some?.shards ?? []), some?.files.size]),
  );
  if (found !== wanted) problems.push(`the log opens as ${found}; its history comes to ${wanted}`);
  const keys = [...disk.objects.keys()].map(parseLogKey).filter((key) => key !== null);
  const entries = keys.filter(({ kind }) => kind === "commit");
  const versions = entries.map(({ version }) => version).toSorted((a, b) => a - b);
  const hole = versions.find((version, index) => index > 0 && version !== (versions[index - 1] ?? 0) + 1);
  if (hole !== undefined) problems.push(`log entry ${hole - 1} is missing`);
  if (opened === null) return problems;
  const nowMs = time.nowMs() + 1;
  await vacuum(disk, opened, { removedBeforeMs: nowMs, orphanBeforeMs: nowMs, dryRun: false });
  for (const path of opened.files.keys()) if (!disk.objects.has(path)) problems.push(`${path} was deleted`);
  return problems;
}

function digestOf({ objects }: MemoryStore): string {
  const hash = createHash("sha256");
  for (const key of [...objects.keys()].toSorted()) hash.update(key).update(objects.get(key)?.body ?? "");
  return hash.digest("hex");
}

function makeWorld(plan: Plan): World {
  const random = randomOf(plan.seed);
  const time = virtualTime(START_MS);
  const disk = memoryStore(time.nowMs);
  const archive = memoryStore(time.nowMs);
  const archived: ObjectStore = {
    ...disk,
    put: async (key, body, condition) => {
      const outcome = await disk.put(key, body, condition);
      if (outcome.kind === "stored") await archive.put(key, body, { kind: "if-absent" });
      return outcome;
    },
  };
  const storeRandom = random.fork();
  const streamRandom = random.fork();
  const world: World = {
    plan,
    time,
    random,
    disk,
    archive,
    truth: emptyTruth(),
    problems: [],
    chaos: true,
    calm: false,
    outageEndMs: 0,
    stopping: false,
    pauseEndMs: 0,
    crashes: 0,
    firstCalls: 0,
    store: faultyStore(archived, {
      sleep: time.sleep,
      next: (call) => {
        if (time.nowMs() < world.outageEndMs) return { kind: "lost" };
        if (!world.chaos || !storeRandom.chance(plan.storeFault)) return null;
        return call === "put" ? putFault(storeRandom) : { kind: "lost" };
      },
    }),
    streams: fakeStreams({
      nowMs: time.nowMs,
      random: streamRandom,
      pageMax: streamRandom.between(2, 10),
      listLagMaxMs: plan.listLagMaxMs,
      prompt: plan.prompt,
      fault: (call) => {
        if (!world.chaos || !streamRandom.chance(plan.streamFault)) return null;
        if (call === "describe") return plan.prompt ? "failed" : streamRandom.pick(DESCRIBE_FAULTS);
        if (call === "openIterator") return "throttled";
        return streamRandom.pick(plan.prompt ? PROMPT_FAULTS : GET_FAULTS);
      },
    }),
  };
  return world;
}

function putFault(random: Random): StoreFault {
  const kind = random.pick(["lost", "unanswered", "late", "resent"] as const);
  return kind === "late" ? { kind, afterMs: random.between(100, 60_000) } : { kind };
}

async function writeItems(world: World, workers: readonly Worker[]): Promise<void> {
  const { plan, time, streams } = world;
  const random = world.random.fork();
  const endMs = time.nowMs() + plan.writingMs;
  let tip: Snapshot | null = null;
  while (time.nowMs() < endMs) {
    await time.sleep(random.between(20, 800));
    if (plan.keptMs !== null) {
      tip = (await replay(world.archive, tip))?.snapshot ?? null;
      for (const [shard, { seq }] of tip?.shards ?? [])
        if (seq !== null) streams.trimShard(shard, time.nowMs() - plan.keptMs);
    }
    const writes = random.chance(0.03) ? random.between(20, 60) : random.between(0, 4);
    for (let write = 0; write < writes; write += 1) writeSomething(streams, world.truth, random);
    if (random.chance(plan.shardEnd)) streams.end(random.chance(0.5) ? 1 : 2);
    if (random.chance(plan.outage)) world.outageEndMs = time.nowMs() + random.between(1_000, 40_000);
    if (random.chance(plan.restart) && time.nowMs() >= world.pauseEndMs) {
      world.outageEndMs = time.nowMs() + random.between(1_000, 40_000);
      world.calm = true;
      await restart(world, workers);
      world.calm = false;
    }
    if (random.chance(plan.switchOff)) {
      streams.switchOff();
      // The list of a stream is whole by the time that another can be switched on.
      await time.sleep(plan.listLagMaxMs + random.between(100, 5_000));
      streams.switchOn();
    }
  }
}

/** Tells every compactor to stop, and looks that it does in time. */
async function restart({ time, problems }: World, workers: readonly Worker[]): Promise<void> {
  const stopped = Promise.all(workers.map((worker) => worker.stop())).then(() => true);
  if (await Promise.race([stopped, time.sleep(STOP_MAX_MS).then(() => false)])) return;
  problems.push(`a compactor had not stopped ${STOP_MAX_MS} ms after it was told to`);
}

/** What the log does not hold yet, or null. */
function missing({ plan, streams, time }: World, tip: Snapshot | null): string | null {
  if (tip === null) return "there is no log";
  for (const shard of streams.shards.values()) {
    const position = tip.shards.get(shard.id);
    if (position === undefined) return `${shard.id} is not known`;
    const isLost =
      shard.trimmed === shard.records.length &&
      tip.gaps.values().some((gap) => gap.shard === shard.id && gap.after === position.seq);
    if (position.seq !== shard.last && !isLost) return `${shard.id} is at ${position.seq}, not ${shard.last}`;
    if (shard.closed && !position.done) return `${shard.id} has ended, and is not done`;
  }
  const lagMs = time.nowMs() - tip.log.watermarkMs;
  return lagMs > 60_000 + plan.skewMaxMs ? `the watermark lags by ${lagMs} ms` : null;
}
