import { describe, expect, test } from "vitest";
import {
  childlessGaps,
  forgettableShards,
  missingParents,
  newShards,
  passedShards,
  readableShards,
  switchGaps,
} from "../../compactor/lineage.ts";
import type { ListedShard } from "../../compactor/stream.ts";
import type { Position } from "../../shared/position.ts";
import type { Snapshot } from "../../shared/snapshot.ts";
import { STREAM_RETENTION_MS, watermarkOf } from "../../shared/watermark.ts";
import { STREAM, T0, change, logOf, position, seq } from "../fakes/changes.ts";

const LATER = STREAM.replace("T00", "T12");

const listed = (id: string, parent: string | null = null, stream = STREAM): ListedShard => ({
  id,
  parent,
  stream,
});
const logWith = (shards: Record<string, Position>, discoveredMs = T0): Snapshot =>
  logOf(change({ positions: new Map(Object.entries(shards)), discoveredMs }));
const ids = (found: ReadonlyMap<string, unknown>): string[] => [...found.keys()].toSorted();
const NONE: ReadonlySet<string> = new Set();

describe("new shards", () => {
  test("start at the watermark", () => {
    const log = logWith({ a: position({ at: T0 }), b: position({ at: T0 + 9, seq: seq(1), done: true }) });
    expect(log.log.watermarkMs).toBe(T0);
    const found = newShards(log, [listed("a"), listed("b"), listed("c", "b"), listed("d")], NONE);
    expect(ids(found)).toEqual(["c", "d"]);
    expect(found.get("c")).toEqual(position({ at: T0, parent: "b" }));
    expect(found.get("d")?.at).toBe(T0);
  });

  test("are taken after their parents, whatever the order of the list", () => {
    const list = [listed("c", "b"), listed("b", "a"), listed("a")];
    expect(ids(newShards(logOf(), list, NONE))).toEqual(["a", "b", "c"]);
  });

  test("are left out while their parent is, and so are their children", () => {
    const list = [listed("c", "b"), listed("b", "a"), listed("x")];
    expect(ids(newShards(logOf(), list, NONE))).toEqual(["x"]);
    expect(missingParents(logOf(), list).map(({ id }) => id)).toEqual(["a"]);
  });

  test("are taken when their parent is gone", () => {
    const list = [listed("c", "b"), listed("b", "a")];
    expect(ids(newShards(logOf(), list, new Set(["a"])))).toEqual(["b", "c"]);
  });

  test("whose parent is in the log miss none", () => {
    const log = logWith({ a: position({ at: T0, done: true }) });
    expect(missingParents(log, [listed("b", "a")])).toEqual([]);
    expect(ids(newShards(log, [listed("b", "a")], NONE))).toEqual(["b"]);
  });
});

describe("shards that are listed again", () => {
  const list = [listed("a"), listed("b", "a"), listed("c", "b"), listed("d", "b")];
  const passed = (shards: Record<string, Position>): string[] =>
    passedShards(logWith(shards), list).map(({ id }) => id);

  test("after one that follows them was read are passed, and the others after them are not", () => {
    const c = position({ parent: "b", seq: seq(1) });
    expect(passed({ c })).toEqual(["b", "a"]);
    expect(passed({ c: position({ parent: "b", done: true }) })).toEqual(["b", "a"]);
    expect(ids(newShards(logWith({ c }), list, NONE))).toEqual(["d"]);
  });

  test("before one that follows them was read are taken in", () => {
    const c = position({ parent: "b" });
    expect(passed({ c })).toEqual([]);
    expect(ids(newShards(logWith({ c }), list, NONE))).toEqual(["a", "b", "d"]);
  });

  test("are none when the log knows them", () => {
    expect(passed({ b: position({ seq: seq(1) }), c: position({ parent: "b" }) })).toEqual([]);
  });
});

describe("a position is forgotten", () => {
  const DAYS_MS = 2 * STREAM_RETENTION_MS;
  const done = (some: Partial<Position> = {}) => position({ at: T0, seq: seq(1), done: true, ...some });
  const child = (some: Partial<Position> = {}) => done({ parent: "a", ...some });
  const forgotten = (shards: Record<string, Position>, afterMs = DAYS_MS + 1, list: string[] = []) =>
    forgettableShards(
      logWith(shards),
      list.map((id) => listed(id)),
      T0 + afterMs,
    );
  const b = child();
  const open = position({ parent: "b", at: T0 });

  test.each<[string, readonly string[], readonly string[]]>([
    ["two days after its end, when its children are done", ["a"], forgotten({ a: done(), b, c: open })],
    ["not before", [], forgotten({ a: done(), b, c: open }, DAYS_MS)],
    ["not while it is listed", [], forgotten({ a: done(), b, c: open }, DAYS_MS + 1, ["a"])],
    [
      "not before its parent",
      ["a"],
      forgotten({ a: done(), b, c: child({ parent: "b" }), d: position({ parent: "c", at: T0 }) }),
    ],
    ["not while a child is read", [], forgotten({ a: done(), b: child({ done: false }) })],
    ["not while no child is known", [], forgotten({ a: done() })],
  ])("%s", (_, wanted, found) => {
    expect(found).toEqual(wanted);
  });
});

describe("what may be read now", () => {
  const cases: readonly (readonly [string, Record<string, Position>, readonly string[]])[] = [
    ["nothing", {}, []],
    ["roots", { a: position(), b: position() }, ["a", "b"]],
    ["not what has ended", { a: position({ done: true }) }, []],
    ["not a child before its parent's end", { a: position(), b: position({ parent: "a" }) }, ["a"]],
    ["a child after it", { a: position({ done: true }), b: position({ parent: "a" }) }, ["b"]],
    ["a child whose parent is gone", { b: position({ parent: "a" }) }, ["b"]],
    [
      "not a grandchild before its parent's end",
      { a: position({ done: true }), b: position({ parent: "a" }), c: position({ parent: "b" }) },
      ["b"],
    ],
    [
      "not a later stream before the earlier one's end",
      { a: position(), b: position({ stream: LATER }) },
      ["a"],
    ],
    ["a later stream after it", { a: position({ done: true }), b: position({ stream: LATER }) }, ["b"]],
  ];
  test.each(cases)("%s", (_, shards, readable) => {
    expect(ids(readableShards(new Map(Object.entries(shards))))).toEqual(readable);
  });

  test("begins above all that comes before it", () => {
    const shards = {
      a: position({ at: T0 + 9, changed: T0 + 15, done: true }),
      b: position({ at: T0, parent: "a" }),
      c: position({ at: T0 + 20, parent: "a" }),
    };
    const readable = readableShards(new Map(Object.entries(shards)));
    expect(readable.get("b")?.position).toMatchObject({ at: T0 + 9, changed: T0 + 16 });
    expect(readable.get("c")?.position).toMatchObject({ at: T0 + 20, changed: T0 + 20 });
  });

  test("is closed when others follow it", () => {
    const shards = { a: position(), b: position({ parent: "a" }), c: position() };
    const readable = readableShards(new Map(Object.entries(shards)));
    expect([readable.get("a")?.closed, readable.get("c")?.closed]).toEqual([true, false]);
  });

  test("of a later stream begins above the earlier one", () => {
    const shards = { a: position({ at: T0 + 9, done: true }), b: position({ at: T0, stream: LATER }) };
    expect(readableShards(new Map(Object.entries(shards))).get("b")?.position.changed).toBe(T0 + 10);
  });
});

describe("gaps that a discovery shows", () => {
  test("none in the ordinary", () => {
    const log = logWith({ a: position({ at: T0, done: true }) });
    for (const gapsOf of [switchGaps, childlessGaps]) {
      expect(gapsOf(log, new Map([["b", position({ parent: "a" })]]), T0 + 1)).toEqual([]);
      expect(gapsOf(logOf(), new Map([["b", position()]]), T0)).toEqual([]);
    }
  });

  test("the stream was switched off and on: one a stream", () => {
    const log = logWith({ a: position({ at: T0, done: true }) });
    const found = new Map([
      ["b", position({ stream: LATER })],
      ["c", position({ stream: LATER })],
    ]);
    expect(switchGaps(log, found, T0)).toEqual([
      { shard: "b", after: null, reason: expect.stringMatching(/switched off and on/), detectedMs: T0 },
    ]);
  });

  test("it was, before anything was read of it", () => {
    const found = new Map([
      ["b", position({ stream: LATER })],
      ["a", position()],
    ]);
    expect(switchGaps(logOf(), found, T0)).toMatchObject([{ shard: "b" }]);
  });

  test("a shard's children were never listed while they could be read", () => {
    const log = logWith({ a: position({ at: T0, seq: seq(7), done: true }) });
    expect(childlessGaps(log, new Map(), T0 + STREAM_RETENTION_MS - 1)).toEqual([]);
    expect(childlessGaps(log, new Map(), T0 + STREAM_RETENTION_MS)).toMatchObject([
      { shard: "a", after: "7" },
    ]);
  });
});

describe("the watermark is held by a shard without children", () => {
  const ended = { a: position({ at: T0, done: true }) };

  test("no longer than the stream keeps what they would hold", () => {
    const shards = new Map(Object.entries(ended));
    expect(watermarkOf(shards, T0 + STREAM_RETENTION_MS - 1)).toBe(T0);
    expect(watermarkOf(shards, T0 + STREAM_RETENTION_MS)).toBe(T0 + STREAM_RETENTION_MS);
  });

  test("where it ended, but for as long as that is ago", () => {
    const shards = new Map([["a", position({ at: T0, done: true, ended: T0 + 5000 })]]);
    expect(watermarkOf(shards, T0 + STREAM_RETENTION_MS)).toBe(T0);
    expect(watermarkOf(shards, T0 + 5000 + STREAM_RETENTION_MS)).toBe(T0 + 5000 + STREAM_RETENTION_MS);
  });

  test("no longer once a later stream is there", () => {
    const shards = new Map(Object.entries({ ...ended, b: position({ at: T0 + 50, stream: LATER }) }));
    expect(watermarkOf(shards, T0 + 90)).toBe(T0 + 50);
  });
});
