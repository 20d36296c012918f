import { expect, test } from "vitest";
import { createRateLimiter } from "../../edge/rate.ts";

test("lets a burst of ten seconds' worth through, then as many a second", () => {
  const limiter = createRateLimiter();
  expect(limiter.take("a", 10, 100, 0)).toEqual({ kind: "taken" });
  expect(limiter.take("a", 10, 5, 0)).toEqual({ kind: "empty", waitMs: 500 });
  expect(limiter.take("a", 10, 5, 500)).toEqual({ kind: "taken" });
  expect(limiter.take("b", 10, 5, 500)).toEqual({ kind: "taken" });
});

test("a batch larger than the bucket passes when it is full", () => {
  const limiter = createRateLimiter();
  expect(limiter.take("a", 1, 2500, 0)).toEqual({ kind: "taken" });
  expect(limiter.take("a", 1, 2500, 0)).toEqual({ kind: "empty", waitMs: 10_000 });
  expect(limiter.take("a", 1, 2500, 10_000)).toEqual({ kind: "taken" });
});
