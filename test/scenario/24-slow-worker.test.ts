/**
 * A worker's PUT takes longer than the others leave between their commits: at each version it finds an entry of
 * theirs. It gives its shards up to them, and the changelog goes on. In virtual time, which takes no notice of how
 * busy the machine is.
 */
import { expect, test } from "vitest";
import { runCompactor } from "../../compactor/compactor.ts";
import type { CompactorLog } from "../../compactor/patience.ts";
import { replay } from "../../shared/log.ts";
import type { Snapshot } from "../../shared/snapshot.ts";
import type { ObjectStore } from "../../shared/store.ts";
import { T0 } from "../fakes/changes.ts";
import { virtualClock, virtualTime } from "../fakes/clock.ts";
import { compactorDeps } from "../fakes/compactor.ts";
import { randomOf } from "../fakes/random.ts";
import { memoryStore } from "../fakes/store.ts";
import { fakeStreams } from "../fakes/streams.ts";
import { checkLog, emptyTruth } from "../sim/truth.ts";
import { writeSomething } from "../sim/workload.ts";

const SWIFT_PUT_MS = 30;
const SLOW_PUT_MS = 1_500;
const SWIFT = 4;
const SHARDS = 24;
const FLUSH_MS = 500;
const WRITING_MS = 150_000;
/** Until it is found out and the others have noticed: 15 s of conflicts, a heartbeat of 8 s, a flush. */
const FOUND_OUT_MS = 30_000;

test("its shards are read by those who keep up", async () => {
  const time = virtualTime(T0);
  const random = randomOf(24);
  const disk = memoryStore(time.nowMs);
  const truth = emptyTruth();
  const streams = fakeStreams({
    nowMs: time.nowMs,
    random,
    pageMax: 1_000,
    listLagMaxMs: 0,
    fault: () => null,
  });
  for (let shards = 2; shards < SHARDS; shards += 1) streams.end(2);
  const storeOf = (putMs: number): ObjectStore => ({
    ...disk,
    put: async (key, body, condition, signal) => {
      await time.sleep(condition.kind === "if-absent" ? putMs : SWIFT_PUT_MS);
      return disk.put(key, body, condition, signal);
    },
  });
  const stopping = new AbortController();
  const restedMs: number[] = [];
  const start = (index: number): Promise<void> => {
    const warn: CompactorLog["warn"] = (what, { ms }) => {
      if (what.startsWith("others commit faster")) restedMs.push(Number(ms));
    };
    const deps = compactorDeps({
      store: storeOf(index === 0 ? SLOW_PUT_MS : SWIFT_PUT_MS),
      streams,
      clock: virtualClock(time, index + 1),
      log: { info: () => {}, warn: index === 0 ? warn : () => {} },
      flushMs: FLUSH_MS,
      heartbeatMs: 5_000,
      pollMinMs: 100,
      pollMaxMs: 500,
    });
    return runCompactor(deps, stopping.signal);
  };
  const running = Array.from({ length: SWIFT + 1 }, (_, index) => start(index));
  const lagsMs: number[] = [];
  let tip: Snapshot | null = null;
  const story = async (): Promise<void> => {
    for (const endMs = time.nowMs() + WRITING_MS; time.nowMs() < endMs; await time.sleep(100)) {
      for (let nth = 0; nth < 3; nth += 1) writeSomething(streams, truth, random);
      tip = (await replay(disk, tip))?.snapshot ?? null;
      lagsMs.push(time.nowMs() - (tip?.log.watermarkMs ?? 0));
    }
    await time.sleep(10_000);
    stopping.abort();
    await Promise.all(running);
  };
  let ended = false;
  const told = story().finally(() => (ended = true));
  await time.run(() => ended, 2 * WRITING_MS);
  await told;

  expect(restedMs[0]).toBeGreaterThan(0);
  expect(restedMs.length).toBeLessThan(WRITING_MS / (restedMs[0] ?? 0));
  expect(Math.max(...lagsMs.slice(lagsMs.length / 4))).toBeLessThan(FOUND_OUT_MS);
  expect(lagsMs.filter((ms) => ms < 5_000).length / lagsMs.length).toBeGreaterThan(0.6);
  expect(await checkLog(disk, truth)).toEqual([]);
});
