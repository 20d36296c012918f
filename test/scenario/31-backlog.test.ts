/**
 * A backlog that is much larger than the memory a compactor may take; told to stop in the midst of it, it ends in
 * time, and the next one goes on. `VARVE_LONG=1` for ten million records.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { verify } from "../../reader/verify.ts";
import { systemClock } from "../../shared/clock.ts";
import { loadSnapshot } from "../../shared/log.ts";
import type { Fleet, Worker } from "./fleet.ts";
import { openFleet } from "./fleet.ts";

const LONG = process.env["VARVE_LONG"] === "1";
const RECORDS = LONG ? 10_000_000 : 300_000;
const SHARDS = 8;
const TABLE = "items";
const MEMORY_BYTES_MAX = 1024 ** 3;
const STOP_MS_MAX = 25_000;
const TIMEOUT_MS = LONG ? 3 * 3_600_000 : 300_000;
const ENV = { VARVE_FLUSH: "10s" };

let fleet: Fleet;
beforeAll(async () => {
  fleet = await openFleet(5);
});
afterAll(() => fleet.close());

const changes = async (): Promise<number> => (await loadSnapshot(fleet.storeOf(TABLE)))?.log.changes ?? 0;

async function runUntil(worker: Worker, count: number): Promise<void> {
  let ended = false;
  void worker.exited.then(() => (ended = true));
  while ((await changes()) < count) {
    if (ended) throw new Error(`it ended: ${JSON.stringify(worker.lines.slice(-3))}`);
    expect(worker.peakBytes()).toBeLessThan(MEMORY_BYTES_MAX);
    await systemClock.sleep(500);
  }
}

async function stop(worker: Worker): Promise<number> {
  worker.peakBytes();
  const beganMs = performance.now();
  worker.signal("SIGTERM");
  expect(await worker.exited).toBe(0);
  return performance.now() - beganMs;
}

test(
  `${RECORDS} records, in less than a gigabyte`,
  async () => {
    await fleet.command({ do: "backlog", table: TABLE, shards: SHARDS, records: RECORDS });
    const beganMs = performance.now();
    const first = fleet.start("first", TABLE, { ...ENV, VARVE_THREADS: "3" });
    await runUntil(first, RECORDS / 2);
    const drainMs = await stop(first);
    expect(drainMs).toBeLessThan(STOP_MS_MAX);
    const second = fleet.start("second", TABLE, { ...ENV, VARVE_THREADS: "1" });
    await runUntil(second, RECORDS);
    const seconds = (performance.now() - beganMs) / 1000;
    await stop(second);
    for (const worker of [first, second]) expect(worker.peakBytes()).toBeLessThan(MEMORY_BYTES_MAX);
    console.log(
      `${RECORDS} records in ${seconds.toFixed(0)} s; at most ${megabytes(first)} MB with three threads, ` +
        `${megabytes(second)} MB with one; stopped in ${(drainMs / 1000).toFixed(1)} s`,
    );
    const report = await verify(fleet.storeOf(TABLE), {
      nowMs: Date.now,
      sleep: (ms) => systemClock.sleep(ms),
      dedupeMs: 86_400_000,
      settleMs: 0,
    });
    expect(report).toMatchObject({ problems: [], gaps: 0, rows: RECORDS, changes: RECORDS });
  },
  TIMEOUT_MS,
);

const megabytes = (worker: Worker): number => Math.round(worker.peakBytes() / 1024 ** 2);
