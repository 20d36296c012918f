/** The merger, with real files and DuckDB. */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Laid } from "../../bench/laid.ts";
import { layDown, object } from "../../bench/laid.ts";
import { duckdbEngine } from "../../compactor/merge-engine.ts";
import { openMerger } from "../../compactor/merge.ts";
import { NO_METRICS } from "../../compactor/metrics.ts";
import { systemClock } from "../../shared/clock.ts";
import { LEVEL_MS } from "../../shared/window.ts";
import { T0 } from "../fakes/changes.ts";
import type { MemoryStore } from "../fakes/store.ts";
import { memoryStore } from "../fakes/store.ts";

const FIVE_MINUTES = LEVEL_MS[1];
let store: MemoryStore;
let laid: Laid;
let dir: string;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), "varve-test-merge-"));
  vi.stubEnv("TMPDIR", dir);
  store = memoryStore();
  laid = await layDown(store, T0);
});
afterEach(async () => {
  await laid.close();
  vi.unstubAllEnvs();
  rmSync(dir, { recursive: true, force: true });
});

/** The merger over what is laid, on a clock of its own. */
function merging() {
  const time = { nowMs: T0 + 3_600_000 };
  const warnings: [string, Record<string, unknown>][] = [];
  const merger = openMerger({
    store,
    clock: { ...systemClock, nowMs: () => time.nowMs },
    log: { info: () => {}, warn: (what, fields) => warnings.push([what, fields]) },
    metrics: NO_METRICS,
    engine: duckdbEngine(64),
  });
  const run = (): Promise<void> =>
    merger.run({
      snapshot: laid.snapshot,
      owns: () => true,
      forgetRemoved: () => {},
      commit: async (plan) => {
        const identity = { txnId: `m${laid.snapshot().version}`, nowMs: time.nowMs };
        const planned = plan(laid.snapshot(), identity);
        if (planned.kind === "stale") return planned;
        await laid.put(planned.commit, planned.next);
        return { kind: "committed" };
      },
      signal: new AbortController().signal,
    });
  return { run, time, warnings };
}

/** `<level>/<window>` of each live file. */
const levels = (): string[] =>
  [...laid.snapshot().files.values()]
    .map(({ level, windowStartMs }) => `${level}/${(windowStartMs - T0) / FIVE_MINUTES}`)
    .toSorted();

const leftovers = (): string[] => readdirSync(dir).filter((name) => name.startsWith("varve-merge-"));

describe("a window with a damaged file", () => {
  let damaged: string;
  let sound: Uint8Array;

  /** Two flushes of each of three windows; the first file of the first window is damaged. */
  beforeEach(async () => {
    for (let window = 0; window < 3; window += 1)
      for (let flush = 1; flush <= 2; flush += 1) {
        const ms = T0 + window * FIVE_MINUTES + flush * 1_000;
        await laid.commit([object("users", `u${flush}`, ms)], ms + 1);
      }
    await laid.commit([], T0 + 3 * FIVE_MINUTES);
    damaged = [...laid.snapshot().files.keys()][0] ?? "";
    sound = store.objects.get(damaged)?.body ?? new Uint8Array();
    await store.put(damaged, sound.with(30, (sound[30] ?? 0) ^ 1), { kind: "always" });
  });

  test("does not keep the others from being merged, and is told", async () => {
    const { run, warnings } = merging();
    await run();
    expect(levels()).toEqual(["0/0", "0/0", "1/1", "1/2"]);
    expect(warnings).toEqual([
      [
        expect.stringContaining("cannot be merged"),
        expect.objectContaining({
          code: "damaged_file",
          why: expect.stringContaining(damaged),
          window: new Date(T0).toISOString(),
        }),
      ],
    ]);
    expect(leftovers()).toEqual([]);
  });

  test("is left alone for a while, and merged once its file is restored", async () => {
    const { run, time, warnings } = merging();
    await run();
    await store.put(damaged, sound, { kind: "always" });
    time.nowMs += 599_000;
    await run();
    expect(levels()).toContainEqual("0/0");
    time.nowMs += 1_000;
    await run();
    expect(levels()).toEqual(["1/0", "1/1", "1/2"]);
    expect(warnings).toHaveLength(1);
  });
});

test("what fails while files are fetched is said as it is, and nothing is left behind", async () => {
  let underWay = 0;
  const slow = async (): Promise<Uint8Array> => {
    underWay += 1;
    await new Promise((resolve) => {
      setTimeout(resolve, 50);
    });
    underWay -= 1;
    return new Uint8Array(10);
  };
  await laid.commit([object("users", "u1", T0 + 1)], T0 + 2);
  await laid.commit([object("users", "u2", T0 + 3)], T0 + 4);
  const inputs = [...laid.snapshot().files.values()];
  const merge = duckdbEngine(64)({
    inputs,
    fetch: (file) => (file === inputs[0] ? Promise.reject(new Error("the store is out")) : slow()),
    store: async () => undefined,
    keepAll: false,
    fileBytesMax: 1,
  });
  await expect(merge).rejects.toThrow("the store is out");
  expect(underWay).toBe(0);
  expect(leftovers()).toEqual([]);
});
