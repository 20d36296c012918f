/**
 * One world, from one seed: a table whose items change, its stream, a store, and compactors over them that crash,
 * are paused and wake up, with clocks that differ. Time is virtual, so a run is the same each time.
 */
import type { CompactorDeps } from "../../compactor/compactor.ts";
import { runCompactor } from "../../compactor/compactor.ts";
import type { Clock } from "../../shared/clock.ts";
import { VarveError } from "../../shared/errors.ts";
import { replay } from "../../shared/log.ts";
import type { Snapshot } from "../../shared/snapshot.ts";
import type { ListedObject, ObjectStore, PutOutcome } from "../../shared/store.ts";
import { T0 } from "../fakes/changes.ts";
import { virtualTime } from "../fakes/clock.ts";
import type { VirtualTime } from "../fakes/clock.ts";
import { jsonParquet } from "../fakes/parquet.ts";
import type { Random } from "../fakes/random.ts";
import { randomOf } from "../fakes/random.ts";
import type { MemoryStore, StoreFault } from "../fakes/store.ts";
import { faultyStore, memoryStore } from "../fakes/store.ts";
import type { FakeStreams, StreamFault } from "../fakes/streams.ts";
import { fakeStreams } from "../fakes/streams.ts";
import type { Truth } from "./truth.ts";
import { checkLog, emptyTruth } from "./truth.ts";
import { writeSomething } from "./workload.ts";

export type Plan = {
  readonly seed: number;
  readonly workers: number;
  /** How long items are written for. */
  readonly writingMs: number;
  /** Probabilities, each of one call. */
  readonly crash: number;
  readonly pause: number;
  readonly storeFault: number;
  readonly streamFault: number;
  /** Of one step of the writer. */
  readonly shardEnd: number;
  readonly outage: number;
  readonly switchOff: number;
  readonly listLagMaxMs: number;
  readonly skewMaxMs: number;
  /** The first worker dies at its n-th call to the outside, before it is made or after it was done. */
  readonly crashAt?: { readonly call: number; readonly when: "before" | "after" };
};

export type Result = {
  /** Empty: all is well. */
  readonly problems: readonly string[];
  readonly commits: number;
  readonly rows: number;
  readonly shards: number;
  /** Calls to the outside of the first worker, until it first ended. */
  readonly calls: number;
  readonly crashes: number;
  readonly virtualMs: number;
};

/** The plan that a seed stands for. */
export function planOf(seed: number): Plan {
  const random = randomOf(seed * 7919 + 1);
  const calm = random.chance(0.1);
  return {
    seed,
    workers: random.pick([1, 1, 2, 3]),
    writingMs: random.between(20_000, 90_000),
    crash: calm ? 0 : random.pick([0, 0.002, 0.01]),
    pause: calm ? 0 : random.pick([0, 0.002, 0.005]),
    storeFault: calm ? 0 : random.pick([0.02, 0.1, 0.3]),
    streamFault: calm ? 0 : random.pick([0.02, 0.1, 0.3]),
    shardEnd: random.pick([0, 0.02, 0.05]),
    outage: random.pick([0, 0, 0.02]),
    switchOff: random.pick([0, 0, 0, 0.01]),
    listLagMaxMs: random.pick([0, 2_000, 20_000]),
    skewMaxMs: random.pick([0, 1_000, 120_000]),
  };
}

const QUIET: Omit<Plan, "seed" | "writingMs"> = {
  workers: 1,
  crash: 0,
  pause: 0,
  storeFault: 0,
  streamFault: 0,
  shardEnd: 0.08,
  outage: 0,
  switchOff: 0,
  listLagMaxMs: 1_000,
  skewMaxMs: 0,
};

/** A short run in which nothing goes wrong but what `some` says. */
export const quietPlan = (some: Partial<Plan>): Plan => ({ ...QUIET, seed: 1, writingMs: 6_000, ...some });

const FLUSH_MS = 2_000;
/** All must be in the log this long after the last write and the last fault. */
const SETTLE_MAX_MS = 600_000;
/** A compactor that was told to stop must have ended by then. */
const STOP_MAX_MS = 20_000;

type World = {
  readonly plan: Plan;
  readonly time: VirtualTime;
  readonly random: Random;
  readonly disk: MemoryStore;
  readonly store: ObjectStore;
  readonly streams: FakeStreams;
  readonly truth: Truth;
  readonly problems: string[];
  /** While true, things go wrong. */
  chaos: boolean;
  outageEndMs: number;
  stopping: boolean;
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
    await writeItems(world);
    world.chaos = false;
    const deadlineMs = time.nowMs() + SETTLE_MAX_MS;
    do {
      await time.sleep(1_000);
      tip = (await replay(world.disk, tip))?.snapshot ?? null;
      if (time.nowMs() > deadlineMs) {
        problems.push(`not all was in the log ${SETTLE_MAX_MS} ms after the last write: ${missing(world, tip)}`);
        break;
      }
    } while (missing(world, tip) !== null && problems.length === 0);
    world.stopping = true;
    const stoppedAtMs = time.nowMs();
    const stopped = Promise.all(workers.map((worker) => worker.stop())).then(() => true);
    if (!(await Promise.race([stopped, time.sleep(STOP_MAX_MS + 1_000).then(() => false)]))) {
      problems.push(`a compactor had not stopped ${time.nowMs() - stoppedAtMs} ms after it was told to`);
    }
    problems.push(...(await checkLog(world.disk, world.truth)));
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
  const final = await replay(world.disk, null);
  return {
    problems,
    commits: final?.snapshot.version ?? 0,
    rows: final?.snapshot.live.rows ?? 0,
    shards: world.streams.shards.size,
    calls: world.firstCalls,
    crashes: world.crashes,
    virtualMs: time.nowMs() - T0,
  };
}

function makeWorld(plan: Plan): World {
  const random = randomOf(plan.seed);
  // A window's boundary is crossed soon after the start.
  const time = virtualTime(T0 + 285_000);
  const disk = memoryStore(time.nowMs);
  const storeRandom = random.fork();
  const streamRandom = random.fork();
  const world: World = {
    plan,
    time,
    random,
    disk,
    truth: emptyTruth(),
    problems: [],
    chaos: true,
    outageEndMs: 0,
    stopping: false,
    crashes: 0,
    firstCalls: 0,
    store: faultyStore(disk, {
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
      fault: (call) => {
        if (!world.chaos || !streamRandom.chance(plan.streamFault)) return null;
        if (call === "describe") return streamRandom.pick<StreamFault>(["failed", "partial", "partial"]);
        if (call === "openIterator") return "throttled";
        return streamRandom.pick<StreamFault>(["throttled", "expired", "empty", "repeated"]);
      },
    }),
  };
  return world;
}

function putFault(random: Random): StoreFault {
  const kind = random.pick(["lost", "unanswered", "late", "resent"] as const);
  return kind === "late" ? { kind, afterMs: random.between(100, 60_000) } : { kind };
}

async function writeItems(world: World): Promise<void> {
  const { plan, time, streams } = world;
  const random = world.random.fork();
  const endMs = time.nowMs() + plan.writingMs;
  while (time.nowMs() < endMs) {
    await time.sleep(random.between(20, 800));
    const writes = random.chance(0.03) ? random.between(20, 60) : random.between(0, 4);
    for (let write = 0; write < writes; write += 1) writeSomething(streams, world.truth, random);
    if (random.chance(plan.shardEnd)) streams.end(random.chance(0.5) ? 1 : 2);
    if (random.chance(plan.outage)) world.outageEndMs = time.nowMs() + random.between(1_000, 40_000);
    if (random.chance(plan.switchOff)) {
      streams.switchOff();
      await time.sleep(random.between(100, 5_000));
      streams.switchOn();
    }
  }
}

/** What the log does not hold yet, or null. */
function missing({ streams, time }: World, tip: Snapshot | null): string | null {
  if (tip === null) return "there is no log";
  for (const shard of streams.shards.values()) {
    const position = tip.shards.get(shard.id);
    if (position === undefined) return `${shard.id} is not known`;
    if (position.seq !== shard.last) return `${shard.id} is at ${position.seq}, not ${shard.last}`;
    if (shard.closed && !position.done) return `${shard.id} has ended, and is not done`;
  }
  const lagMs = time.nowMs() - tip.log.watermarkMs;
  return lagMs > 60_000 ? `the watermark lags by ${lagMs} ms` : null;
}

type Worker = { readonly stop: () => Promise<void> };

/** Keeps a compactor running: what dies is started again. */
function supervise(world: World, index: number): Worker {
  const { time } = world;
  const random = world.random.fork();
  const stopping = new AbortController();
  const life = async (): Promise<void> => {
    for (let start = 0; !world.stopping; start += 1) {
      const fate = await live(world, random.fork(), stopping.signal, index === 0 && start === 0);
      if (fate === "stopped") return;
      world.crashes += 1;
      await time.sleep(random.between(100, 8_000));
    }
  };
  const lived = life();
  return {
    stop: () => {
      stopping.abort();
      return lived;
    },
  };
}

const NEVER = new Promise<never>(() => {});

/** One process, from its start to its end. */
function live(world: World, random: Random, signal: AbortSignal, first: boolean): Promise<"stopped" | "crashed"> {
  const { plan, time } = world;
  const skewMs = random.between(-plan.skewMaxMs, plan.skewMaxMs);
  const names = random.fork();
  let dead = false;
  let pausedUntilMs = 0;
  let calls = 0;

  return new Promise((resolve) => {
    const die = (): Promise<never> => {
      dead = true;
      resolve("crashed");
      return NEVER;
    };
    /** Nothing comes back to a process that is dead; to one that is paused, once it wakes up. */
    const back = async (): Promise<void> => {
      while (!dead && time.nowMs() < pausedUntilMs) await time.sleep(pausedUntilMs - time.nowMs());
      if (dead) await NEVER;
    };
    const call = async <T>(work: () => Promise<T>, aborted: () => T, given?: AbortSignal): Promise<T> => {
      if (dead) return NEVER;
      calls += 1;
      if (first) world.firstCalls = calls;
      const { crashAt } = plan;
      const planned = first && crashAt?.call === calls ? crashAt.when : null;
      const chance = world.chaos && random.chance(plan.crash) ? random.pick(["before", "after"] as const) : null;
      if (world.chaos && random.chance(plan.pause)) pausedUntilMs = time.nowMs() + random.between(500, 90_000);
      await time.sleep(random.between(1, 40), given);
      await back();
      if (planned === "before" || chance === "before") return die();
      if (given?.aborted && random.chance(0.5)) return aborted();
      const done = work();
      done.catch(() => {});
      if (planned === "after" || chance === "after") {
        await done.catch(() => {});
        return die();
      }
      await time.sleep(random.between(1, 40), given);
      await back();
      return given?.aborted ? aborted() : done;
    };
    const cancelled = (): never => {
      throw new Error("the call was cancelled");
    };

    const clock: Clock = {
      nowMs: () => time.nowMs() + skewMs,
      uuid: names.uuid,
      random: names.next,
      sleep: async (ms, given) => {
        await time.sleep(ms, given);
        await back();
      },
    };
    const { store, streams } = world;
    const parquet = jsonParquet();
    const deps: CompactorDeps = {
      clock,
      store: {
        get: (key, given) => call(() => store.get(key, given), cancelled, given),
        put: (key, body, condition, given) =>
          call<PutOutcome>(
            () => store.put(key, body, condition, given),
            () => ({ kind: "unknown", cause: new Error("the call was cancelled") }),
            given,
          ),
        list: async function* (prefix, startAfter, given) {
          yield* await call(() => collect(store.list(prefix, startAfter, given)), cancelled, given);
        },
        delete: (key, given) => call(() => store.delete(key, given), cancelled, given),
      },
      streams: {
        describe: (given) => call(() => streams.describe(given), cancelled, given),
        openIterator: (arn, shard, after, given) =>
          call(() => streams.openIterator(arn, shard, after, given), () => ({ kind: "retry", why: "cancelled" }), given),
        getRecords: (iterator, given) =>
          call(() => streams.getRecords(iterator, given), () => ({ kind: "retry", why: "cancelled" }), given),
      },
      parquet: { ...parquet, write: (rows) => call(() => parquet.write(rows), cancelled) },
      checkpoint: async () => {},
      log: { info: () => {}, warn: () => {} },
      flushMs: FLUSH_MS,
      flushBytes: 2_000_000,
      heartbeatMs: 10_000,
      pollMinMs: 200,
      pollMaxMs: 1_000,
    };
    runCompactor(deps, signal).then(
      () => resolve("stopped"),
      (error: unknown) => {
        if (!isPassing(error)) world.problems.push(`a compactor failed: ${describe(error)}`);
        resolve("crashed");
      },
    );
  });
}

/** A compactor may end when it cannot open the log at its start: it is started again. */
const isPassing = (error: unknown): boolean =>
  error instanceof VarveError && (error.code === "store_unreadable" || error.code === "log_not_made");

const describe = (error: unknown): string =>
  error instanceof Error ? `${error.message}\n${error.stack ?? ""}` : String(error);

async function collect(listed: AsyncIterable<ListedObject>): Promise<ListedObject[]> {
  const objects: ListedObject[] = [];
  for await (const object of listed) objects.push(object);
  return objects;
}
