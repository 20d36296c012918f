import { describe, expect, test } from "vitest";
import { lineageOf } from "../../../console/model/lineage.ts";
import type { Position } from "../../../shared/position.ts";

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
