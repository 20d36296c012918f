/** The page's pure parts: numbers and times for people, and the scales of the pictures. */
import { describe, expect, test } from "vitest";
import { bytes, duration, rate, shardName, short, span, usd, usdRange } from "../../console/page/format.js";
import { linearScale, logScale } from "../../console/page/scale.js";

test.each([
  [short, 0, "0"],
  [short, 999.6, "1k"],
  [short, 30_488_888, "30.5M"],
  [short, null, "–"],
  [rate, 0.25, "0.3"],
  [rate, 42.4, "42"],
  [rate, 118_000, "118k"],
  [bytes, 0, "0 B"],
  [bytes, 1_530_000, "1.53 MB"],
  [duration, 12, "12 ms"],
  [duration, 2_449, "2.4 s"],
  [duration, 250_000, "4 min 10 s"],
  [duration, 3_600_000, "1 h"],
  [duration, 90_000_000, "1 d 1 h"],
  [duration, undefined, "–"],
  [span, 300_000, "5 min"],
  [span, 500, "0.5 s"],
  [usd, 0, "$0"],
  [usd, 0.003_344, "$0.0033"],
  [usd, 0.000_000_01, "under $0.000001"],
  [usd, 12.386, "$12.39"],
  [usd, 40_000.4, "$40,000"],
] as const)("%o of %j is %j", (format, value, shown) => {
  expect((format as (value: number | null | undefined) => string)(value)).toBe(shown);
});

test("a range whose ends look the same is one number", () => {
  expect(usdRange(9.011, 9.012)).toBe("$9.01");
  expect(usdRange(1, 2)).toBe("$1.00 – $2.00");
});

test.each([
  ["shardId-00000001795464000000-b1e67a2d", "b1e67a2d"],
  ["shardId-00000001-varve", "varve"],
  ["a-name-that-is-quite-long", "…-is-quite-long"],
  ["bootstrap-3", "bootstrap-3"],
])("the shard %s is called %s", (id, name) => {
  expect(shardName(id)).toBe(name);
});

describe.each([
  ["log", logScale],
  ["linear", linearScale],
] as const)("a %s scale", (_, scale) => {
  const now = Date.UTC(2026, 10, 23);
  const made = scale(now - 30 * 86_400_000, now, 100, 900);

  test("has now at the right, the oldest at the left, and never turns back", () => {
    expect(made.x(now)).toBe(900);
    expect(made.x(made.fromMs)).toBeCloseTo(100);
    const places = [0, 1, 60, 3_600, 86_400, 2_000_000].map((seconds) => made.x(now - seconds * 1000));
    expect(places).toEqual(places.toSorted((a, b) => b - a));
    expect(made.x(now - 400 * 86_400_000)).toBeCloseTo(100);
    expect(made.x(now + 5_000)).toBe(900);
  });

  test("has ticks that do not touch", () => {
    const places = made.ticks.map(({ x }) => x);
    expect(made.ticks[0]?.label).toBe("now");
    expect(places.length).toBeGreaterThan(4);
    for (const [at, x] of places.entries())
      if (at > 0) expect((places[at - 1] ?? 0) - x).toBeGreaterThanOrEqual(56);
  });
});
