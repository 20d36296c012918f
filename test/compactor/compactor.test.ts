import { describe, expect, test } from "vitest";
import { runCompactor } from "../../compactor/compactor.ts";
import { planCreate } from "../../compactor/plan.ts";
import { encodeCommit } from "../../shared/delta.ts";
import { commitKey } from "../../shared/keys.ts";
import { replay } from "../../shared/log.ts";
import { STREAM_RETENTION_MS } from "../../shared/watermark.ts";
import type { Snapshot } from "../../shared/snapshot.ts";
import { T0 } from "../fakes/changes.ts";
import type { FakeDeps } from "../fakes/compactor.ts";
import { compactorDeps } from "../fakes/compactor.ts";
import { virtualClock, virtualTime } from "../fakes/clock.ts";
import { decodeRows } from "../fakes/parquet.ts";
import { randomOf } from "../fakes/random.ts";
import type { StoreFault } from "../fakes/store.ts";
import { faultyStore, memoryStore } from "../fakes/store.ts";
import type { RecordBody } from "../fakes/streams.ts";
import { fakeStreams } from "../fakes/streams.ts";

const FLUSH_MS = 1_000;
const FLUSH_BYTES = 2_000_000;
const DAY_MS = STREAM_RETENTION_MS;
const LOST: StoreFault = { kind: "lost" };

function bench() {
  const time = virtualTime(T0);
  const disk = memoryStore(time.nowMs);
  const network = { down: false };
  const store = faultyStore(disk, { next: () => (network.down ? LOST : null), sleep: time.sleep });
  const streams = fakeStreams({
    nowMs: time.nowMs,
    random: randomOf(1),
    pageMax: 10,
    listLagMaxMs: 0,
    fault: () => null,
  });
  let writes = 0;
  let starts = 0;

  const write = (times = 1, some: Partial<RecordBody> = {}): void => {
    for (let nth = 0; nth < times; nth += 1) {
      writes += 1;
      const pk = { S: `o#shop#users#u${writes}` };
      const dynamodb = {
        Keys: { pk },
        NewImage: { pk, kind: { S: "object" }, source: { S: "shop" }, "p.n": { N: String(writes) } },
      };
      streams.write(pk.S, { eventName: "INSERT", dynamodb, ...some });
    }
  };
  const start = (some: Partial<FakeDeps> = {}) => {
    const stopping = new AbortController();
    const state: { ended: boolean; error: unknown } = { ended: false, error: undefined };
    const deps = compactorDeps({
      store,
      streams,
      clock: virtualClock(time, (starts += 1)),
      flushMs: FLUSH_MS,
      flushBytes: FLUSH_BYTES,
      heartbeatMs: 5_000,
      pollMinMs: 100,
      pollMaxMs: 500,
      ...some,
    });
    runCompactor(deps, stopping.signal).then(
      () => (state.ended = true),
      (error: unknown) => Object.assign(state, { ended: true, error }),
    );
    return {
      state,
      /** Virtual ms until it had ended. */
      stop: async (): Promise<number> => {
        const toldAtMs = time.nowMs();
        stopping.abort();
        await time.run(() => state.ended, 60_000);
        return time.nowMs() - toldAtMs;
      },
    };
  };
  const pass = async (ms: number): Promise<void> => {
    let passed = false;
    void time.sleep(ms).then(() => (passed = true));
    await time.run(() => passed, ms + 1);
  };
  const tip = async (): Promise<Snapshot> => {
    const loaded = await replay(disk, null);
    if (loaded === null) throw new Error("there is no log");
    expect(loaded.violations).toEqual([]);
    return loaded.snapshot;
  };
  /** The numbers of the writes that are in the log, ascending. */
  const committed = async (): Promise<number[]> => {
    const bodies = [...(await tip()).files.keys()].map((path) => disk.objects.get(path)?.body);
    const rows = bodies.flatMap((body) => decodeRows(body ?? new Uint8Array()));
    return rows.map(({ id }) => Number(id?.slice(1))).toSorted((a, b) => a - b);
  };
  return { time, disk, network, streams, write, start, pass, tip, committed };
}

const upTo = (last: number, first = 1): number[] =>
  Array.from({ length: last - first + 1 }, (_, index) => first + index);

describe("from the stream to the log", () => {
  test("a backlog waits for no flush: what is read beyond its bytes is committed at once", async () => {
    const { start, write, pass, committed } = bench();
    write(1_000);
    const compactor = start({ flushMs: 60_000 });
    await pass(6_000);
    expect((await committed()).length).toBeGreaterThan(900);
    await compactor.stop();
    expect(await committed()).toEqual(upTo(1_000));
  });

  test("what is written is there a flush later, and the watermark follows when nothing is", async () => {
    const { start, write, pass, committed, tip, time } = bench();
    const compactor = start();
    write(25);
    await pass(4_000);
    expect(await committed()).toEqual(upTo(25));
    await pass(60_000);
    expect(time.nowMs() - (await tip()).log.watermarkMs).toBeLessThan(10_000);
    await compactor.stop();
  });

  test("all of it is below the watermark three flushes later, however the last write meets a flush", async () => {
    for (let offsetMs = 0; offsetMs < FLUSH_MS; offsetMs += 90) {
      const { start, write, pass, tip, time, streams } = bench();
      // An answer says what there was when it was asked for, and comes later.
      const getRecords: typeof streams.getRecords = async (...given) => {
        const answer = await streams.getRecords(...given);
        await time.sleep(40);
        return answer;
      };
      const compactor = start({ heartbeatMs: 600_000, streams: { ...streams, getRecords } });
      await pass(offsetMs);
      for (let step = 0; step < 40; step += 1) {
        write();
        await pass(33);
      }
      await pass(3 * FLUSH_MS + 500);
      const { files, log } = await tip();
      const greatestMs = Math.max(...[...files.values()].map(({ maxChangedMs }) => maxChangedMs));
      expect(log.watermarkMs, `offset ${offsetMs}`).toBeGreaterThanOrEqual(greatestMs);
      await compactor.stop();
    }
  });

  test("the watermark does not pass the beginning of the listing it goes by", async () => {
    const { start, pass, tip, streams, time } = bench();
    const beganMs: number[] = [];
    const describeSlowly: typeof streams.describe = async () => {
      beganMs.push(time.nowMs());
      const listed = await streams.describe();
      await time.sleep(3_000);
      return listed;
    };
    const compactor = start({ streams: { ...streams, describe: describeSlowly } });
    await pass(20_000);
    const { log } = await tip();
    expect(beganMs).toContain(log.discoveredMs);
    expect(log.watermarkMs).toBeLessThanOrEqual(log.discoveredMs);
    await compactor.stop();
  });

  test("through shards that end and split", async () => {
    const { start, write, pass, committed, tip, streams } = bench();
    const compactor = start();
    for (let step = 0; step < 6; step += 1) {
      write(30);
      streams.end(step % 2 === 0 ? 2 : 1);
      await pass(700);
    }
    await pass(30_000);
    expect(await committed()).toEqual(upTo(180));
    expect([...(await tip()).shards].filter(([, { done }]) => done)).toHaveLength(6);
    await compactor.stop();
  });
});

describe("stopping", () => {
  test("commits what was read, at once", async () => {
    const { start, write, pass, committed } = bench();
    const compactor = start({ flushMs: 50_000 });
    await pass(2_000);
    write(25);
    await pass(2_000);
    expect(await committed()).toEqual([]);
    expect(await compactor.stop()).toBeLessThan(1_000);
    expect(await committed()).toEqual(upTo(25));
  });

  test.each([
    ["while it commits", 3_000],
    ["before it has opened the log", 0],
  ])("ends in time when the store is down %s, and loses nothing", async (_, upMs) => {
    const { start, write, pass, committed, network } = bench();
    network.down = upMs === 0;
    const first = start();
    await pass(upMs);
    write(40);
    network.down = true;
    await pass(3_000);
    expect(await first.stop()).toBeLessThanOrEqual(20_000);
    network.down = false;
    const second = start();
    // The first could not say that it left: its shards are taken over when it is taken for dead.
    await pass(40_000);
    await second.stop();
    expect(await committed()).toEqual(upTo(40));
  });
});

test("while the store is down, reading waits: what is held stays bounded", async () => {
  const { start, write, pass, committed, network, streams } = bench();
  let held = 0;
  const counted = {
    ...streams,
    getRecords: async (iterator: string) => {
      const outcome = await streams.getRecords(iterator);
      if (outcome.kind === "page") held += outcome.page.bytes;
      return outcome;
    },
  };
  const compactor = start({ streams: counted });
  await pass(2_000);
  network.down = true;
  held = 0;
  write(2_000);
  await pass(120_000);
  // A batch on its way and a full buffer, each two flushes and an answer of each of the two shards at most.
  expect(held).toBeLessThan(2 * (2 * FLUSH_BYTES + 2 * 1_000_000));
  network.down = false;
  await pass(240_000);
  expect(await committed()).toEqual(upTo(2_000));
  await compactor.stop();
});

test("a worker whose commit waits for the stream goes on showing that it lives", async () => {
  const { start, pass, streams, disk, time } = bench();
  let silent = false;
  const listing: typeof streams.describe = (signal) =>
    silent
      ? new Promise((_, reject) => {
          signal?.addEventListener("abort", () => reject(new Error("cut short")), { once: true });
        })
      : streams.describe(signal);
  const compactor = start({ streams: { ...streams, describe: listing } });
  await pass(20_000);
  silent = true;
  await pass(60_000);
  const [beat] = await Array.fromAsync(disk.list("workers/"));
  expect(time.nowMs() - (beat?.modifiedMs ?? 0)).toBeLessThan(10_000);
  await compactor.stop();
});

test("a stream that was switched off and on is told in the log lines, too", async () => {
  const { start, write, pass, tip, streams } = bench();
  const warnings: string[] = [];
  const log = { info: () => undefined, warn: (what: string) => void warnings.push(what) };
  const compactor = start({ log });
  write(20);
  await pass(3_000);
  streams.switchOff();
  streams.switchOn();
  write(20);
  await pass(60_000);
  const gaps = [...(await tip()).gaps.values()];
  expect(gaps.length).toBeGreaterThan(0);
  expect(
    warnings.filter((what) => what.includes("gap after its start: the stream was switched off")),
  ).toHaveLength(gaps.length);
  await compactor.stop();
});

test("a gap that each listing brings to light again is logged once", async () => {
  const { start, write, pass, tip, streams } = bench();
  const warnings: string[] = [];
  const log = { info: () => undefined, warn: (what: string) => void warnings.push(what) };
  const withoutChildren: typeof streams.describe = async (signal) =>
    (await streams.describe(signal)).filter(({ parent }) => parent === null);
  const some = { log, streams: { ...streams, describe: withoutChildren } };
  const first = start(some);
  write(20);
  await pass(3_000);
  streams.end(1);
  await pass(10_000);
  await first.stop();
  await pass(DAY_MS + 60_000);
  const compactor = start(some);
  await pass(60_000);
  expect((await tip()).gaps.size).toBe(1);
  expect(warnings.filter((what) => what.includes("no shard that follows it was listed"))).toHaveLength(1);
  await compactor.stop();
});

describe("down for longer than the stream keeps its records", () => {
  test("what is lost is a gap; the rest is read, and the watermark comes back", async () => {
    const { start, write, pass, committed, tip, streams, time } = bench();
    const first = start();
    write(20);
    await pass(3_000);
    await first.stop();
    write(20);
    await pass(DAY_MS + 3_600_000);
    write(20);
    streams.trim(time.nowMs() - DAY_MS);
    const second = start();
    await pass(20_000);
    expect(await committed()).toEqual([...upTo(20), ...upTo(60, 41)]);
    const { gaps, log } = await tip();
    expect([...gaps.values()].map(({ reason }) => reason)).toEqual([
      expect.stringMatching(/older than the stream keeps/),
      expect.stringMatching(/older than the stream keeps/),
    ]);
    expect(time.nowMs() - log.watermarkMs).toBeLessThan(10_000);
    await second.stop();
  });

  test("shards, their children and theirs are gone: what follows is read", async () => {
    const { start, write, pass, committed, tip, streams, time } = bench();
    const first = start();
    write(20);
    await pass(3_000);
    await first.stop();
    for (let generation = 0; generation < 8; generation += 1) {
      streams.end(2);
      write(10);
      await pass(3_600_000);
    }
    await pass(DAY_MS);
    streams.trim(time.nowMs() - DAY_MS);
    write(20);
    const second = start();
    await pass(60_000);
    expect((await committed()).filter((n) => n <= 20 || n > 100)).toEqual([...upTo(20), ...upTo(120, 101)]);
    const { gaps, log } = await tip();
    expect(gaps.size).toBeGreaterThan(0);
    expect(time.nowMs() - log.watermarkMs).toBeLessThan(10_000);
    await second.stop();
  });
});

describe("a stream switched off", () => {
  test("and on: the new one is read, the watermark goes on, and the switch is a gap", async () => {
    const { start, write, pass, committed, tip, streams, time } = bench();
    const compactor = start();
    write(20);
    await pass(2_000);
    streams.switchOff();
    await pass(10_000);
    write(5);
    streams.switchOn();
    write(20);
    await pass(30_000);
    expect(await committed()).toEqual([...upTo(20), ...upTo(45, 26)]);
    const { gaps, log } = await tip();
    expect([...gaps.values()]).toMatchObject([{ reason: expect.stringMatching(/switched off and on/) }]);
    expect(time.nowMs() - log.watermarkMs).toBeLessThan(10_000);
    await compactor.stop();
  });

  test("and on while nobody looks, and the first list of the new one is not whole: a gap all the same", async () => {
    const { start, write, pass, committed, tip, streams } = bench();
    const first = start();
    write(20);
    await pass(2_000);
    await first.stop();
    streams.switchOff();
    await pass(10_000);
    streams.switchOn();
    const known = new Set(streams.shards.keys());
    for (let nth = 0; nth < 3; nth += 1) streams.end(1);
    write(20);
    let listings = 0;
    const describePart: typeof streams.describe = async () => {
      const listed = await streams.describe();
      const left = [...known].at(-1);
      return (listings += 1) === 2 ? listed.filter(({ id }) => id !== left) : listed;
    };
    const second = start({ streams: { ...streams, describe: describePart } });
    await pass(30_000);
    expect(listings).toBeGreaterThan(2);
    expect(await committed()).toEqual(upTo(40));
    expect([...(await tip()).gaps.values()]).toMatchObject([
      { reason: expect.stringMatching(/switched off and on/) },
    ]);
    await second.stop();
  });

  test("for good: the watermark goes on after a day, and the end is a gap", async () => {
    const { start, write, pass, tip, streams, time } = bench();
    const first = start();
    write(20);
    await pass(2_000);
    streams.switchOff();
    await pass(10_000);
    await first.stop();
    const held = (await tip()).log.watermarkMs;
    expect(time.nowMs() - held).toBeGreaterThan(5_000);
    await pass(DAY_MS);
    const second = start();
    await pass(10_000);
    const { gaps, log } = await tip();
    expect([...gaps.values()].map(({ reason }) => reason)).toEqual([
      expect.stringMatching(/no shard that follows it was listed/),
      expect.stringMatching(/no shard that follows it was listed/),
    ]);
    expect(time.nowMs() - log.watermarkMs).toBeLessThan(10_000);
    await second.stop();
  });
});

describe("shards change hands within half a minute", () => {
  const HALF_A_MINUTE_MS = 30_000;
  /** Workers that can be killed, over shards enough for each to have some. */
  function fleet() {
    const world = bench();
    const { streams, disk } = world;
    for (let nth = 0; nth < 14; nth += 1) streams.end(2);
    const join = () => {
      let [dead, rows] = [false, 0];
      const alive = async <T>(work: () => Promise<T>): Promise<T> =>
        dead ? new Promise<never>(() => {}) : work();
      const worker = world.start({
        log: {
          info: (what, fields) => void (rows += what === "committed" ? Number(fields["rows"]) : 0),
          warn: () => {},
        },
        store: {
          ...disk,
          get: (...given) => alive(() => disk.get(...given)),
          put: (...given) => alive(() => disk.put(...given)),
        },
        streams: {
          ...streams,
          describe: (...given) => alive(() => streams.describe(...given)),
          getRecords: (...given) => alive(() => streams.getRecords(...given)),
        },
      });
      return { ...worker, kill: () => void (dead = true), rows: () => rows };
    };
    /** Whether all that is written from now on is committed before that time is over. */
    const isAllRead = async (): Promise<boolean> => {
      world.write(100);
      await world.pass(HALF_A_MINUTE_MS);
      const read = await world.committed();
      return read.length === read.at(-1);
    };
    return { ...world, join, isAllRead };
  }

  test("of one leaving or dying", async () => {
    const { join, isAllRead, pass } = fleet();
    const [first, second, third] = [join(), join(), join()];
    await pass(40_000);
    expect(await isAllRead()).toBe(true);
    void first.stop();
    expect(await isAllRead()).toBe(true);
    second.kill();
    expect(await isAllRead()).toBe(true);
    await third.stop();
  });

  test("of one joining: each has its share", async () => {
    const { join, isAllRead, pass } = fleet();
    const first = join();
    await pass(40_000);
    const second = join();
    await pass(HALF_A_MINUTE_MS);
    const before = first.rows();
    expect(second.rows()).toBe(0);
    expect(await isAllRead()).toBe(true);
    expect(first.rows() - before).toBeGreaterThan(10);
    expect(second.rows()).toBeGreaterThan(10);
    await Promise.all([first.stop(), second.stop()]);
  });
});

test("a worker that stood still for 25 hours, while the other read on: no gap, and nothing twice", async () => {
  const { start, write, pass, committed, tip, streams, disk, time } = bench();
  let wake: PromiseWithResolvers<void> | null = null;
  const awake = async <T>(work: () => Promise<T>): Promise<T> => {
    await wake?.promise;
    const done = await work();
    await wake?.promise;
    return done;
  };
  const clock = virtualClock(time, 99);
  const unhurried = { flushMs: 60_000, heartbeatMs: 600_000, pollMinMs: 60_000, pollMaxMs: 60_000 };
  const paused = start({
    ...unhurried,
    clock: { ...clock, sleep: (...given) => awake(() => clock.sleep(...given)) },
    store: {
      ...disk,
      get: (...given) => awake(() => disk.get(...given)),
      put: (...given) => awake(() => disk.put(...given)),
    },
    streams: {
      describe: (...given) => awake(() => streams.describe(...given)),
      openIterator: (...given) => awake(() => streams.openIterator(...given)),
      getRecords: (...given) => awake(() => streams.getRecords(...given)),
    },
  });
  write(20);
  await pass(180_000);
  const other = start(unhurried);
  await pass(180_000);
  wake = Promise.withResolvers();
  for (let hour = 0; hour < 25; hour += 1) {
    if (hour % 4 === 0) for (let nth = 0; nth < 4; nth += 1) streams.end(1);
    write(2);
    await pass(3_600_000);
    streams.trim(time.nowMs() - DAY_MS);
  }
  const waking = wake;
  wake = null;
  waking.resolve();
  write(20);
  await pass(900_000);
  expect(await committed()).toEqual(upTo(90));
  expect((await tip()).gaps.size).toBe(0);
  expect(time.nowMs() - (await tip()).log.watermarkMs).toBeLessThan(900_000);
  await paused.stop();
  await other.stop();
});

test("a clock that is set back by hours: rows are committed, shards are found, and the watermark waits", async () => {
  const { start, write, pass, committed, tip, streams, time } = bench();
  const steady = virtualClock(time);
  let skewMs = 0;
  const compactor = start({ clock: { ...steady, nowMs: () => steady.nowMs() + skewMs } });
  await pass(3_000);
  write(20);
  await pass(300);
  skewMs = -3 * 3_600_000;
  const { log } = await tip();
  for (let generation = 0; generation < 2; generation += 1) {
    streams.end(2);
    write(20);
    await pass(10_000);
  }
  expect(await committed()).toEqual(upTo(60));
  expect((await tip()).log.watermarkMs).toBeGreaterThanOrEqual(log.watermarkMs);
  await pass(3 * 3_600_000);
  expect(time.nowMs() + skewMs - (await tip()).log.watermarkMs).toBeLessThan(10_000);
  await compactor.stop();
});

test("a shard that is said not to exist for a minute is read on: it was there lately", async () => {
  const { start, write, pass, committed, tip, streams } = bench();
  let lost = false;
  const openIterator: typeof streams.openIterator = async (...given) =>
    lost ? { kind: "gone" } : streams.openIterator(...given);
  const getRecords: typeof streams.getRecords = async (...given) =>
    lost ? { kind: "gone" } : streams.getRecords(...given);
  const compactor = start({ streams: { ...streams, openIterator, getRecords } });
  write(20);
  await pass(3_000);
  lost = true;
  write(20);
  await pass(60_000);
  lost = false;
  write(20);
  await pass(20_000);
  expect(await committed()).toEqual(upTo(60));
  expect((await tip()).gaps.size).toBe(0);
  await compactor.stop();
});

describe("a list that names a shard again", () => {
  test.each([
    ["which was gone when those after it were read", 1],
    ["and those after it, all of them gone", 2],
  ])("%s: nothing stops for it, and nothing is read twice", async (_, generations) => {
    const { start, write, pass, committed, tip, streams, time } = bench();
    write(20);
    for (let nth = 0; nth < generations; nth += 1) {
      const open = [...streams.shards.values()].filter(({ closed }) => !closed);
      for (let ended = 0; ended < open.length; ended += 1) streams.end(1);
    }
    const whole = await streams.describe();
    await pass(60_000);
    streams.trim(time.nowMs());
    write(20);
    let isWhole = false;
    const flipping: typeof streams.describe = async () => (isWhole ? whole : streams.describe());
    const compactor = start({ streams: { ...streams, describe: flipping } });
    await pass(5_000);
    expect(await committed()).toEqual(upTo(40, 21));
    isWhole = true;
    write(20);
    await pass(10_000);
    expect(compactor.state.error).toBeUndefined();
    isWhole = false;
    await pass(10_000);
    expect(await committed()).toEqual(upTo(60, 21));
    const { gaps, log } = await tip();
    expect(gaps.size).toBe(0);
    expect(time.nowMs() - log.watermarkMs).toBeLessThan(10_000);
    await compactor.stop();
  });

  test("which was only said to be gone: what it holds is a gap", async () => {
    const { start, write, pass, committed, tip, streams } = bench();
    const roots = [...streams.shards.keys()];
    write(20);
    streams.end(1);
    streams.end(1);
    write(20);
    let hidden = roots.filter((id) => streams.shards.get(id)?.closed);
    const describeRest: typeof streams.describe = async () =>
      (await streams.describe()).filter(({ id }) => !hidden.includes(id));
    const openIterator: typeof streams.openIterator = async (arn, id, ...given) =>
      hidden.includes(id) ? { kind: "gone" } : streams.openIterator(arn, id, ...given);
    const compactor = start({ streams: { ...streams, describe: describeRest, openIterator } });
    await pass(5_000);
    const shown = hidden;
    hidden = [];
    write(20);
    await pass(10_000);
    expect(compactor.state.error).toBeUndefined();
    expect([...(await tip()).gaps.values()].map(({ shard }) => shard).toSorted()).toEqual(shown);
    expect((await committed()).filter((n) => n > 20)).toEqual(upTo(60, 21));
    await compactor.stop();
  });
});

describe("what cannot be mended ends the process, with nothing lost", () => {
  test("a record that cannot be kept: all before it is committed", async () => {
    const { start, write, pass, committed } = bench();
    const compactor = start();
    write(20);
    await pass(3_000);
    write(1, { eventName: "TRUNCATE" });
    await pass(5_000);
    expect(compactor.state.error).toMatchObject({ code: "bad_record" });
    expect(await committed()).toEqual(upTo(20));
  });

  test("a log that another program wrote to", async () => {
    const { start, write, pass, tip, disk } = bench();
    const compactor = start();
    write(20);
    await pass(3_000);
    const foreign = planCreate("other", { txnId: "other", nowMs: T0 }).commit;
    const { version } = await tip();
    const body = new TextEncoder().encode(encodeCommit(foreign));
    await disk.put(commitKey(version + 1), body, { kind: "if-absent" });
    write(20);
    await pass(5_000);
    expect(compactor.state.error).toMatchObject({ code: "invariant_broken" });
  });

  test("another table's changelog, which stays as it is", async () => {
    const { start, write, pass, tip, streams } = bench();
    const first = start();
    write(20);
    await pass(3_000);
    await first.stop();
    const { version } = await tip();
    const describeOther: typeof streams.describe = async () =>
      (await streams.describe()).map((shard) =>
        Object.assign(shard, { stream: shard.stream.replace("/items/", "/others/") }),
      );
    const second = start({ streams: { ...streams, describe: describeOther } });
    await pass(3_000);
    expect(second.state.error).toMatchObject({ code: "other_table" });
    expect((await tip()).version).toBe(version);
  });

  test("a store that refuses at the start", async () => {
    const { start, pass, disk } = bench();
    const refused = Object.assign(new Error("AccessDenied"), { name: "AccessDenied" });
    const compactor = start({ store: { ...disk, put: () => Promise.reject(refused) } });
    await pass(30_000);
    expect(compactor.state.error).toMatchObject({ code: "log_not_made", cause: refused });
  });
});
