import { describe, expect, test } from "vitest";
import { checkpointActions } from "../../shared/checkpoint.ts";
import type { Action, Commit } from "../../shared/delta.ts";
import { domainAction } from "../../shared/delta.ts";
import type { Position } from "../../shared/position.ts";
import { encodePosition } from "../../shared/position.ts";
import type { LogState, Snapshot, Violation } from "../../shared/snapshot.ts";
import { LOG_DOMAIN, applyCommit, restoreSnapshot } from "../../shared/snapshot.ts";
import { planCommit } from "../../compactor/plan.ts";
import { T0, change, logOf, position, row, seq, uploaded } from "../fakes/changes.ts";

/** A parent read to 10 and a child of it not yet begun. */
function someLog(): Snapshot {
  return logOf(
    change({
      positions: new Map([
        ["parent", position({ at: T0 })],
        ["child", position({ at: T0, parent: "parent" })],
      ]),
      discoveredMs: T0,
    }),
    change({
      files: [uploaded(row({ shard: "parent", seq: seq(10), changedMs: T0 + 1 }))],
      positions: new Map([["parent", position({ seq: seq(10), at: T0 + 1 })]]),
      discoveredMs: T0 + 1,
    }),
  );
}

/** What would follow `before`: one row more of the parent. */
function nextCommit(before: Snapshot): Commit {
  const plan = planCommit(
    before,
    change({
      files: [uploaded(row({ shard: "parent", seq: seq(11), changedMs: T0 + 2 }))],
      positions: new Map([["parent", position({ from: seq(10), seq: seq(11), at: T0 + 2 })]]),
      discoveredMs: T0 + 2,
    }),
    { txnId: "t9", nowMs: T0 + 9 },
  );
  if (plan.kind === "stale") throw new Error(plan.why);
  return plan.commit;
}

const broken = (violations: readonly Violation[]): number[] => [
  ...new Set(violations.map(({ invariant }) => invariant)),
];
const withActions = (commit: Commit, alter: (action: Action) => Action | null): Commit => ({
  ...commit,
  actions: commit.actions.map(alter).filter((action) => action !== null),
});
const withPosition = (commit: Commit, shard: string, some: Partial<Position>): Commit => {
  const others = withActions(commit, (action) =>
    "domainMetadata" in action && action.domainMetadata.domain === `varve.shard.${shard}` ? null : action,
  );
  const action = {
    domainMetadata: encodePosition(shard, position({ from: seq(10), seq: seq(11), at: T0 + 2, ...some })),
  };
  return { ...others, actions: [...others.actions, action] };
};
const withLog = (commit: Commit, some: (log: LogState) => Partial<LogState>): Commit =>
  withActions(commit, (action) => {
    if (!("domainMetadata" in action) || action.domainMetadata.domain !== LOG_DOMAIN) return action;
    const log = JSON.parse(action.domainMetadata.configuration) as LogState;
    return domainAction(LOG_DOMAIN, { ...log, ...some(log) });
  });

test("a sound commit breaks nothing, and moves on", () => {
  const before = someLog();
  const { snapshot, violations } = applyCommit(before, nextCommit(before));
  expect(violations).toEqual([]);
  expect(snapshot.version).toBe(before.version + 1);
  expect(snapshot.shards.get("parent")?.seq).toBe("11");
  expect(snapshot.log.committed.rows).toBe(2);
  expect(snapshot.live).toEqual(snapshot.log.committed);
});

test("what was before is left as it was", () => {
  const before = someLog();
  const { files, shards } = before;
  const sizes = [files.size, shards.get("parent")?.seq];
  applyCommit(before, nextCommit(before));
  expect([files.size, shards.get("parent")?.seq]).toEqual(sizes);
});

describe("each invariant, broken on purpose, is named", () => {
  type Case = readonly [number, string, (commit: Commit, before: Snapshot) => Commit];
  const cases: readonly Case[] = [
    [1, "a version is left out", (commit) => ({ ...commit, version: commit.version + 1 })],
    [1, "a version comes twice", (commit, { version }) => ({ ...commit, version })],
    [
      1,
      "time stands still",
      (commit, { log }) =>
        withLog({ ...commit, info: { ...commit.info, inCommitTimestamp: log.committedMs } }, () => ({
          committedMs: log.committedMs,
        })),
    ],
    [2, "a position goes back", (commit) => withPosition(commit, "parent", { seq: seq(9) })],
    [2, "a batch was read from elsewhere", (commit) => withPosition(commit, "parent", { from: seq(7) })],
    [2, "a batch was read from the start again", (commit) => withPosition(commit, "parent", { from: null })],
    [2, "a shard's watermark goes back", (commit) => withPosition(commit, "parent", { at: T0 - 1 })],
    [
      3,
      "a child is read before its parent's end",
      (commit) => withPosition(commit, "child", { from: null, seq: seq(1), parent: "parent" }),
    ],
    [
      4,
      "the watermark goes back",
      (commit, { log }) => withLog(commit, () => ({ watermarkMs: log.watermarkMs - 1 })),
    ],
    [4, "the watermark passes a shard's", (commit) => withLog(commit, () => ({ watermarkMs: T0 + 3 }))],
    [
      4,
      "the watermark passes the last discovery",
      (commit) =>
        withLog(
          withPosition(commit, "child", { from: null, seq: null, at: T0 + 9, parent: "parent" }),
          () => ({ discoveredMs: T0, watermarkMs: T0 + 1 }),
        ),
    ],
    [5, "a file is missing", (commit) => withActions(commit, (action) => ("add" in action ? null : action))],
    [
      5,
      "a row count is wrong",
      (commit) => withLog(commit, ({ committed }) => ({ committed: { ...committed, rows: 9 } })),
    ],
    [
      5,
      "a checksum is wrong",
      (commit) =>
        withLog(commit, ({ committed, superseded }) => ({
          committed: { ...committed, sum: superseded.sum },
        })),
    ],
    [5, "the number of changes is wrong", (commit) => withLog(commit, () => ({ changes: 99 }))],
    [
      5,
      "rows are said to be superseded, and are live",
      (commit) => withLog(commit, ({ superseded }) => ({ superseded: { ...superseded, rows: 1 } })),
    ],
    [
      5,
      "a file without its tags",
      (commit) =>
        withActions(commit, (action) => ("add" in action ? { add: { ...action.add, tags: {} } } : action)),
    ],
    [
      6,
      "a file is added a second time",
      (commit, { files }) => ({
        ...commit,
        actions: [...commit.actions, ...[...files.values()].map(({ add }) => ({ add }))],
      }),
    ],
    [
      6,
      "a file is removed that is not live",
      (commit) => ({
        ...commit,
        actions: [...commit.actions, { remove: { path: "data/none.parquet", dataChange: false } }],
      }),
    ],
  ];
  test.each(cases)("%i: %s", (invariant, _, alter) => {
    const before = someLog();
    const { violations } = applyCommit(before, alter(nextCommit(before), before));
    expect(broken(violations)).toContain(invariant);
  });

  test("2: a shard that has ended moves again", () => {
    const log = logOf(
      change({
        positions: new Map([["s1", position({ seq: seq(1), at: T0, done: true })]]),
        discoveredMs: T0,
      }),
    );
    const commit = withPosition(nextCommit(someLog()), "s1", { from: seq(1), seq: seq(2), done: true });
    expect(broken(applyCommit(log, commit).violations)).toContain(2);
  });

  test("4: a row appears at or below a watermark already published", () => {
    const positions = new Map([["s1", position({ at: T0 + 5 })]]);
    const log = logOf(change({ positions, discoveredMs: T0 + 5 }));
    expect(log.log.watermarkMs).toBe(T0 + 5);
    const late = uploaded(row({ changedMs: T0 + 5 }));
    const commit = nextCommit(someLog());
    const add = {
      path: late.path,
      partitionValues: { dt: "2026-11-23" },
      size: 1,
      modificationTime: 0,
      dataChange: true,
      stats: late.file.stats,
      tags: { level: "0", window: String(late.windowStartMs), changes: "1", setsum: late.file.totals.sum },
    };
    const { violations } = applyCommit(log, { ...commit, actions: [{ add }] });
    expect(violations.map(({ what }) => what).join()).toMatch(/holds a row at \d+, but the watermark was/);
  });
});

describe("a checkpoint's actions", () => {
  test("come to the same snapshot", () => {
    const before = someLog();
    const restored = restoreSnapshot(before.version, checkpointActions(before, 0));
    expect(restored?.log).toEqual(before.log);
    expect(restored?.shards).toEqual(before.shards);
    expect(restored?.live).toEqual(before.live);
    expect([...(restored?.files.keys() ?? [])]).toEqual([...before.files.keys()]);
    if (restored === null) throw new Error("not restored");
    const next = nextCommit(before);
    expect(applyCommit(restored, next).violations).toEqual([]);
    expect(applyCommit(restored, next).snapshot.log).toEqual(applyCommit(before, next).snapshot.log);
  });

  test("without one of its files are not taken", () => {
    const before = someLog();
    const actions = checkpointActions(before, 0).filter((action) => !("add" in action));
    expect(restoreSnapshot(before.version, actions)).toBeNull();
  });
});
