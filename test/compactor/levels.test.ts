import { describe, expect, test } from "vitest";
import type { ParquetFile } from "../../compactor/summary.ts";
import type { MergeTask } from "../../compactor/levels.ts";
import { expiredFiles, mergeTasks, planExpire, planMerge } from "../../compactor/levels.ts";
import { dataKey } from "../../shared/keys.ts";
import type { Row } from "../../shared/row.ts";
import type { Snapshot } from "../../shared/snapshot.ts";
import type { Level } from "../../shared/window.ts";
import { LEVEL_MS } from "../../shared/window.ts";
import { T0, change, logOf, position, row, seq, uploaded } from "../fakes/changes.ts";
import { encodeRows, jsonMerge } from "../fakes/parquet.ts";

const FIVE_MINUTES = LEVEL_MS[1];
const IDENTITY = { txnId: "merge", nowMs: T0 + 900_000 };

/** Flushes of `rows`, one file each, and the watermark after them. */
function flushed(rows: readonly Row[], watermarkMs: number): Snapshot {
  const flushes = rows.map((one, index) =>
    change({
      files: [uploaded(one)],
      positions: new Map([
        ["s1", position({ from: rows[index - 1]?.seq ?? null, seq: one.seq, at: one.changedMs })],
      ]),
      discoveredMs: one.changedMs,
    }),
  );
  const last = rows.at(-1)?.seq ?? null;
  const end = change({
    positions: new Map([["s1", position({ from: last, seq: last, at: watermarkMs })]]),
    discoveredMs: watermarkMs,
  });
  return logOf(...flushes, end);
}

const rowAt = (number: number, changedMs: number, key: string): Row =>
  row({ seq: seq(number), changedMs, key });

/** Three flushes of the first window, of two keys. */
const ROWS = [rowAt(1, T0 + 1, "a"), rowAt(2, T0 + 2, "b"), rowAt(3, T0 + 3, "a")];

function taskOf(snapshot: Snapshot): MergeTask {
  const [task] = mergeTasks(snapshot);
  if (task === undefined) throw new Error("nothing to merge");
  return task;
}

async function merged(task: MergeTask, rows: readonly Row[]) {
  const outputs: ParquetFile[] = [];
  const { read, survivors } = await jsonMerge({
    inputs: task.inputs,
    fetch: async (file) => encodeRows([rows[task.inputs.indexOf(file)] as Row]).bytes,
    store: async (output) => void outputs.push(output),
    keepAll: false,
    fileBytesMax: 1,
    signal: new AbortController().signal,
  });
  const files = outputs.map(({ bytes, ...file }) => ({
    path: dataKey(task.level, task.windowStartMs, "merged"),
    level: task.level,
    windowStartMs: task.windowStartMs,
    sizeBytes: bytes.byteLength,
    minChangedMs: T0 + 1,
    file,
  }));
  return { outputs: files, read, survivors };
}

describe("what is merged", () => {
  const windows = (snapshot: Snapshot): readonly (readonly [Level, number, number])[] =>
    mergeTasks(snapshot).map(({ level, windowStartMs, inputs }) => [
      level,
      windowStartMs - T0,
      inputs.length,
    ]);

  test("a window that the watermark has passed", () => {
    expect(windows(flushed(ROWS, T0 + FIVE_MINUTES))).toEqual([[1, 0, 3]]);
  });

  test("none that it has not", () => {
    expect(windows(flushed(ROWS, T0 + FIVE_MINUTES - 1))).toEqual([]);
  });

  test("none of one file", () => {
    expect(windows(flushed(ROWS.slice(0, 1), T0 + FIVE_MINUTES))).toEqual([]);
  });

  test("lower levels first", () => {
    const later = [...ROWS, rowAt(4, T0 + FIVE_MINUTES + 1, "a")];
    const hourStart = T0 - 600_000;
    expect(windows(flushed(later, hourStart + LEVEL_MS[2]))).toEqual([
      [1, 0, 3],
      [2, hourStart - T0, 4],
    ]);
  });
});

describe("a merge", () => {
  test("replaces its files by one, and what is superseded is counted", async () => {
    const snapshot = flushed(ROWS, T0 + FIVE_MINUTES);
    const task = taskOf(snapshot);
    const plan = planMerge(snapshot, task, await merged(task, ROWS), IDENTITY);
    if (plan.kind === "stale") throw new Error(plan.why);
    expect(plan.next.files.size).toBe(1);
    expect(plan.next.live.rows).toBe(2);
    expect(plan.next.log).toMatchObject({ changes: 3, committed: { rows: 3 }, superseded: { rows: 1 } });
    expect(plan.next.log.watermarkMs).toBe(snapshot.log.watermarkMs);
    expect(mergeTasks(plan.next)).toEqual([]);
  });

  test("is stale when another has merged a file of it", async () => {
    const snapshot = flushed(ROWS, T0 + FIVE_MINUTES);
    const task = taskOf(snapshot);
    const result = await merged(task, ROWS);
    const plan = planMerge(snapshot, task, result, IDENTITY);
    if (plan.kind === "stale") throw new Error(plan.why);
    expect(planMerge(plan.next, task, result, IDENTITY).kind).toBe("stale");
  });

  const dropped = [rowAt(1, T0 + 1, "a"), rowAt(2, T0 + 2, "b"), rowAt(3, T0 + 3, "c")];
  test.each([
    ["drops a live row", dropped, [rowAt(3, T0 + 3, "c")], /must survive/],
    ["makes a row up", dropped, [...dropped, rowAt(4, T0 + 4, "d")], /must survive/],
    ["forgets changes", ROWS, [rowAt(2, T0 + 2, "b"), rowAt(3, T0 + 3, "a")], /stand for 2 changes/],
  ])("that %s is given up", async (_, rows, written, message) => {
    const snapshot = flushed(rows, T0 + FIVE_MINUTES);
    const task = taskOf(snapshot);
    const right = await merged(task, rows);
    const [output] = right.outputs;
    if (output === undefined) throw new Error("no output");
    const { bytes: _bytes, ...file } = encodeRows(written);
    const wrong = { ...right, outputs: [{ ...output, file }] };
    expect(() => planMerge(snapshot, task, wrong, IDENTITY)).toThrow(message);
  });

  test("that read other rows than were committed is given up", async () => {
    const snapshot = flushed(ROWS, T0 + FIVE_MINUTES);
    const task = taskOf(snapshot);
    const others = ROWS.map((one) => ({ ...one, key: `${one.key}x` }));
    const result = await merged(task, others);
    expect(() => planMerge(snapshot, task, result, IDENTITY)).toThrow(/the log says 3/);
  });
});

describe("retention", () => {
  test("takes whole windows, and counts their rows as expired", () => {
    const snapshot = flushed(ROWS, T0 + FIVE_MINUTES + 1000);
    expect(expiredFiles(snapshot, 1001)).toEqual([]);
    const expired = expiredFiles(snapshot, 1000);
    expect(expired).toHaveLength(3);
    const plan = planExpire(snapshot, expired, IDENTITY);
    if (plan.kind === "stale") throw new Error(plan.why);
    expect(plan.next).toMatchObject({ live: { rows: 0 }, log: { expired: { rows: 3 }, changes: 3 } });
    expect(planExpire(plan.next, expired, IDENTITY).kind).toBe("stale");
  });
});
