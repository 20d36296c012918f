import { expect, test } from "vitest";
import { openLane } from "../../compactor/lane.ts";
import type { Start } from "../../compactor/lineage.ts";
import { openPatience } from "../../compactor/patience.ts";
import type { Streams } from "../../compactor/stream.ts";
import { T0, objectRecord, position } from "../fakes/changes.ts";
import { virtualClock, virtualTime } from "../fakes/clock.ts";
import { jsonStage } from "../fakes/parquet.ts";
import { memoryStore } from "../fakes/store.ts";

const FULL_BYTES = 950_000;
const LOG = { info: () => {}, warn: () => {} };

/**
 * A lane over shards that never end.
 * @param most records in each
 */
async function bench(most: number, flushBytes = 10 * FULL_BYTES) {
  const time = virtualTime(T0);
  const clock = virtualClock(time);
  const streams: Streams = {
    describe: async () => [],
    openIterator: async (_, shard, after) => ({
      kind: "iterator",
      iterator: `${shard}|${Number(after ?? 0) + 1}`,
    }),
    getRecords: async (iterator) => {
      await time.sleep(20);
      const [shard = "", at] = iterator.split("|");
      const nth = Number(at);
      if (nth > most) return { kind: "page", page: { records: [], next: iterator, bytes: 0 } };
      const records = [objectRecord(nth, T0, { id: `${shard}${nth}` })];
      const bytes = nth < most ? FULL_BYTES : 1_000;
      return { kind: "page", page: { records, next: `${shard}|${nth + 1}`, bytes } };
    },
  };
  const lane = await openLane({
    store: memoryStore(time.nowMs),
    streams,
    clock,
    log: LOG,
    patience: openPatience(clock, LOG, new AbortController().signal),
    openStage: jsonStage,
    flushMs: 1_000,
    flushBytes,
    answersMax: 1,
    pollMinMs: 100,
    pollMaxMs: 500,
  });
  /** Undefined when it takes longer. */
  const within = async <T>(ms: number, work: Promise<T>): Promise<T | undefined> => {
    let [answer, over]: [T | undefined, boolean] = [undefined, false];
    void time.sleep(ms).then(() => (over = true));
    void work.then((done) => ([answer, over] = [done, true]));
    await time.run(() => over, ms + 1);
    return answer;
  };
  return {
    time,
    close: () => within(5_000, lane.close()),
    assign: (shards: ReadonlyMap<string, Start>) =>
      within(
        5_000,
        lane.assign(shards).then(() => "assigned"),
      ),
    take: () => within(5_000, lane.take(true)),
    pass: (ms: number) => within(ms, new Promise<never>(() => {})),
  };
}

const shards = (...names: string[]): ReadonlyMap<string, Start> =>
  new Map(names.map((name) => [name, { position: position(), closed: false }]));

test("a shard is given up while the buffer is full and its reader waits its turn", async () => {
  const { assign, pass, close } = await bench(Infinity, 1_000);
  await assign(shards("a", "b", "c"));
  await pass(5_000);
  for (const left of [shards("a", "b"), shards("a"), shards("b")])
    expect(await assign(left)).toBe("assigned");
  await close();
});

test("a shard that comes back is not read again before what was read of it is taken", async () => {
  const { assign, take, pass, close } = await bench(3);
  await assign(shards("a"));
  await pass(2_000);
  await assign(shards());
  await assign(shards("a"));
  await pass(2_000);
  const batch = await take();
  expect(batch?.records).toBe(3);
  expect(batch?.positions.get("a")).toMatchObject({ from: null, seq: "3" });
  await close();
});

test("once others follow a shard, an answer with nothing in it says nothing of the time", async () => {
  const { assign, take, pass, time, close } = await bench(3);
  await assign(shards("a"));
  await pass(2_000);
  expect((await take())?.positions.get("a")?.at).toBeGreaterThan(T0);
  await assign(new Map([["a", { position: position(), closed: true }]]));
  // A call under way may have been made before.
  await pass(1_000);
  await take();
  const knownMs = time.nowMs();
  await pass(5_000);
  expect((await take())?.positions.get("a")?.at).toBeLessThanOrEqual(knownMs);
  await close();
});
