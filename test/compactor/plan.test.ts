import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import type { Change } from "../../compactor/plan.ts";
import { planCommit, planCreate } from "../../compactor/plan.ts";
import { encodeCommit } from "../../shared/delta.ts";
import type { Position } from "../../shared/position.ts";
import type { Snapshot } from "../../shared/snapshot.ts";
import { T0, change, logOf, position, row, seq, uploaded } from "../fakes/changes.ts";

const at = (some: Record<string, Position>): Pick<Change, "positions"> => ({
  positions: new Map(Object.entries(some)),
});

const plan = (snapshot: Snapshot, some: Partial<Change>, nowMs = T0 + 100) =>
  planCommit(snapshot, change(some), { txnId: "mine", nowMs });

function planned(snapshot: Snapshot, some: Partial<Change>, nowMs?: number): Snapshot {
  const made = plan(snapshot, some, nowMs);
  if (made.kind === "stale") throw new Error(made.why);
  return made.next;
}

/** s1 is read to 10; W is T0. */
const log = (): Snapshot =>
  logOf({ ...change(at({ s1: position({ seq: seq(10), at: T0 }) })), discoveredMs: T0 });

test("version 0 holds the table and nothing else", () => {
  const { commit, next } = planCreate("table", { txnId: "t", nowMs: T0 });
  expect(commit.actions.map((action) => Object.keys(action)[0])).toEqual([
    "protocol",
    "metaData",
    "domainMetadata",
  ]);
  expect(next).toMatchObject({ version: 0, live: { rows: 0 }, log: { watermarkMs: 0, committedMs: T0 } });
});

describe("one commit carries", () => {
  test("the files, the positions and the totals", () => {
    const file = uploaded(row({ seq: seq(11) }), row({ seq: seq(12), key: "b", changes: 3 }));
    const next = planned(log(), {
      files: [file],
      ...at({ s1: position({ from: seq(10), seq: seq(12), at: T0 + 1 }) }),
      discoveredMs: T0 + 50,
    });
    expect([...next.files.keys()]).toEqual([file.path]);
    expect(next.shards.get("s1")).toMatchObject({ from: "10", seq: "12", at: T0 + 1 });
    expect(next.log).toMatchObject({ changes: 4, committed: file.file.totals, watermarkMs: T0 + 1 });
  });

  test("a time above the last one's, whatever the clock says", () => {
    const { committedMs } = log().log;
    expect(planned(log(), {}, T0 - 60_000).log.committedMs).toBe(committedMs + 1);
    expect(planned(log(), {}, T0 + 60_000).log.committedMs).toBe(T0 + 60_000);
  });

  test("the gaps, each once", () => {
    const gap = { shard: "s1", after: seq(10), reason: "trimmed", detectedMs: T0 };
    const next = planned(log(), { gaps: [gap] });
    expect([...next.gaps.values()]).toEqual([gap]);
    const again = planned(next, { gaps: [{ ...gap, detectedMs: T0 + 9 }] });
    expect([...again.gaps.values()]).toEqual([gap]);
  });
});

describe("a gap that a worker met which stood still, in a shard that others have read", () => {
  const met = { shard: "s1", reason: "trimmed", detectedMs: T0 };

  test("to its end is none", () => {
    const ended = logOf(change(at({ s1: position({ seq: seq(10), at: T0, done: true }) })));
    const positions = at({ s1: position({ from: seq(10), seq: seq(10), at: T0, done: true }) });
    const next = planned(ended, { gaps: [{ ...met, after: seq(10) }], ...positions });
    expect(next.gaps.size).toBe(0);
    expect(next.shards.get("s1")).toEqual(ended.shards.get("s1"));
  });

  test("as far as it has is one", () => {
    const positions = at({ s1: position({ from: seq(10), seq: seq(10), at: T0 }) });
    expect(planned(log(), { gaps: [{ ...met, after: seq(10) }], ...positions }).gaps.size).toBe(1);
  });
});

describe("the watermark", () => {
  test.each([
    [
      "rises with its shards",
      { s1: position({ from: seq(10), seq: seq(10), at: T0 + 20 }) },
      T0 + 30,
      T0 + 20,
    ],
    [
      "not past the discovery",
      { s1: position({ from: seq(10), seq: seq(10), at: T0 + 20 }) },
      T0 + 10,
      T0 + 10,
    ],
    [
      "not without a discovery",
      { s1: position({ from: seq(10), seq: seq(10), at: T0 + 20 }) },
      undefined,
      T0,
    ],
    ["not past a shard just found", { s2: position({ at: T0 }) }, T0 + 30, T0],
  ] as const)("%s", (_, positions, discoveredMs, watermarkMs) => {
    expect(planned(log(), { ...at(positions), discoveredMs }).log.watermarkMs).toBe(watermarkMs);
  });

  test("holds at a shard that ended until its children are known", () => {
    const ended = planned(log(), {
      ...at({ s1: position({ from: seq(10), seq: seq(10), at: T0 + 20, done: true }) }),
      discoveredMs: T0 + 90,
    });
    expect(ended.log.watermarkMs).toBe(T0 + 20);
    const found = planned(ended, {
      ...at({ s2: position({ at: T0 + 20, parent: "s1" }) }),
      discoveredMs: T0 + 95,
    });
    expect(found.log.watermarkMs).toBe(T0 + 20);
    const read = planned(found, { ...at({ s2: position({ at: T0 + 60, parent: "s1" }) }) });
    expect(read.log.watermarkMs).toBe(T0 + 60);
  });
});

describe("a change is stale when", () => {
  test.each([
    ["its shard was moved on", { s1: position({ from: seq(7), seq: seq(12), at: T0 + 1 }) }, []],
    ["its shard is said to be unread", { s1: position({ from: null, seq: seq(12), at: T0 + 1 }) }, []],
    ["its shard is said to be empty", { s1: position({ at: T0 + 1, done: true }) }, []],
    [
      "its shard is further back in the log",
      { s1: position({ from: seq(11), seq: seq(12), at: T0 + 1 }) },
      [],
    ],
    [
      "it holds rows at or below the watermark",
      { s1: position({ from: seq(10), seq: seq(11), at: T0 }) },
      [uploaded(row({ changedMs: T0 }))],
    ],
  ])("%s", (_, positions, files) => {
    expect(plan(log(), { ...at(positions), files }).kind).toBe("stale");
  });
});

test("a commit vouches for the entry before it, byte by byte", () => {
  const before = log();
  const made = plan(before, {});
  if (made.kind === "stale") throw new Error(made.why);
  expect(made.commit.info.previousSha256).toBe(
    createHash("sha256").update(String(before.entry)).digest("hex"),
  );
  expect(made.next.entry).toBe(encodeCommit(made.commit));
  const unread = plan({ ...before, entry: null }, {});
  expect(unread.kind === "commit" && unread.commit.info).not.toHaveProperty("previousSha256");
});

describe("what another worker did first does not stop it", () => {
  test("a shard found by both is left as it stands in the log", () => {
    const next = planned(log(), {
      found: new Map([
        ["s1", position()],
        ["s2", position({ at: T0 })],
      ]),
    });
    expect(next.shards.get("s1")).toEqual(log().shards.get("s1"));
    expect(next.shards.get("s2")).toMatchObject({ seq: null, at: T0 });
  });

  test("a shard that the other read to its end stays ended", () => {
    const ended = planned(
      log(),
      at({ s1: position({ from: seq(10), seq: seq(10), at: T0 + 5, done: true }) }),
    );
    const next = planned(ended, at({ s1: position({ from: seq(10), seq: seq(10), at: T0 + 9 }) }));
    expect(next.shards.get("s1")).toMatchObject({ done: true, seq: "10" });
  });

  test("an empty shard that the other found, read and ended stays ended", () => {
    const ended = planned(log(), at({ s2: position({ at: T0 + 5, done: true }) }));
    expect(planned(ended, at({ s2: position({ at: T0 }) })).shards.get("s2")?.done).toBe(true);
  });

  test("a shard that only this one found starts at the watermark that was published meanwhile", () => {
    const onward = planned(log(), {
      ...at({ s1: position({ from: seq(10), seq: seq(10), at: T0 + 30 }) }),
      discoveredMs: T0 + 30,
    });
    expect(onward.log.watermarkMs).toBe(T0 + 30);
    expect(planned(onward, at({ s2: position({ at: T0 }) })).shards.get("s2")?.at).toBe(T0 + 30);
  });
});
