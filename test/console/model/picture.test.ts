import { describe, expect, test } from "vitest";
import { planCreate } from "../../../compactor/plan.ts";
import { pictureOf } from "../../../console/model/picture.ts";
import type { DataFile, Snapshot } from "../../../shared/snapshot.ts";
import { T0, add, fileOf } from "./made.ts";

describe("the picture", () => {
  const snapshotOf = (files: readonly DataFile[]): Snapshot => ({
    ...planCreate("t", { txnId: "0", nowMs: T0 }).next,
    files: new Map(files.map((file) => [file.path, file])),
  });

  test("files of one window and level are one bar", () => {
    const files = [
      add(0, T0, 5, T0, T0 + 1),
      add(0, T0, 7, T0, T0 + 2),
      add(3, T0 - 43_200_000, 900, T0 - 9, T0 - 8),
    ].map(fileOf);
    const { windows, levels, flushes } = pictureOf(snapshotOf(files));
    expect(windows).toEqual([
      { level: 0, startMs: T0, lengthMs: 300_000, files: 2, rows: 12, changes: 12, bytes: 1_200 },
      {
        level: 3,
        startMs: T0 - 43_200_000,
        lengthMs: 86_400_000,
        files: 1,
        rows: 900,
        changes: 900,
        bytes: 90_000,
      },
    ]);
    expect(levels.map(({ files: count }) => count)).toEqual([2, 0, 0, 1]);
    expect(flushes.map(({ rows }) => rows)).toEqual([7, 5]);
  });

  test("windows too many to draw are drawn as longer ones, and none is lost", () => {
    const files = Array.from({ length: 500 }, (_, at) => fileOf(add(0, T0 + at * 300_000, 1, T0, T0 + at)));
    const { windows } = pictureOf(snapshotOf(files), 100);
    expect(windows.length).toBeLessThanOrEqual(100);
    expect(windows.every(({ lengthMs }) => lengthMs === 3_600_000)).toBe(true);
    expect(windows.reduce((sum, { rows }) => sum + rows, 0)).toBe(500);
  });
});
