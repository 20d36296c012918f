import { describe, expect, test } from "vitest";
import { keepCommit, sumFigures } from "../../../console/model/commits.ts";
import { T0, add, commit, kept } from "./made.ts";

describe("a commit", () => {
  test("counts rows of what is new, and not of what is written again", () => {
    const again = add(1, T0, 50, T0, T0 + 9, { dataChange: false });
    const { line, files } = keepCommit(commit(3, T0 + 10, [add(0, T0, 20, T0, T0 + 9), again], T0), 0);
    expect(line).toMatchObject({
      version: 3,
      rows: 20,
      changes: 20,
      bytes: 7_000,
      filesAdded: 2,
      watermarkMs: T0,
    });
    expect(files.map(({ path }) => path)).toEqual([`data/0-${T0}-20`]);
  });

  test("that does not say the watermark has the one before", () => {
    const silent = { ...commit(4, T0, [], 0), actions: [] };
    expect(keepCommit(silent, 77).line.watermarkMs).toBe(77);
  });

  test("many add up", () => {
    const sum = sumFigures(
      kept([1, T0, [add(0, T0, 20, T0, T0)], T0], [2, T0 + 5_000, [add(0, T0, 5, T0, T0)], T0]),
    );
    expect(sum).toMatchObject({
      fromMs: T0,
      toMs: T0 + 5_000,
      commits: 2,
      flushes: 2,
      changes: 25,
      bytes: 2_500,
    });
  });
});
