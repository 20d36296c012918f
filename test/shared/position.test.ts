import fc from "fast-check";
import { expect, test } from "vitest";
import type { Position } from "../../shared/position.ts";
import { encodePosition, parsePosition } from "../../shared/position.ts";
import { position, seq } from "../fakes/changes.ts";

const sequence = fc.option(fc.bigInt({ min: 0n, max: 10n ** 40n - 1n }).map((number) => seq(String(number))));
const anyPosition: fc.Arbitrary<Position> = fc.record({
  from: sequence,
  seq: sequence,
  at: fc.integer({ min: 0 }),
  parent: fc.option(fc.string()),
  done: fc.boolean(),
  stream: fc.string(),
});

test("a position is read back as it was written, 40 digits and all", () => {
  fc.assert(
    fc.property(anyPosition, fc.string(), (some, shard) => {
      const { domain, configuration, removed } = encodePosition(shard, some);
      expect(domain).toBe(`varve.shard.${shard}`);
      expect(removed).toBe(false);
      expect(parsePosition(configuration)).toEqual(some);
    }),
  );
});

test.each([
  "",
  "{}",
  "null",
  JSON.stringify({ ...position(), seq: 5 }),
  JSON.stringify({ ...position(), seq: "x" }),
  JSON.stringify({ ...position(), at: 1.5 }),
  JSON.stringify({ ...position(), done: "yes" }),
])("%s is none", (configuration) => {
  expect(parsePosition(configuration)).toBeNull();
});
