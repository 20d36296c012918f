/** A compactor as a process: it dies at its calls to the outside, is paused and wakes up, and is started again. */
import type { CompactorDeps } from "../../compactor/compactor.ts";
import { runCompactor } from "../../compactor/compactor.ts";
import type { OpenStage } from "../../compactor/stage.ts";
import type { IteratorOutcome, PageOutcome } from "../../compactor/stream.ts";
import type { Upkeep } from "../../compactor/upkeep.ts";
import { openUpkeep } from "../../compactor/upkeep.ts";
import type { Clock } from "../../shared/clock.ts";
import { VarveError } from "../../shared/errors.ts";
import { parseLogKey } from "../../shared/keys.ts";
import type { ListedObject, ObjectStore, PutOutcome } from "../../shared/store.ts";
import { compactorDeps } from "../fakes/compactor.ts";
import { jsonStage } from "../fakes/parquet.ts";
import type { Random } from "../fakes/random.ts";
import type { World } from "./world.ts";

const FLUSH_MS = 2_000;
/** How long a call waits for a store that does not answer. */
const TIMEOUT_MS = 30_000;
/** Crashes and pauses are more likely at a commit by this: there they do most harm. */
const COMMIT_RISK = 8;
const CLEAN_EVERY_MS = 20_000;
/** Longer than any process is paused with a commit in its hands, and that commit then on its way. */
const ORPHAN_AGE_MS = 900_000;
const JUMP_MAX_MS = 3 * 3_600_000;
/** A clock that has jumped is set right again within this time. */
const JUMPED_MAX_MS = 20_000;

export type Worker = {
  /** Tells the process to stop; resolves when it has. Unless the world is stopping, another is started. */
  readonly stop: () => Promise<void>;
};

/** Keeps a compactor running: what dies is started again. */
export function supervise(world: World, index: number): Worker {
  const random = world.random.fork();
  let stopping = new AbortController();
  let running: Promise<unknown> = Promise.resolve();
  const life = async (): Promise<void> => {
    for (let start = 0; !world.stopping; start += 1) {
      stopping = new AbortController();
      const fate = live(
        world,
        random.fork(),
        stopping.signal,
        index === 0 && start === 0,
        index === 0 ? world.plan.slowMs : 0,
      );
      running = fate;
      if ((await fate) === "crashed") world.crashes += 1;
      if (!world.stopping) await world.time.sleep(random.between(100, 8_000));
    }
  };
  void life();
  return {
    stop: async () => {
      stopping.abort();
      await running;
    },
  };
}

/** A promise of its own each time: what waits for it can then be forgotten. */
const never = (): Promise<never> => new Promise(() => {});
const CANCELLED = new Error("the call was cancelled");
const cancelled = (): never => {
  throw CANCELLED;
};

type State = { dead: boolean; pausedUntilMs: number; calls: number };

/** One process, from its start to its end. */
function live(
  world: World,
  random: Random,
  signal: AbortSignal,
  first: boolean,
  commitMs: number,
): Promise<"stopped" | "crashed"> {
  const { plan, time } = world;
  const state: State = { dead: false, pausedUntilMs: 0, calls: 0 };

  return new Promise((resolve) => {
    const die = (): Promise<never> => {
      state.dead = true;
      resolve("crashed");
      return never();
    };
    const call: Call = async (work, aborted, given, to = "stream") => {
      if (state.dead) return never();
      state.calls += 1;
      if (first) world.firstCalls = state.calls;
      const risk = to === "commit" ? COMMIT_RISK : 1;
      const death = deathAt(world, state, random, first, risk);
      const mayPause = (): boolean => world.chaos && !world.calm;
      const pause = mayPause() && random.chance(plan.pause * risk);
      const pauseFirst = random.chance(0.5);
      if (pause && pauseFirst) pauseProcess(world, state, random);
      const outage = to !== "stream" && time.nowMs() < world.outageEndMs;
      const onItsWayMs = random.between(1, 40) + (to === "commit" ? commitMs : 0);
      await time.sleep(outage ? TIMEOUT_MS : onItsWayMs, given);
      await awake(world, state);
      if (death === "before") return die();
      if (given?.aborted && death === null && random.chance(0.5)) return aborted();
      const done = work();
      done.catch(() => {});
      if (pause && !pauseFirst && mayPause()) pauseProcess(world, state, random);
      if (death === "after") {
        await done.catch(() => {});
        return die();
      }
      await time.sleep(random.between(1, 40), given);
      await awake(world, state);
      return given?.aborted ? aborted() : done;
    };
    runCompactor(depsOf(world, state, random.fork(), call), signal).then(
      () => resolve("stopped"),
      (error: unknown) => {
        if (!isPassing(error)) world.problems.push(`a compactor failed: ${describe(error)}`);
        resolve("crashed");
      },
    );
  });
}

function deathAt({ plan, chaos }: World, { calls }: State, random: Random, first: boolean, risk: number) {
  if (first && plan.crashAt?.call === calls) return plan.crashAt.when;
  return chaos && random.chance(plan.crash * risk) ? random.pick(["before", "after"] as const) : null;
}

function pauseProcess(world: World, state: State, random: Random): void {
  state.pausedUntilMs = world.time.nowMs() + random.between(500, world.plan.pauseMaxMs);
  world.pauseEndMs = Math.max(world.pauseEndMs, state.pausedUntilMs);
}

/** Nothing comes back to a process that is dead; to one that is paused, once it wakes up. */
async function awake({ time }: World, state: State): Promise<void> {
  for (;;) {
    if (state.dead) await never();
    const leftMs = state.pausedUntilMs - time.nowMs();
    if (leftMs <= 0) return;
    await time.sleep(leftMs);
  }
}

/** A call to the outside: it takes time on its way there and back. */
type Call = <T>(
  work: () => Promise<T>,
  aborted: () => T,
  signal?: AbortSignal,
  to?: "stream" | "store" | "commit",
) => Promise<T>;

function depsOf(world: World, state: State, random: Random, call: Call): CompactorDeps {
  const { plan, time, store, streams } = world;
  const skewMs = random.between(-plan.skewMaxMs, plan.skewMaxMs);
  const jumpedMs = jumpOf(world, random);
  const clock: Clock = {
    nowMs: () => time.nowMs() + skewMs + jumpedMs(),
    uuid: random.uuid,
    random: random.next,
    sleep: async (ms, signal) => {
      await time.sleep(ms, signal);
      await awake(world, state);
    },
  };
  const outside: Pick<CompactorDeps, "store" | "streams"> = {
    store: {
      get: (key, signal) => call(() => store.get(key, signal), cancelled, signal, "store"),
      put: (key, body, condition, signal) =>
        call<PutOutcome>(
          () => store.put(key, body, condition, signal),
          () => ({ kind: "unknown", cause: CANCELLED }),
          signal,
          parseLogKey(key)?.kind === "commit" ? "commit" : "store",
        ),
      list: async function* (prefix, startAfter, signal) {
        yield* await call(() => collect(store.list(prefix, startAfter, signal)), cancelled, signal, "store");
      },
      delete: (key, signal) => call(() => store.delete(key, signal), cancelled, signal, "store"),
    },
    streams: {
      describe: (signal) => call(() => streams.describe(signal), cancelled, signal),
      openIterator: (arn, shard, after, signal) =>
        call<IteratorOutcome>(
          () => streams.openIterator(arn, shard, after, signal),
          () => ({ kind: "retry", why: CANCELLED.message }),
          signal,
        ),
      getRecords: (iterator, signal) =>
        call<PageOutcome>(
          () => streams.getRecords(iterator, signal),
          () => ({ kind: "retry", why: CANCELLED.message }),
          signal,
        ),
    },
  };
  return compactorDeps({
    ...outside,
    clock,
    openStage: slowly(jsonStage, call),
    upkeep: upkeepOf(outside.store, clock, plan.logRetentionMs),
    lanes: plan.lanes,
    answersMax: plan.answersMax,
    flushMs: FLUSH_MS,
    heartbeatMs: 10_000,
    pollMinMs: 200,
    pollMaxMs: 1_000,
  });
}

/** By how much the process's clock has jumped: it does so at most once, and is set right again. */
function jumpOf(world: World, random: Random): () => number {
  const { plan, time } = world;
  const [beginMs, lastMs] = [time.nowMs() + random.between(0, 30_000), random.between(1_000, JUMPED_MAX_MS)];
  const byMs = random.chance(plan.jump) ? random.between(-JUMP_MAX_MS, JUMP_MAX_MS) : 0;
  return () => {
    const sinceMs = time.nowMs() - beginMs;
    return world.chaos && sinceMs >= 0 && sinceMs < lastMs ? byMs : 0;
  };
}

/** Checkpoints, and clean-up more often than by the hour. */
function upkeepOf(store: ObjectStore, clock: Clock, logRetentionMs: number | null): Upkeep {
  const cleanEveryMs = logRetentionMs === null ? Infinity : CLEAN_EVERY_MS;
  return openUpkeep({
    store,
    clock,
    log: { info: () => {}, warn: () => {} },
    logRetentionMs: logRetentionMs ?? Infinity,
    retentionMs: null,
    cleanEveryMs,
    orphanAgeMs: ORPHAN_AGE_MS,
  });
}

/** Writing a file takes time, and the process may die of it. */
const slowly =
  (openStage: OpenStage, call: Call): OpenStage =>
  () => {
    const stage = openStage();
    return { ...stage, write: (...rows) => call(() => stage.write(...rows), cancelled) };
  };

/** A compactor may end when it finds no stream or log at its start: it is started again. */
const isPassing = (error: unknown): boolean =>
  error instanceof VarveError &&
  ["store_unreadable", "log_not_made", "table_unreachable"].includes(error.code);

const describe = (error: unknown): string =>
  error instanceof Error ? `${error.message}\n${error.stack ?? ""}` : String(error);

async function collect(listed: AsyncIterable<ListedObject>): Promise<ListedObject[]> {
  const objects: ListedObject[] = [];
  for await (const object of listed) objects.push(object);
  return objects;
}
