import { describe, expect, test } from "vitest";
import type { Commit } from "../../shared/delta.ts";
import { COLUMNS, encodeCommit, parseCommit } from "../../shared/delta.ts";
import { planCommit, planCreate } from "../../compactor/plan.ts";
import { T0, change, logOf, position, row, seq, uploaded } from "../fakes/changes.ts";

function someCommit(): Commit {
  const log = logOf(change({ positions: new Map([["s1", position()]]), discoveredMs: T0 }));
  const plan = planCommit(
    log,
    change({
      files: [uploaded(row())],
      positions: new Map([["s1", position({ seq: seq("9".repeat(40)), at: T0 })]]),
      gaps: [{ shard: "s1", after: null, reason: "trimmed", detectedMs: T0 }],
    }),
    { txnId: "mine", nowMs: T0 + 10 },
  );
  if (plan.kind === "stale") throw new Error(plan.why);
  return plan.commit;
}

test("version 0 is read back, with every column in its schema", () => {
  const { commit } = planCreate("table", { txnId: "t", nowMs: T0 });
  expect(parseCommit(0, encodeCommit(commit))).toEqual(commit);
  const metaData = commit.actions.flatMap((action) => ("metaData" in action ? [action.metaData] : []))[0];
  const schema = JSON.parse(metaData?.schemaString ?? "") as { fields: { name: string }[] };
  expect(schema.fields.map(({ name }) => name)).toEqual(["dt", ...COLUMNS.map(({ name }) => name)]);
  expect(metaData?.partitionColumns).toEqual(["dt"]);
});

test("a commit is read back as it was written, commitInfo first", () => {
  const commit = someCommit();
  const entry = encodeCommit(commit);
  expect(parseCommit(commit.version, entry)).toEqual(commit);
  expect(entry.split("\n")[0]).toMatch(/^\{"commitInfo":/);
  expect(entry.endsWith("\n")).toBe(true);
});

const lines = (): string[] => encodeCommit(someCommit()).trimEnd().split("\n");

describe("an entry that was altered is refused, and named", () => {
  test.each([
    ["cut in the middle of a line", () => lines().join("\n").slice(0, -5), /entry 2 .*is not JSON/],
    ["without commitInfo", () => lines().slice(1).join("\n"), /first action is not commitInfo/],
    ["empty", () => "", /first action is not commitInfo/],
    [
      "an unknown action",
      () => [...lines(), '{"sidecar":{"path":"x"}}'].join("\n"),
      /not one that Varve writes/,
    ],
    [
      "a size that is text",
      () =>
        lines()
          .join("\n")
          .replace(/"size":(\d+)/, '"size":"$1"'),
      /not one that Varve writes/,
    ],
    ["a line that is no object", () => [...lines(), "7"].join("\n"), /not one that Varve writes/],
  ])("%s", (_, entry, message) => {
    expect(() => parseCommit(2, entry())).toThrow(message);
  });
});
