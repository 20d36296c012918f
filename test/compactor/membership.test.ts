import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { HEARTBEAT_MS, openMembership, ownerOf } from "../../compactor/membership.ts";
import { T0 } from "../fakes/changes.ts";
import { virtualClock, virtualTime } from "../fakes/clock.ts";
import { memoryStore } from "../fakes/store.ts";

const SIGNAL = new AbortController().signal;
const names = fc.uniqueArray(fc.uuid(), { minLength: 1, maxLength: 8 });

describe("ownerOf", () => {
  test("is one of the workers, whatever their order", () => {
    fc.assert(
      fc.property(names, fc.string(), (workers, name) => {
        const owner = ownerOf(name, workers);
        expect(workers).toContain(owner);
        expect(ownerOf(name, workers.toReversed())).toBe(owner);
      }),
    );
  });

  test("when a worker leaves, only its names move", () => {
    fc.assert(
      fc.property(names, fc.string(), (workers, name) => {
        const owner = ownerOf(name, workers);
        const others = workers.filter((worker) => worker !== workers[0]);
        if (owner !== workers[0]) expect(ownerOf(name, others)).toBe(owner);
      }),
    );
  });

  test("nobody owns anything when there is nobody", () => {
    expect(ownerOf("shard", [])).toBeNull();
  });

  test("shards are spread", () => {
    const workers = ["a", "b", "c", "d"];
    const counts = Map.groupBy(
      Array.from({ length: 1000 }, (_, index) => ownerOf(`shardId-${index}`, workers)),
      (owner) => owner,
    );
    for (const worker of workers) expect(counts.get(worker)?.length).toBeGreaterThan(150);
  });
});

describe("membership", () => {
  function room() {
    const time = virtualTime(T0);
    const store = memoryStore(time.nowMs);
    const pass = async (ms: number): Promise<void> => {
      let passed = false;
      void time.sleep(ms).then(() => (passed = true));
      await time.run(() => passed, ms + 1);
    };
    /** @param skewMs of the worker's clock */
    const join = (id: string, skewMs = 0) => openMembership(store, virtualClock(time, 1, skewMs), id);
    return { pass, join };
  }

  test("workers see each other, and each shard has one owner, however their clocks differ", async () => {
    const { join, pass } = room();
    const workers = [join("a"), join("b", 300_000), join("c", -300_000)];
    for (let round = 0; round < 3; round += 1) {
      for (const worker of workers) await worker.beat(SIGNAL);
      await pass(HEARTBEAT_MS);
    }
    for (const worker of workers) expect([...worker.workers()].toSorted()).toEqual(["a", "b", "c"]);
    for (let shard = 0; shard < 50; shard += 1) {
      expect(workers.filter((worker) => worker.owns(`shard-${shard}`))).toHaveLength(1);
    }
  });

  test("one that leaves is gone at once", async () => {
    const { join } = room();
    const [a, b] = [join("a"), join("b")];
    await b.beat(SIGNAL);
    await a.beat(SIGNAL);
    expect(a.workers()).toEqual(["a", "b"]);
    await b.leave(SIGNAL);
    await a.beat(SIGNAL);
    expect(a.workers()).toEqual(["a"]);
  });

  test("one that died is gone within half a minute, and back when it wakes up", async () => {
    const { join, pass } = room();
    const [a, b] = [join("a"), join("b")];
    await b.beat(SIGNAL);
    await a.beat(SIGNAL);
    for (let beats = 0; beats < 3; beats += 1) {
      await pass(HEARTBEAT_MS);
      await a.beat(SIGNAL);
    }
    expect(a.workers()).toEqual(["a"]);
    await b.beat(SIGNAL);
    await a.beat(SIGNAL);
    expect(a.workers()).toEqual(["a", "b"]);
  });

  test("one that has just started knows who is dead", async () => {
    const { join, pass } = room();
    const [a, b, c] = [join("a"), join("b"), join("c", 300_000)];
    await b.beat(SIGNAL);
    await pass(3 * HEARTBEAT_MS);
    await a.beat(SIGNAL);
    await c.beat(SIGNAL);
    expect(c.workers()).toEqual(["a", "c"]);
  });

  test("one that rests owns nothing, is not forgotten, and comes back", async () => {
    const { join, pass } = room();
    const [a, b] = [join("a"), join("b")];
    const beats = async (times: number): Promise<void> => {
      for (let beat = 0; beat < times; beat += 1) {
        for (const worker of [a, b]) await worker.beat(SIGNAL);
        await pass(HEARTBEAT_MS);
      }
    };
    await beats(2);
    const restMs = await b.rest(SIGNAL);
    expect(restMs).toBeGreaterThan(HEARTBEAT_MS);
    expect(b.workers()).toEqual(["a"]);
    await beats(2);
    for (const worker of [a, b]) expect(worker.workers()).toEqual(["a"]);
    await beats(Math.ceil(restMs / HEARTBEAT_MS));
    for (const worker of [a, b]) expect([...worker.workers()].toSorted()).toEqual(["a", "b"]);
    expect(await b.rest(SIGNAL)).toBe(2 * restMs);
  });

  test("the last one does not rest, and one that rests wakes up when the others are gone", async () => {
    const { join, pass } = room();
    const [a, b] = [join("a"), join("b")];
    await a.beat(SIGNAL);
    expect(await a.rest(SIGNAL)).toBe(0);
    expect(a.owns("shard")).toBe(true);
    await b.beat(SIGNAL);
    expect(await b.rest(SIGNAL)).toBeGreaterThan(0);
    for (let beat = 0; beat < 4; beat += 1) {
      await pass(HEARTBEAT_MS);
      await b.beat(SIGNAL);
    }
    expect(b.workers()).toEqual(["b"]);
  });
});
