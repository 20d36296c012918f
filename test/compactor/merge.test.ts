import { expect, test } from "vitest";
import type { Beside, MergeEngine } from "../../compactor/merge.ts";
import { openMerger } from "../../compactor/merge.ts";
import { NO_METRICS } from "../../compactor/metrics.ts";
import type { UploadedFile } from "../../compactor/plan.ts";
import type { DataFile, Snapshot } from "../../shared/snapshot.ts";
import { LEVEL_MS } from "../../shared/window.ts";
import { T0, change, logOf, position, row, seq, uploaded } from "../fakes/changes.ts";
import { virtualClock, virtualTime } from "../fakes/clock.ts";
import { encodeRows, jsonMerge } from "../fakes/parquet.ts";
import { memoryStore } from "../fakes/store.ts";

const FIVE_MINUTES = LEVEL_MS[1];
const WINDOWS = 3;

/** Two flushes of each of three windows, all complete, one file of the first missing; and a merger of them. */
async function bench(engine: MergeEngine = jsonMerge) {
  const time = virtualTime(T0 + WINDOWS * FIVE_MINUTES + 1);
  const store = memoryStore(time.nowMs);
  const files: UploadedFile[] = [];
  const asked: string[] = [];
  const stopping = new AbortController();
  for (let number = 0; number < 2 * WINDOWS; number += 1) {
    const one = row({
      seq: seq(number + 1),
      key: `k${number}`,
      changedMs: T0 + Math.floor(number / 2) * FIVE_MINUTES + number,
    });
    const file = uploaded(one);
    files.push(file);
    await store.put(file.path, encodeRows([one]).bytes, { kind: "always" });
  }
  const watermarkMs = T0 + WINDOWS * FIVE_MINUTES;
  let snapshot: Snapshot = logOf(
    change({
      files,
      positions: new Map([["s1", position({ seq: seq(2 * WINDOWS), at: watermarkMs })]]),
      discoveredMs: watermarkMs,
    }),
  );
  const damaged = files[0] as UploadedFile;
  const { body } = (await store.get(damaged.path)) ?? { body: new Uint8Array() };
  await store.delete(damaged.path);
  const beside: Beside = {
    snapshot: () => snapshot,
    owns: () => true,
    forgetRemoved: () => {},
    signal: stopping.signal,
    commit: async (plan) => {
      const planned = plan(snapshot, { txnId: String(snapshot.version), nowMs: time.nowMs() });
      if (planned.kind === "stale") return planned;
      snapshot = planned.next;
      return { kind: "committed" };
    },
  };
  const warnings: Record<string, unknown>[] = [];
  const merger = openMerger({
    store: { ...store, get: (key) => (asked.push(key), store.get(key)) },
    clock: virtualClock(time),
    log: { info: () => {}, warn: (_, fields) => void warnings.push(fields) },
    metrics: NO_METRICS,
    engine,
  });
  const pass = async (ms: number): Promise<void> => {
    let passed = false;
    void time.sleep(ms).then(() => (passed = true));
    await time.run(() => passed, ms + 1);
  };
  const levels = (): number[] =>
    [...snapshot.files.values()].map(({ level }: DataFile) => level).toSorted((a, b) => a - b);
  const mend = () => store.put(damaged.path, body, { kind: "always" });
  return { run: () => merger.run(beside), stopping, warnings, asked, levels, mend, pass, damaged };
}

test("a window whose file is damaged holds up no other, and is named", async () => {
  const { run, warnings, levels } = await bench();
  await run();
  expect(levels()).toEqual([0, 0, 1, 1]);
  expect(warnings).toMatchObject([{ code: "damaged_file", level: 1, window: new Date(T0).toISOString() }]);
});

test("it is tried again, each time after twice as long, until it can be merged", async () => {
  const { run, asked, levels, mend, pass, damaged } = await bench();
  const tries = (): number => asked.filter((key) => key === damaged.path).length;
  for (let second = 0; second < 120; second += 1) {
    await run();
    await pass(1_000);
  }
  expect(tries()).toBe(4);
  await mend();
  await pass(80_000);
  await run();
  expect(levels()).toEqual([1, 1, 1]);
});

test("told to stop in the midst of a merge, it ends without it", async () => {
  const begun = Promise.withResolvers<void>();
  const endless: MergeEngine = ({ signal }) =>
    new Promise((_, reject) => {
      begun.resolve();
      signal.addEventListener("abort", () => reject(new Error("interrupted")), { once: true });
    });
  const { run, stopping, warnings, levels, mend } = await bench(endless);
  await mend();
  const running = run();
  await begun.promise;
  stopping.abort();
  await running;
  expect(levels()).toEqual([0, 0, 0, 0, 0, 0]);
  expect(warnings).toEqual([]);
});
