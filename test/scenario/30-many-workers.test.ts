/**
 * Compactors as processes, on one table of 40 shards that go on splitting, and another on a table of its own with
 * two threads. One joins, one leaves, one is killed, one stands still for 40 s and wakes up: each change is in the
 * log once, and the shards of those that are gone are read by the others.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { openChangelog } from "../../reader/changelog.ts";
import { verify } from "../../reader/verify.ts";
import { systemClock } from "../../shared/clock.ts";
import { loadSnapshot } from "../../shared/log.ts";
import { parseSequence } from "../../shared/sequence.ts";
import type { SequenceNumber } from "../../shared/sequence.ts";
import { checkRows, emptyTruth } from "../sim/truth.ts";
import type { Fleet, Worker } from "./fleet.ts";
import { carriers, openFleet, openShards, versionOf } from "./fleet.ts";
import { missing } from "./scenario.ts";

const TABLE = "items";
const OTHER = "others";
const SHARDS = 40;
const PAUSE_MS = 40_000;
/** A worker is taken for dead after 20 s, heartbeats are 8 s apart; and the machine may be busy with other things. */
const REBALANCE_MS_MAX = 75_000;
const STOP_MS_MAX = 25_000;
const TIMEOUT_MS = 420_000;

let fleet: Fleet;
const workers: Worker[] = [];
let writing: { readonly stop: () => Promise<void> } | undefined;

beforeAll(async () => {
  fleet = await openFleet(11);
});
afterAll(async () => {
  await writing?.stop();
  await fleet.close();
});

/** Writes to both tables, and ends shards, until it is told to stop. */
function startWriting(): { readonly stop: () => Promise<void> } {
  const stopping = new AbortController();
  const work = async (): Promise<void> => {
    for (let round = 0; !stopping.signal.aborted; round += 1) {
      await fleet.command(
        { do: "write", table: TABLE, count: 60 },
        { do: "write", table: OTHER, count: 20 },
        ...(round % 8 === 0 ? ([{ do: "end", table: TABLE, children: 2 }] as const) : []),
        ...(round % 6 === 0 ? ([{ do: "end", table: OTHER, children: 1 }] as const) : []),
      );
      await systemClock.sleep(400, stopping.signal);
    }
  };
  const working = work().catch((error: unknown) => {
    if (!stopping.signal.aborted) throw error;
  });
  return {
    stop: async () => {
      stopping.abort();
      await working;
    },
  };
}

const lastLines = (): string =>
  workers
    .map(
      ({ name, lines }) =>
        `${name}: ${lines
          .slice(-3)
          .map((line) => JSON.stringify(line))
          .join("\n  ")}`,
    )
    .join("\n");

async function waitFor(what: string, limitMs: number, why: () => Promise<string | null>): Promise<number> {
  const beganMs = performance.now();
  for (;;) {
    const last = await why();
    const tookMs = performance.now() - beganMs;
    if (last === null) {
      console.log(`${what}: ${(tookMs / 1000).toFixed(1)} s`);
      return tookMs;
    }
    if (tookMs > limitMs) throw new Error(`${what}: not after ${limitMs} ms: ${last}\n${lastLines()}`);
    await systemClock.sleep(500);
  }
}

/** Until each of `names` has committed some shards since now, and together they have committed all open ones. */
async function shared(what: string, ...sharers: readonly Worker[]): Promise<void> {
  const store = fleet.storeOf(TABLE);
  const after = await versionOf(store);
  await waitFor(what, REBALANCE_MS_MAX, async () => {
    const carried = await carriers(store, sharers, after);
    const idle = sharers.find(({ name }) => (carried.get(name)?.size ?? 0) === 0);
    if (idle !== undefined) return `${idle.name} has committed nothing`;
    const all = new Set(sharers.flatMap(({ name }) => [...(carried.get(name) ?? [])]));
    const left = openShards(await loadSnapshot(store)).filter((shard) => !all.has(shard));
    return left.length === 0 ? null : `${left.length} shards were committed by none of them: ${left[0]}`;
  });
}

const start = (name: string, table: string, env?: Readonly<Record<string, string>>): Worker => {
  const worker = fleet.start(name, table, { VARVE_MERGE: "off", ...env });
  workers.push(worker);
  return worker;
};

async function stop(worker: Worker): Promise<void> {
  const beganMs = performance.now();
  worker.signal("SIGTERM");
  expect(await worker.exited, `${worker.name} ended with an error`).toBe(0);
  expect(performance.now() - beganMs).toBeLessThan(STOP_MS_MAX);
}

async function complete(table: string): Promise<void> {
  const store = fleet.storeOf(table);
  const lastMs = Date.now();
  await waitFor(`all of ${table} is committed`, REBALANCE_MS_MAX, async () => {
    const tip = await loadSnapshot(store);
    const left = missing(tip, await fleet.shards(table));
    if (left !== null) return left;
    return (tip?.log.watermarkMs ?? 0) > lastMs ? null : "the watermark lags";
  });
}

async function check(table: string): Promise<void> {
  const store = fleet.storeOf(table);
  const report = await verify(store, {
    nowMs: Date.now,
    sleep: (ms) => systemClock.sleep(ms),
    dedupeMs: 86_400_000,
    settleMs: 0,
  });
  expect(report.problems.filter(({ what }) => !what.startsWith("the event is in the changelog"))).toEqual([]);
  expect(report.gaps).toBe(0);
  const { rows } = await (await openChangelog(store)).changesSince({ kind: "time", ms: 0 });
  const read = await Array.fromAsync(rows, (row) => ({
    ...row,
    seq: parseSequence(row.seq) as SequenceNumber,
  }));
  const problems: string[] = [];
  checkRows(read, { ...emptyTruth(), changes: await fleet.changesOf(table) }, problems);
  expect(problems.slice(0, 10)).toEqual([]);
  expect(read.length).toBeGreaterThan(1000);
}

test(
  "one joins, one leaves, one is killed, one wakes up",
  async () => {
    await fleet.command(
      { do: "create", table: TABLE, shards: SHARDS },
      { do: "create", table: OTHER, shards: 8 },
      { do: "lag", maxMs: 2_000 },
    );
    writing = startWriting();
    const [first, second, third] = ["first", "second", "third"].map((name) => start(name, TABLE)) as [
      Worker,
      Worker,
      Worker,
    ];
    const threaded = start("threaded", OTHER, { VARVE_THREADS: "2" });
    await shared("three share", first, second, third);

    const fourth = start("fourth", TABLE);
    await shared("a fourth has joined", first, second, third, fourth);
    await stop(fourth);
    await shared("the fourth has left", first, second, third);

    first.signal("SIGKILL");
    second.signal("SIGSTOP");
    const pausedMs = performance.now();
    const fifth = start("fifth", TABLE);
    await shared("one is killed and one stands still", third, fifth);
    await systemClock.sleep(PAUSE_MS - (performance.now() - pausedMs));
    second.signal("SIGCONT");
    await shared("the one that stood still is back", second, third, fifth);

    await writing.stop();
    await complete(TABLE);
    await complete(OTHER);
    await Promise.all([second, third, fifth, threaded].map(stop));
    await check(TABLE);
    await check(OTHER);
  },
  TIMEOUT_MS,
);
