import fc from "fast-check";
import { expect, test } from "vitest";
import { LEVELS, LEVEL_MS, dateOf, windowStartMs } from "../../shared/window.ts";

const time = fc.integer({ min: 0, max: Date.UTC(2200, 0) });

test.each([
  [0, "2026-11-23T13:14:59.999Z", "2026-11-23T13:10:00.000Z"],
  [1, "2026-11-23T13:15:00.000Z", "2026-11-23T13:15:00.000Z"],
  [2, "2026-11-23T13:59:59.999Z", "2026-11-23T13:00:00.000Z"],
  [3, "2026-11-23T23:59:59.999Z", "2026-11-23T00:00:00.000Z"],
] as const)("level %i: the window of %s starts at %s", (level, at, start) => {
  expect(new Date(windowStartMs(level, Date.parse(at))).toISOString()).toBe(start);
});

test("a time lies in its window, and in one only", () => {
  fc.assert(
    fc.property(time, fc.constantFrom(...LEVELS), (ms, level) => {
      const start = windowStartMs(level, ms);
      expect(start).toBeLessThanOrEqual(ms);
      expect(ms - start).toBeLessThan(LEVEL_MS[level]);
      expect(windowStartMs(level, start)).toBe(start);
    }),
  );
});

test("windows nest: those of one level lie in one of the next, and none crosses midnight", () => {
  fc.assert(
    fc.property(time, (ms) => {
      for (const level of [0, 1, 2] as const) {
        const above = (level + 1) as 1 | 2 | 3;
        expect(windowStartMs(above, windowStartMs(level, ms))).toBe(windowStartMs(above, ms));
        expect(dateOf(windowStartMs(level, ms))).toBe(dateOf(ms));
      }
    }),
  );
});
