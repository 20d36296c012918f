/**
 * A scenario's surroundings: the stream server, a store in memory, and compactors over them, all in this process;
 * time runs faster than it does outside, and can be moved on.
 */
import type { CompactorDeps } from "../../compactor/compactor.ts";
import { runCompactor } from "../../compactor/compactor.ts";
import { openLane } from "../../compactor/lane.ts";
import { NO_METRICS } from "../../compactor/metrics.ts";
import type { Streams } from "../../compactor/stream.ts";
import { openStreams } from "../../compactor/stream.ts";
import { openUpkeep } from "../../compactor/upkeep.ts";
import { afterEach, beforeEach } from "vitest";
import type { Clock } from "../../shared/clock.ts";
import { systemClock } from "../../shared/clock.ts";
import { loadSnapshot, readCommits } from "../../shared/log.ts";
import type { Gap, Snapshot } from "../../shared/snapshot.ts";
import type { ObjectStore } from "../../shared/store.ts";
import type { Row } from "../../shared/row.ts";
import { decodeRows, jsonStage } from "../fakes/parquet.ts";
import type { MemoryStore } from "../fakes/store.ts";
import { memoryStore } from "../fakes/store.ts";
import { checkLog } from "../sim/truth.ts";
import type { Command, ShardState } from "../streams-server/commands.ts";
import type { StreamsServer } from "../streams-server/server.ts";
import { startStreamsServer } from "../streams-server/server.ts";

export const TABLE = "items";
/** How many times as fast time runs as it does outside. */
const SPEED = 10;
const FLUSH_MS = 500;
const HEARTBEAT_MS = 2_000;
const DAY_MS = 86_400_000;
/** Of real time. */
const WAIT_MS_MAX = 50_000;

export type ScenarioClock = Clock & {
  /** Moves time on, for everyone. */
  readonly skip: (ms: number) => void;
};

function fastClock(speed: number): ScenarioClock {
  const startMs = Date.now();
  const beganMs = performance.now();
  let skippedMs = 0;
  return {
    ...systemClock,
    nowMs: () => Math.floor(startMs + (performance.now() - beganMs) * speed + skippedMs),
    sleep: (ms, signal) => systemClock.sleep(ms / speed, signal),
    skip: (ms) => {
      skippedMs += ms;
    },
  };
}

export type Line = { readonly what: string; readonly fields: Readonly<Record<string, unknown>> };

export type RunningCompactor = {
  readonly lines: readonly Line[];
  /** As SIGTERM does; resolves when it has ended. */
  readonly stop: () => Promise<void>;
};

export type CompactorOptions = {
  readonly table?: string;
  readonly store?: ObjectStore;
  readonly clock?: Clock;
  readonly streams?: (streams: Streams) => Streams;
  /** Between two calls on a shard that has little new, least and most. */
  readonly pollMs?: readonly [number, number];
  /** With checkpoints and clean-up. */
  readonly upkeep?: boolean;
};

export type Scenario = {
  readonly server: StreamsServer;
  readonly clock: ScenarioClock;
  readonly disk: MemoryStore;
  readonly command: (...commands: readonly Command[]) => void;
  readonly compactor: (options?: CompactorOptions) => RunningCompactor;
  readonly shards: () => readonly ShardState[];
  readonly tip: () => Promise<Snapshot | null>;
  readonly gaps: () => Promise<readonly Gap[]>;
  /** Until all that is in the stream is committed, and the watermark has passed this moment. */
  readonly settled: () => Promise<Snapshot>;
  /** What is wrong with the log, against what was written. */
  readonly problems: () => Promise<readonly string[]>;
  /** Every row ever committed. */
  readonly rows: () => Promise<readonly Row[]>;
  /** Takes out of what was written what was trimmed before it was committed. */
  readonly forgetLost: (committed: Snapshot) => void;
  readonly close: () => Promise<void>;
};

/** A scenario for each test. */
export function useScenario(speed = SPEED): () => Scenario {
  let scenario: Scenario;
  beforeEach(async () => {
    scenario = await openScenario(1, speed);
  });
  afterEach(() => scenario.close());
  return () => scenario;
}

export async function openScenario(seed = 1, speed = SPEED): Promise<Scenario> {
  Object.assign(process.env, { AWS_ACCESS_KEY_ID: "local", AWS_SECRET_ACCESS_KEY: "local" });
  const clock = fastClock(speed);
  const server = await startStreamsServer({ seed, nowMs: clock.nowMs });
  const disk = memoryStore(clock.nowMs);
  const running = new Set<RunningCompactor>();
  const shards = () => server.state().shards;
  const tip = () => loadSnapshot(disk);

  const compactor = (options: CompactorOptions = {}): RunningCompactor => {
    const stopping = new AbortController();
    const lines: Line[] = [];
    const ended = runCompactor(
      depsOf(server.endpoint, { clock, store: disk, ...options }, lines),
      stopping.signal,
    );
    ended.catch((error: unknown) => lines.push({ what: `failed: ${String(error)}`, fields: {} }));
    const one = {
      lines,
      stop: async () => {
        stopping.abort();
        running.delete(one);
        await ended;
      },
    };
    running.add(one);
    return one;
  };

  return {
    server,
    clock,
    disk,
    command: server.command,
    compactor,
    shards,
    tip,
    gaps: async () => [...((await tip())?.gaps.values() ?? [])],
    settled: async () => {
      const afterMs = clock.nowMs();
      let found: Snapshot | null = null;
      await until(async () => {
        found = await tip();
        return missing(found, shards()) ?? behind(found, afterMs);
      });
      return found as unknown as Snapshot;
    },
    problems: () => checkLog(disk, server.truthOf(TABLE)),
    rows: () => rowsIn(disk),
    forgetLost: (committed) => {
      const lost = new Set<string>();
      for (const { id, records, trimmed } of server.tape.shards.values()) {
        const after = BigInt(committed.shards.get(id)?.seq ?? 0);
        for (let index = 0; index < trimmed; index += 1) {
          const { seq } = records.at(index);
          if (seq > after) lost.add(`${id} ${seq}`);
        }
      }
      const { changes } = server.truthOf(TABLE);
      for (const [key, written] of changes) {
        const kept = written.filter(({ shard, seq }) => !lost.has(`${shard} ${seq}`));
        if (kept.length > 0) changes.set(key, kept);
        else changes.delete(key);
      }
    },
    close: async () => {
      await Promise.allSettled([...running].map((one) => one.stop()));
      await server.stop();
    },
  };
}

export function depsOf(
  endpoint: string,
  options: CompactorOptions & { readonly clock: Clock; readonly store: ObjectStore },
  lines: Line[],
): CompactorDeps {
  const { clock, store } = options;
  const opened = openStreams({ table: options.table ?? TABLE, region: "us-east-1", endpoint });
  const streams = options.streams?.(opened) ?? opened;
  const [pollMinMs, pollMaxMs] = options.pollMs ?? [100, 400];
  const keep = (what: string, fields: Record<string, unknown>) => void lines.push({ what, fields });
  const log = { info: keep, warn: keep };
  return {
    store,
    streams,
    clock,
    log,
    metrics: NO_METRICS,
    openLanes: async (patience) => [
      await openLane({
        store,
        streams,
        clock,
        log,
        patience,
        openStage: jsonStage,
        flushMs: FLUSH_MS,
        flushBytes: 4_000_000,
        answersMax: 32,
        pollMinMs,
        pollMaxMs,
      }),
    ],
    merger: null,
    upkeep:
      options.upkeep === true
        ? openUpkeep({ store, clock, log, logRetentionMs: 2 * DAY_MS, retentionMs: null })
        : { run: async () => {} },
    configuration: {},
    flushMs: FLUSH_MS,
    heartbeatMs: HEARTBEAT_MS,
  };
}

async function rowsIn(store: ObjectStore): Promise<Row[]> {
  const rows: Row[] = [];
  for await (const { actions } of readCommits(store, -1)) {
    for (const action of actions) {
      const object = "add" in action ? await store.get(action.add.path) : null;
      if (object !== null) rows.push(...decodeRows(object.body));
    }
  }
  return rows;
}

/** What of the stream the log does not hold yet, or null. */
export function missing(tip: Snapshot | null, shards: readonly ShardState[]): string | null {
  if (tip === null) return "there is no log";
  for (const { id, last, closed, gone } of shards) {
    if (gone) continue;
    const position = tip.shards.get(id);
    if (position === undefined) return `${id} is not in the log`;
    if (position.seq !== last) return `${id} is at ${position.seq}, not at ${last}`;
    if (closed && !position.done) return `${id} has ended, and is not done`;
  }
  return null;
}

const behind = (tip: Snapshot | null, ms: number): string | null =>
  tip !== null && tip.log.watermarkMs > ms
    ? null
    : `the watermark is at ${tip?.log.watermarkMs}, not past ${ms}`;

/** Waits until `why` gives null; what it gave last says why not. */
export async function until(why: () => Promise<string | null> | string | null): Promise<void> {
  const endMs = performance.now() + WAIT_MS_MAX;
  for (;;) {
    const last = await why();
    if (last === null) return;
    if (performance.now() > endMs) throw new Error(`after ${WAIT_MS_MAX} ms: ${last}`);
    await systemClock.sleep(10);
  }
}
