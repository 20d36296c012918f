import { describe, expect, test } from "vitest";
import { keepCommit } from "../../../console/model/commits.ts";
import type { Digest } from "../../../console/model/flow.ts";
import { cadenceMs, flowOf } from "../../../console/model/flow.ts";
import type { Reading } from "../../../console/model/samples.ts";
import { T0, add, commit, kept } from "./made.ts";

describe("flow", () => {
  const nowMs = T0 + 60_000;
  const none = { digests: new Map<string, Digest>(), readings: [] };
  const total = (values: readonly (number | null)[], stepMs: number): number =>
    values.reduce((sum: number, value) => sum + ((value ?? 0) * stepMs) / 1000, 0);

  test("an empty log has no figures, and a grid all the same", () => {
    const flow = flowOf({ nowMs, commits: [], ...none });
    expect(flow.endsMs.length).toBeGreaterThan(100);
    expect(flow.accepted.every((value) => value === null)).toBe(true);
    expect(flow.now).toMatchObject({ acceptedPerSecond: null, committedPerSecond: null, errors: null });
  });

  test("a file's rows are spread over its time, a commit's over the time since the one before", () => {
    const commits = kept(
      [1, T0 + 1_000, [], T0],
      [2, T0 + 30_000, [add(0, T0, 100, T0 + 10_000, T0 + 19_999)], T0 + 29_000],
      [3, T0 + 60_000, [], T0 + 60_000],
    );
    const flow = flowOf({ nowMs, commits, ...none });
    expect(flow.stepMs).toBe(1_000);
    const at = (ms: number): number => flow.endsMs.indexOf(T0 + ms);
    expect(flow.accepted[at(15_000)]).toBeCloseTo(10);
    expect(flow.accepted[at(25_000)]).toBe(0);
    expect(flow.committed[at(15_000)]).toBeCloseTo(100 / 29);
    expect(total(flow.accepted, flow.stepMs)).toBeCloseTo(100);
    expect(total(flow.committed, flow.stepMs)).toBeCloseTo(100);
  });

  test("past the watermark nothing is told, nor of commits that are still to come", () => {
    const commits = kept(
      [1, T0, [], T0],
      [2, T0 + 50_000, [add(0, T0, 10, T0 + 1_000, T0 + 2_000)], T0 + 40_000],
    );
    const { accepted, committed, endsMs } = flowOf({ nowMs: T0 + 55_000, commits, ...none });
    const last = (values: readonly (number | null)[]): number | undefined =>
      endsMs[values.findLastIndex((value) => value !== null)];
    expect(last(accepted)).toBe(T0 + 40_000);
    expect(last(committed)).toBe(T0 + 50_000);
  });

  test("when commits are overdue, nothing is being committed", () => {
    const commits = kept([1, T0, [], T0], [2, T0 + 1_000, [], T0]);
    expect(flowOf({ nowMs, commits, ...none }).committed.at(-1)).toBe(0);
  });

  test("rejected rows are known where a file was looked into, and taken from the accepted ones", () => {
    const one = add(0, T0, 10, T0 + 1_000, T0 + 1_900);
    const two = add(0, T0, 11, T0 + 5_000, T0 + 5_900);
    const commits = kept([1, T0, [], T0], [2, T0 + 20_000, [one, two], T0 + 20_000]);
    const digests = new Map([[one.path, { seconds: [{ second: T0 / 1000 + 1, rows: 10, rejected: 3 }] }]]);
    const flow = flowOf({ nowMs: T0 + 21_000, commits, digests, readings: [] });
    const at = (ms: number): number => flow.endsMs.indexOf(T0 + ms);
    expect(flow.rejected[at(2_000)]).toBe(3);
    expect(flow.accepted[at(2_000)]).toBe(7);
    expect(flow.rejected[at(6_000)]).toBeNull();
    expect(flow.accepted[at(6_000)]).toBeCloseTo(11);
    expect(flow.rejected[at(10_000)]).toBe(0);
    expect(flow.now.rejectedPerSecond).toBeNull();
  });

  test("the lag is that of the bucket's end", () => {
    const flow = flowOf({
      nowMs,
      commits: kept([1, T0, [], T0 - 2_000], [2, T0 + 30_000, [], T0 + 29_000]),
      ...none,
    });
    const at = (ms: number): number => flow.endsMs.indexOf(T0 + ms);
    expect([10_000, 29_000, 30_000, 31_000].map((ms) => flow.lagMs[at(ms)])).toEqual([
      12_000, 31_000, 1_000, 2_000,
    ]);
  });

  test("errors are what a counter rose by; a counter that starts anew is not an error", () => {
    const reading = (atMs: number, errors: number): Reading => ({
      atMs,
      errors,
      workers: 1,
      bufferedBytes: 0,
      calls: [],
    });
    const readings = [
      reading(T0, 5),
      reading(T0 + 5_000, 7),
      reading(T0 + 10_000, 0),
      reading(T0 + 15_000, 1),
    ];
    const flow = flowOf({ nowMs, commits: [], digests: new Map(), readings });
    expect(total(flow.errors, 1_000)).toBe(3);
    expect(flow.errors[0]).toBeNull();
    expect(flow.now.errors).toBe(0);
  });

  test.each([
    [[], null],
    [[T0], null],
    [[T0, T0 + 1_000, T0 + 2_000, T0 + 62_000], 1_000],
    [[T0, T0 + 60_000, T0 + 120_000], 60_000],
  ])("commits at %j follow each other by %j ms", (times, cadence) => {
    expect(cadenceMs(times.map((ms, at) => keepCommit(commit(at, ms, [], 0), 0)))).toBe(cadence);
  });

  test("a log that commits once a minute is shown for hours, in steps that it can fill", () => {
    const commits = Array.from({ length: 600 }, (_, at) =>
      keepCommit(commit(at, T0 - (600 - at) * 60_000, [], T0), 0),
    );
    const { endsMs, stepMs } = flowOf({ nowMs, commits, ...none });
    expect(endsMs.length).toBeLessThanOrEqual(240);
    expect((endsMs.length * stepMs) / 3_600_000).toBeCloseTo(4, 0);
  });
});
