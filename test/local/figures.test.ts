import { expect, test } from "vitest";
import { demoCalls } from "../../local/demo-events.ts";
import { afterCompactorLine, describeFigures, noFigures } from "../../local/figures.ts";
import { openRepeats } from "../../local/repeats.ts";
import { describeLogLine, parseLogLine, type LogLine } from "../../local/log-line.ts";

const record = (fields: Record<string, unknown>): LogLine => parseLogLine(JSON.stringify(fields));
const committed = {
  level: "info",
  msg: "committed",
  version: 7,
  rows: 1200,
  rows_total: 9200,
  watermark_ms: 10_000,
};

test("the live line adds up commits and tells how far the watermark is behind", () => {
  const after = afterCompactorLine(
    afterCompactorLine(noFigures, record(committed)),
    record({ ...committed, version: 8, rows_total: 10_400 }),
  );
  expect(describeFigures({ ...after, events: 2500 }, 11_500)).toBe(
    "2,500 events accepted · 2,400 rows committed · version 8 · watermark lag 1.5 s",
  );
});

test("figures that are not known are not made up", () => {
  expect(describeFigures(noFigures, 0)).toBe("0 rows committed · no version yet · no watermark yet");
  const started = afterCompactorLine(
    noFigures,
    record({ ...committed, rows: 0, rows_total: 0, watermark_ms: 0 }),
  );
  expect(describeFigures(started, 11_500)).toBe("0 rows committed · version 7 · no watermark yet");
  expect(afterCompactorLine(started, record({ level: "info", msg: "opened", version: 9 }))).toBe(started);
});

test.each([
  ['{"level":"info","msg":"committed"}', undefined],
  ['{"level":"warn","time":"t","msg":"restarting","why":"stale"}', "edge: warn: restarting why=stale"],
  ['{"level":"error","at":"table","reason":"down"}', "edge: error: at=table reason=down"],
  ["{broken", "edge: {broken"],
  ["plain words", "edge: plain words"],
  ["Dynoxide listening on http://127.0.0.1:1", undefined],
  ["  ", undefined],
])("of the line %j a person sees %j", (line, shown) => {
  expect(describeLogLine("edge", parseLogLine(line))).toBe(shown);
});

test("the demo's events follow from the seed alone and are of every type", () => {
  const calls = [...demoCalls(1, 500)];
  expect(calls).toEqual([...demoCalls(1, 500)]);
  expect(calls).not.toEqual([...demoCalls(2, 500)]);
  expect(new Set(calls.map(({ type }) => type))).toEqual(
    new Set(["track", "identify", "page", "screen", "group", "alias"]),
  );
});

test("a line that comes again within a second is counted, not shown", () => {
  const { lines } = openRepeats();
  expect(lines("a", 0)).toEqual(["a"]);
  expect(lines("a", 10)).toEqual([]);
  expect(lines("a", 20)).toEqual([]);
  expect(lines("a", 1_000)).toEqual(["a (2 more)"]);
  expect(lines("a", 1_010)).toEqual([]);
  expect(lines("b", 1_020)).toEqual(["a (1 more)", "b"]);
  expect(lines("b", 9_000)).toEqual(["b"]);
});
