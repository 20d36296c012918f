import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { DataFile } from "../../shared/snapshot.ts";
import { parseDataFile } from "../../shared/snapshot.ts";
import { filesInRange, parseSince, timeRange, timeRuns } from "../../reader/range.ts";
import { T0, change, logOf, position } from "../fakes/changes.ts";

type Stats = { readonly collection?: readonly [string, string]; readonly nulls?: number };

function fileOf(path: string, minMs: number, maxMs: number, stats: Stats = {}): DataFile {
  const bounds = stats.collection;
  const file = parseDataFile({
    path,
    partitionValues: { dt: "2026-11-23" },
    size: 1,
    modificationTime: 0,
    dataChange: true,
    stats: JSON.stringify({
      numRecords: 4,
      minValues: { changed_ms: minMs, ...(bounds === undefined ? {} : { collection: bounds[0] }) },
      maxValues: { changed_ms: maxMs, ...(bounds === undefined ? {} : { collection: bounds[1] }) },
      nullCount: { collection: stats.nulls ?? 0 },
    }),
    tags: { level: "0", window: String(T0), changes: "4", setsum: "0".repeat(32), sha256: "" },
  });
  if (file === null) throw new Error("no file");
  return file;
}

const paths = (files: readonly DataFile[]): string[] => files.map(({ path }) => path);

describe("parseSince", () => {
  const now = Date.parse("2026-11-23T13:00:00Z");
  test.each([
    ["2026-11-23T09:00:00Z", "2026-11-23T09:00:00.000Z"],
    ["2026-11-23T09:00:00", "2026-11-23T09:00:00.000Z"],
    ["2026-11-23 09:00", "2026-11-23T09:00:00.000Z"],
    ["2026-11-23T09:00:00.25+02:00", "2026-11-23T07:00:00.250Z"],
    ["2026-11-23", "2026-11-23T00:00:00.000Z"],
    ["30s", "2026-11-23T12:59:30.000Z"],
    ["15m", "2026-11-23T12:45:00.000Z"],
    ["2h", "2026-11-23T11:00:00.000Z"],
    ["7d", "2026-11-16T13:00:00.000Z"],
  ])("%s is a time", (text, iso) => {
    expect(parseSince(text, now)).toEqual({ kind: "time", ms: Date.parse(iso) });
  });

  test.each([
    ["#120", 120],
    ["120", 120],
    ["0", 0],
  ])("%s is a version", (text, version) => {
    expect(parseSince(text, now)).toEqual({ kind: "version", version });
  });

  test.each([
    "",
    "yesterday",
    "2h ago",
    "-5m",
    "2026-13-01",
    "2026-02-30",
    "2026-11-23T25:00:00Z",
    "1.5",
    "#",
    "9".repeat(16),
  ])("%j is neither", (text) => {
    expect(() => parseSince(text, now)).toThrow(/is neither a time nor a version/);
  });
});

describe("timeRange", () => {
  const snapshot = logOf(
    change({ positions: new Map([["s1", position({ at: T0 + 50 })]]), discoveredMs: T0 + 50 }),
  );

  test.each([
    ["up to the watermark", T0, undefined, T0 + 50],
    ["up to until", T0, T0 + 20, T0 + 20],
    ["never past the watermark", T0, T0 + 90, T0 + 50],
    ["nothing, and never back", T0 + 70, undefined, T0 + 70],
  ])("%s", (_, sinceMs, untilMs, end) => {
    expect(timeRange(snapshot, sinceMs, untilMs)).toEqual({ kind: "time", sinceMs, untilMs: end });
  });

  test("an until before since is refused", () => {
    expect(() => timeRange(snapshot, T0 + 10, T0)).toThrow(/is before since/);
  });
});

describe("filesInRange", () => {
  const files = [
    fileOf("late", 20, 30),
    fileOf("early", 0, 10, { collection: ["pages", "tracks"] }),
    fileOf("middle", 10, 20, { nulls: 4 }),
  ];
  const inRange = (sinceMs: number, untilMs: number, filter = {}): string[] =>
    paths(filesInRange(files, { kind: "time", sinceMs, untilMs }, filter));

  test("takes (since, until], in time order", () => {
    expect(inRange(-1, 100)).toEqual(["early", "middle", "late"]);
    expect(inRange(10, 19)).toEqual(["middle"]);
    expect(inRange(10, 20)).toEqual(["middle", "late"]);
    expect(inRange(30, 100)).toEqual([]);
  });

  test("passes over files whose statistics rule them out, and no others", () => {
    expect(inRange(-1, 100, { collection: "screens" })).toEqual(["early", "late"]);
    expect(inRange(-1, 100, { collection: "users" })).toEqual(["late"]);
  });
});

test("runs are apart in time, and hold every file once", () => {
  const spans = fc.array(fc.tuple(fc.nat(200), fc.nat(30)), { maxLength: 30 });
  fc.assert(
    fc.property(spans, (some) => {
      const files = some
        .map(([start, length], index) => fileOf(String(index), start, start + length))
        .toSorted((a, b) => a.minChangedMs - b.minChangedMs);
      const runs = timeRuns(files);
      expect(runs.flat()).toEqual(files);
      for (const [index, run] of runs.entries()) {
        const endMs = Math.max(...run.map((file) => file.maxChangedMs));
        const next = runs[index + 1]?.[0];
        if (next !== undefined) expect(next.minChangedMs).toBeGreaterThan(endMs);
      }
    }),
  );
});
