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
      const dynamodb = { Keys: { pk }, NewImage: { pk, "p.n": { N: String(writes) } } };
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

  test("a store that refuses at the start", async () => {
    const { start, pass, disk } = bench();
    const refused = Object.assign(new Error("AccessDenied"), { name: "AccessDenied" });
    const compactor = start({ store: { ...disk, put: () => Promise.reject(refused) } });
    await pass(30_000);
    expect(compactor.state.error).toMatchObject({ code: "log_not_made", cause: refused });
  });
});
