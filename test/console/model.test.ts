/** What the console makes of a log: flow, picture, lineage, events, cost. Values in, values out. */
import { describe, expect, test } from "vitest";
import { keepCommit, sumFigures } from "../../console/model/commits.ts";
import type { KeptCommit } from "../../console/model/commits.ts";
import { costNow, storageAt } from "../../console/model/cost.ts";
import { IMAGE_CHARS_MAX, eventLine } from "../../console/model/event.ts";
import { cadenceMs, flowOf } from "../../console/model/flow.ts";
import type { Digest } from "../../console/model/flow.ts";
import { lineageOf } from "../../console/model/lineage.ts";
import { pictureOf } from "../../console/model/picture.ts";
import type { Reading } from "../../console/model/samples.ts";
import { parseSamples, readingOf } from "../../console/model/samples.ts";
import { planCreate } from "../../compactor/plan.ts";
import type { ChangeRow } from "../../reader/scan.ts";
import { readPrices } from "../../shared/cost/prices.ts";
import type { Add, Commit } from "../../shared/delta.ts";
import { domainAction } from "../../shared/delta.ts";
import type { Position } from "../../shared/position.ts";
import type { DataFile, Snapshot } from "../../shared/snapshot.ts";
import { LOG_DOMAIN, parseDataFile } from "../../shared/snapshot.ts";
import type { Level } from "../../shared/window.ts";

const T0 = Date.UTC(2026, 10, 23, 12);

function add(
  level: Level,
  windowMs: number,
  rows: number,
  fromMs: number,
  toMs: number,
  some: Partial<Add> = {},
): Add {
  return {
    path: `data/${level}-${windowMs}-${rows}`,
    partitionValues: {},
    size: rows * 100,
    modificationTime: toMs,
    dataChange: true,
    stats: JSON.stringify({
      numRecords: rows,
      minValues: { changed_ms: fromMs },
      maxValues: { changed_ms: toMs },
    }),
    tags: {
      level: String(level),
      window: String(windowMs),
      changes: String(rows),
      setsum: "0".repeat(32),
      sha256: "",
    },
    ...some,
  };
}

function fileOf(one: Add): DataFile {
  const file = parseDataFile(one);
  if (file === null) throw new Error("no file");
  return file;
}

const commit = (
  version: number,
  atMs: number,
  adds: readonly Add[],
  watermarkMs: number,
  operation = "WRITE",
): Commit => ({
  version,
  info: { inCommitTimestamp: atMs, timestamp: atMs, operation, txnId: `${version}` },
  actions: [...adds.map((one) => ({ add: one })), domainAction(LOG_DOMAIN, { watermarkMs })],
});

const kept = (...given: readonly Parameters<typeof commit>[]): KeptCommit[] =>
  given.map((one) => keepCommit(commit(...one), 0));

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

describe("the lineage", () => {
  const position = (parent: string | null, at: number, done: boolean): Position => ({
    from: null,
    seq: null,
    at,
    parent,
    done,
    stream: "s",
  });

  test("a first child goes on along its parent's line, the others below", () => {
    const { shards, lines, open, done } = lineageOf(
      new Map([
        ["b", position("a", 20, true)],
        ["a", position("gone", 10, true)],
        ["c", position("a", 30, false)],
        ["d", position("b", 25, false)],
        ["other", position(null, 99, false)],
      ]),
    );
    expect({ lines, open, done }).toEqual({ lines: 3, open: 3, done: 2 });
    expect(shards.map(({ id, line, startMs, parentDrawn }) => [id, line, startMs, parentDrawn])).toEqual([
      ["a", 0, null, false],
      ["b", 0, 10, true],
      ["d", 0, 20, true],
      ["c", 1, 10, true],
      ["other", 2, null, false],
    ]);
  });

  test("a shard whose parent is being read waits, and stands where that does", () => {
    const { shards } = lineageOf(
      new Map([
        ["a", position(null, 70, false)],
        ["b", position("a", 10, false)],
      ]),
    );
    expect(shards.map(({ id, atMs, waiting }) => [id, atMs, waiting])).toEqual([
      ["a", 70, false],
      ["b", 70, true],
    ]);
  });

  test("of too many, those that are open and furthest behind are drawn, with their forebears", () => {
    const many = new Map<string, Position>();
    for (let at = 0; at < 500; at += 1) many.set(`p${at}`, position(null, 1_000 + at, true));
    for (let at = 0; at < 500; at += 1) many.set(`c${at}`, position(`p${at}`, 5_000 + at, false));
    const { shards, hidden, open } = lineageOf(many, 10);
    expect(shards.map(({ id }) => id).toSorted()).toEqual([
      "c0",
      "c1",
      "c2",
      "c3",
      "c4",
      "p0",
      "p1",
      "p2",
      "p3",
      "p4",
    ]);
    expect({ hidden, open }).toEqual({ hidden: 990, open: 500 });
  });

  test("a thousand generations are a line", () => {
    const long = new Map(
      [...Array(1_000).keys()].map((at) => [
        `s${at}`,
        position(at === 0 ? null : `s${at - 1}`, at, at < 999),
      ]),
    );
    expect(lineageOf(long, 2_000)).toMatchObject({ lines: 1, hidden: 0 });
  });
});

describe("an event", () => {
  const row = (some: Partial<ChangeRow>): ChangeRow => ({
    changedMs: T0,
    op: "insert",
    key: '{"pk":"k"}',
    seq: "1",
    shard: "s",
    changes: 1,
    kind: "event",
    source: "web",
    collection: "tracks",
    id: "m1",
    userId: null,
    anonymousId: null,
    event: null,
    eventMs: null,
    image: null,
    ...some,
  });
  const rejected = (body: unknown): ChangeRow =>
    row({ kind: "rejected", collection: "rejected", image: JSON.stringify(body) });

  test.each([
    [
      "a track",
      row({ event: "Paid", userId: "u" }),
      { status: "accepted", type: "track", name: "Paid", user: "u", reason: null },
    ],
    ["of nobody known", row({ anonymousId: "a" }), { user: "a" }],
    [
      "an object",
      row({ kind: "object", collection: "users", id: "u1" }),
      { status: "object", type: "object", name: "users/u1" },
    ],
    [
      "of another table",
      row({ kind: null, collection: null, op: "delete" }),
      { status: "change", type: "delete", name: '{"pk":"k"}', json: null },
    ],
    [
      "rejected",
      rejected({ reason: { code: "c", message: "m" }, event: { type: "page", name: "Home", userId: 7 } }),
      { status: "rejected", type: "page", name: "Home", user: "7", reason: { code: "c", message: "m" } },
    ],
    [
      "rejected, not an object",
      rejected({ reason: null, event: "cut off" }),
      { type: "?", name: null, reason: { code: "rejected", message: "" } },
    ],
    ["rejected, no JSON", row({ kind: "rejected", image: "{" }), { status: "rejected", type: "?" }],
    [
      "rejected, names of other types",
      rejected({ reason: {}, event: { type: {}, event: [], name: null } }),
      { type: "?", name: null },
    ],
  ])("%s", (_, given, expected) => {
    expect(eventLine(given, 1)).toMatchObject(expected);
  });

  test("one that is too long is cut, and says so", () => {
    const line = eventLine(row({ image: "x".repeat(IMAGE_CHARS_MAX + 1) }), 1);
    expect(line.cut).toBe(true);
    expect(line.json).toHaveLength(IMAGE_CHARS_MAX);
  });
});

describe("the process's own counters", () => {
  const TEXT = `# HELP varve_requests_total Calls made
# TYPE varve_requests_total counter
varve_requests_total{call="S3 PUT"} 12
varve_requests_cost_dollars_total{call="S3 PUT"} 0.00006
varve_requests_cost_dollars_month{call="S3 PUT"} 1.5
varve_retries_total{call="S3 GET"} 2
varve_conflicts_total 1
varve_workers 3
varve_buffer_bytes{lane="0"} 10
varve_buffer_bytes{lane="1"} 1e3
odd{label="a\\"b\\\\c\\nd"} +Inf 1700000000000
not a sample
`;

  test("are read from Prometheus's text", () => {
    expect(readingOf(parseSamples(TEXT), 5)).toEqual({
      atMs: 5,
      errors: 3,
      workers: 3,
      bufferedBytes: 1_010,
      calls: [{ call: "S3 PUT", times: 12, usd: 0.000_06, monthUsd: 1.5 }],
    });
  });

  test("labels are unescaped, what is no sample is passed over", () => {
    expect(parseSamples(TEXT).find(({ name }) => name === "odd")?.labels).toEqual({ label: 'a"b\\c\nd' });
    expect(parseSamples(TEXT)).toHaveLength(9);
  });
});

describe("the cost", () => {
  const input = {
    prices: readPrices(undefined),
    storage: "s3" as const,
    figures: sumFigures([]),
    storedBytes: 2e9,
    rowsLive: 10,
    shardsOpen: 4,
    itemBytes: null,
    reading: undefined,
    startedMs: T0,
  };

  test("without a rate there is no month", () => {
    expect(costNow(input)).toMatchObject({ month: null, calls: null, callsUsd: null, storedUsdMonth: 0.046 });
  });

  test("a month is what the formulas of `varve cost` say of the log's own numbers", () => {
    const figures = {
      ...sumFigures([]),
      fromMs: T0,
      toMs: T0 + 3_600_000,
      commits: 61,
      changes: 360_000,
      bytes: 36e6,
    };
    const { month } = costNow({ ...input, figures });
    expect(month).toMatchObject({ name: "Varve on S3", changesPerSecond: 100, spanMs: 3_600_000 });
    expect(month?.lowUsd).toBeGreaterThan(9);
    expect(month?.lines.reduce((sum, { highUsd }) => sum + highUsd, 0)).toBeCloseTo(month?.highUsd ?? 0);
    expect(month?.lines.find(({ what }) => what === "GetRecords")?.formula).toContain("4 shards");
    expect(costNow({ ...input, figures, storage: "r2" }).month?.name).toBe("Varve on R2");
  });

  test.each([
    [undefined, "s3"],
    ["http://127.0.0.1:9000/r2", "s3"],
    ["https://acc.r2.cloudflarestorage.com", "r2"],
    ["https://acc.eu.r2.cloudflarestorage.com/", "r2"],
  ])("at %j the prices are those of %s", (endpoint, storage) => {
    expect(storageAt(endpoint)).toBe(storage);
  });

  test("so far is the sum of the calls", () => {
    const calls = [
      { call: "a", times: 1, usd: 0.25, monthUsd: 1 },
      { call: "b", times: 1, usd: 0.5, monthUsd: 1 },
    ];
    const reading = { atMs: T0, errors: 0, workers: 1, bufferedBytes: 0, calls };
    expect(costNow({ ...input, reading })).toMatchObject({ callsUsd: 0.75, callsSinceMs: T0, calls });
  });
});
