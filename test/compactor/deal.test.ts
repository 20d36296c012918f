import { expect, test } from "vitest";
import { deal } from "../../compactor/deal.ts";

test("deals shards evenly, and leaves each where it is", () => {
  const first = deal(["a", "b", "c", "d"], new Map(), 2);
  expect([...first]).toEqual([
    ["a", 0],
    ["b", 1],
    ["c", 0],
    ["d", 1],
  ]);
  const second = deal(["b", "d", "e", "f", "g"], first, 2);
  expect(Object.fromEntries(second)).toEqual({ b: 1, d: 1, e: 0, f: 0, g: 0 });
});

test("one lane reads all", () => {
  expect(new Set(deal(["a", "b", "c"], new Map(), 1).values())).toEqual(new Set([0]));
});
