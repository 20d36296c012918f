import { describe, expect, test } from "vitest";
import type { Position } from "../../shared/position.ts";
import { watermarkOf } from "../../shared/watermark.ts";
import { T0, position } from "../fakes/changes.ts";

const at = (ms: number, some: Partial<Position> = {}): Position => position({ at: ms, ...some });

describe("the watermark", () => {
  const cases: readonly (readonly [string, Record<string, Position>, number, number])[] = [
    ["no shards: the discovery", {}, T0, T0],
    ["the least shard", { a: at(T0 + 5), b: at(T0 + 3) }, T0 + 9, T0 + 3],
    ["the discovery, when it is older", { a: at(T0 + 5) }, T0 + 4, T0 + 4],
    [
      "a shard that has ended and whose children are known lets go",
      { a: at(T0 + 1, { done: true }), b: at(T0 + 5, { parent: "a" }) },
      T0 + 9,
      T0 + 5,
    ],
    [
      "a shard that has ended holds until its children are known",
      { a: at(T0 + 1, { done: true }) },
      T0 + 9,
      T0 + 1,
    ],
  ];
  test.each(cases)("%s", (_, shards, discoveredMs, expected) => {
    expect(watermarkOf(new Map(Object.entries(shards)), discoveredMs)).toBe(expected);
  });
});
