import { expect, test } from "vitest";
import { openLane } from "../../compactor/lane.ts";
import type { Start } from "../../compactor/lineage.ts";
import { openPatience } from "../../compactor/patience.ts";
import type { PageOutcome, Streams } from "../../compactor/stream.ts";
import { T0, objectRecord, position } from "../fakes/changes.ts";
import { virtualClock, virtualTime } from "../fakes/clock.ts";
import { jsonStage } from "../fakes/parquet.ts";
import { memoryStore } from "../fakes/store.ts";

const FLUSH_BYTES = 1_000;
const FULL_BYTES = 950_000;
const LOG = { info: () => {}, warn: () => {} };

/** A lane over shards that always have more. */
async function bench(answersMax: number) {
  const time = virtualTime(T0);
  const clock = virtualClock(time);
  const store = memoryStore(time.nowMs);
  let read = 0;
  const streams: Streams = {
    describe: async () => [],
    openIterator: async (_, shard) => ({ kind: "iterator", iterator: shard }),
    getRecords: async (shard): Promise<PageOutcome> => {
      await time.sleep(20);
      read += 1;
      const records = [objectRecord(read, time.nowMs(), { id: `u${read}` })];
      return { kind: "page", page: { records, next: shard, bytes: FULL_BYTES } };
    },
  };
  const lane = await openLane({
    store,
    streams,
    clock,
    log: LOG,
    patience: openPatience(clock, LOG, new AbortController().signal),
    openStage: jsonStage,
    flushMs: 1_000,
    flushBytes: FLUSH_BYTES,
    answersMax,
    pollMinMs: 100,
    pollMaxMs: 500,
  });
  const within = async (ms: number, work: Promise<unknown>): Promise<boolean> => {
    let [done, late] = [false, false];
    void work.then(() => (done = true));
    void time.sleep(ms).then(() => (late = true));
    await time.run(() => done || late, ms + 1);
    return done;
  };
  return { lane, within, pass: (ms: number) => within(ms, new Promise(() => {})) };
}

const shards = (...names: string[]): ReadonlyMap<string, Start> =>
  new Map(names.map((name) => [name, { position: position(), closed: false }]));

test("a shard is given up while the buffer is full and its reader waits its turn", async () => {
  const { lane, within, pass } = await bench(1);
  expect(await within(1_000, lane.assign(shards("a", "b", "c")))).toBe(true);
  await pass(5_000);
  for (const left of [shards("a", "b"), shards("a"), shards("b")]) {
    expect(await within(5_000, lane.assign(left))).toBe(true);
  }
  await lane.close();
});
