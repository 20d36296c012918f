import { expect, test } from "vitest";
import type { BootstrapDeps, ScanPage } from "../../compactor/bootstrap.ts";
import { bootstrap } from "../../compactor/bootstrap.ts";
import { runCompactor } from "../../compactor/compactor.ts";
import type { Rewrite } from "../../compactor/rewrite.ts";
import type { AttributeMap } from "../../shared/item.ts";
import { dataKey } from "../../shared/keys.ts";
import { replay } from "../../shared/log.ts";
import type { Row } from "../../shared/row.ts";
import type { DataFile, Snapshot } from "../../shared/snapshot.ts";
import { T0 } from "../fakes/changes.ts";
import { compactorDeps } from "../fakes/compactor.ts";
import { virtualClock, virtualTime } from "../fakes/clock.ts";
import { decodeRows, encodeRows, jsonStage } from "../fakes/parquet.ts";
import { randomOf } from "../fakes/random.ts";
import { memoryStore } from "../fakes/store.ts";
import { fakeStreams } from "../fakes/streams.ts";

const ITEMS_A_PAGE = 5;

/** A table of events and its stream, a compactor whose clock is `skewMs` ahead, and bootstraps beside it. */
function bench(skewMs = 0) {
  const time = virtualTime(T0);
  const store = memoryStore(time.nowMs);
  const streams = fakeStreams({
    nowMs: time.nowMs,
    random: randomOf(1),
    pageMax: 100,
    listLagMaxMs: 0,
    fault: () => null,
  });
  const items: AttributeMap[] = [];
  const stopping = new AbortController();
  const compactor = runCompactor(
    compactorDeps({
      store,
      streams,
      clock: virtualClock(time, 1, skewMs),
      flushMs: 1_000,
      heartbeatMs: 5_000,
      pollMinMs: 4_000,
      pollMaxMs: 5_000,
    }),
    stopping.signal,
  );
  const rowsOf = async (file: DataFile): Promise<Row[]> =>
    decodeRows((await store.get(file.path))?.body ?? new Uint8Array());
  /** As `findRepeats`, over files of JSON. */
  const repeats: BootstrapDeps["repeats"] = async (scanned, streamed) => {
    const keys = new Set((await Promise.all(streamed.map(rowsOf))).flat().map(({ key }) => key));
    const rewrites: Rewrite[] = [];
    for (const input of scanned) {
      const rows = await rowsOf(input);
      const [kept, dropped] = [
        rows.filter(({ key }) => !keys.has(key)),
        rows.filter(({ key }) => keys.has(key)),
      ];
      if (dropped.length === 0) continue;
      const { level, windowStartMs, minChangedMs } = input;
      const path = dataKey(level, windowStartMs, `kept${(made += 1)}`);
      const { bytes, ...file } = encodeRows(kept);
      await store.put(path, bytes, { kind: "always" });
      const output =
        kept.length === 0
          ? null
          : { path, level, windowStartMs, sizeBytes: bytes.byteLength, minChangedMs, file };
      rewrites.push({ input, output, dropped: encodeRows(dropped).totals });
    }
    return rewrites;
  };
  let made = 0;
  const start = (some: Partial<BootstrapDeps> = {}) => {
    const state: { ended: boolean; error: unknown } = { ended: false, error: null };
    bootstrap(
      {
        store,
        clock: virtualClock(time, 7 + (made += 1)),
        openStage: jsonStage,
        scan: async (segment, segments, cursor): Promise<ScanPage> => {
          await time.sleep(20);
          const mine = items.filter((_, index) => index % segments === segment);
          const from = cursor === null ? 0 : Number(cursor);
          const to = from + ITEMS_A_PAGE;
          return { items: mine.slice(from, to), cursor: to < mine.length ? String(to) : null };
        },
        keyNames: ["pk"],
        segments: 2,
        repeats,
        progress: () => {},
        ...some,
      },
      new AbortController().signal,
    ).then(
      () => (state.ended = true),
      (error: unknown) => Object.assign(state, { ended: true, error }),
    );
    return state;
  };
  const write = (): void => {
    const pk = { S: `e#shop#m${items.length}` };
    const item = {
      pk,
      kind: { S: "event" },
      source: { S: "shop" },
      collection: { S: "tracks" },
      body: { S: `{"n":${items.length}}` },
    };
    items.push(item);
    streams.write(pk.S, { eventName: "INSERT", dynamodb: { Keys: { pk }, NewImage: item } });
  };
  const tip = async (): Promise<Snapshot> => {
    const loaded = await replay(store, null);
    if (loaded === null) throw new Error("there is no log");
    expect(loaded.violations).toEqual([]);
    return loaded.snapshot;
  };
  return {
    time,
    items,
    write,
    start,
    tip,
    pass: async (ms: number): Promise<void> => {
      let passed = false;
      void time.sleep(ms).then(() => (passed = true));
      await time.run(() => passed, ms + 1);
    },
    keys: async (): Promise<string[]> => {
      const rows = (await Promise.all([...(await tip()).files.values()].map(rowsOf))).flat();
      return rows.map(({ key }) => key).toSorted();
    },
    stop: async (): Promise<void> => {
      let ended = false;
      stopping.abort();
      void compactor.then(() => (ended = true));
      await time.run(() => ended, 60_000);
    },
  };
}

const keysOf = (items: readonly AttributeMap[]): string[] =>
  items.map(({ pk }) => JSON.stringify({ pk: (pk as { S: string }).S })).toSorted();

test.each([0, 180_000, -180_000])(
  "an event written while the table is scanned stands once, a compactor's clock %i ms ahead",
  async (skewMs) => {
    const { items, write, start, pass, keys, time, stop } = bench(skewMs);
    await pass(10_000);
    for (let n = 0; n < 40; n += 1) write();
    const done = start();
    for (let n = 0; n < 20; n += 1) {
      await pass(10);
      write();
    }
    await time.run(() => done.ended, 900_000);
    expect(done.error).toBeNull();
    await pass(30_000);
    expect(await keys()).toEqual(keysOf(items));
    await stop();
  },
);

test("two that begin at once: every item is there once, whichever goes on", async () => {
  for (let seed = 0; seed < 20; seed += 1) {
    const { items, start, pass, keys, time, tip, stop } = bench();
    await pass(10_000);
    for (let n = 0; n < 60; n += 1) items.push({ pk: { S: `old${n}` }, n: { N: String(n) } });
    const [one, two] = [start({ segments: 2 }), start({ segments: 3 })];
    await time.run(() => one.ended && two.ended, 900_000);
    const again = start();
    await time.run(() => again.ended, 900_000);
    await pass(30_000);
    expect(await keys()).toEqual(keysOf(items));
    expect(
      [...(await tip()).shards.values()].every(({ stream, done }) => stream !== "bootstrap" || done),
    ).toBe(true);
    await stop();
  }
});
