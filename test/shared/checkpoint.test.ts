import { describe, expect, test } from "vitest";
import { readCheckpoint, readLastCheckpoint, writeCheckpoint } from "../../shared/checkpoint.ts";
import { encodeCommit } from "../../shared/delta.ts";
import { LAST_CHECKPOINT_KEY, checkpointKey, commitKey } from "../../shared/keys.ts";
import { loadSnapshot } from "../../shared/log.ts";
import { applyCommit } from "../../shared/snapshot.ts";
import type { Snapshot } from "../../shared/snapshot.ts";
import { planCommit } from "../../compactor/plan.ts";
import { T0, change, logOf, position, row, seq, uploaded } from "../fakes/changes.ts";
import { memoryStore } from "../fakes/store.ts";

const LONG = "9".repeat(40);

/** Some of everything: files, shards with long numbers, a gap, removals. */
function someLog(): Snapshot {
  const log = logOf(
    change({ positions: new Map([["s1", position({ at: T0 })]]), discoveredMs: T0 }),
    change({
      files: [uploaded(row({ seq: seq(LONG) }), row({ seq: seq(7), key: '{"pk":"it\'s ü"}' }))],
      positions: new Map([
        ["s1", position({ seq: seq(LONG), at: T0 + 1, done: true })],
        ["s2", position({ at: T0, parent: "s1" })],
      ]),
      gaps: [{ shard: "s1", after: null, reason: "trimmed", detectedMs: T0 }],
      discoveredMs: T0 + 1,
    }),
  );
  return { ...log, removed: new Map([["data/gone.parquet", T0]]) };
}

test("a checkpoint is read back as the snapshot it was written of", async () => {
  const store = memoryStore();
  const snapshot = someLog();
  await writeCheckpoint(store, snapshot);
  const read = await readCheckpoint(store);
  expect(read).toMatchObject({
    version: snapshot.version,
    log: snapshot.log,
    live: snapshot.live,
    shards: snapshot.shards,
    gaps: snapshot.gaps,
    removed: snapshot.removed,
  });
  expect([...(read?.files ?? [])].map(([path, file]) => [path, file.totals, file.sha256])).toEqual(
    [...snapshot.files].map(([path, file]) => [path, file.totals, file.sha256]),
  );
  expect(read?.metaData.id).toBe(snapshot.metaData.id);
});

test("what follows a checkpoint applies to it as to the whole log", async () => {
  const store = memoryStore();
  const snapshot = someLog();
  await writeCheckpoint(store, snapshot);
  const next = planCommit(snapshot, change({ discoveredMs: T0 + 9 }), { txnId: "next", nowMs: T0 + 9 });
  if (next.kind === "stale") throw new Error(next.why);
  const body = new TextEncoder().encode(encodeCommit(next.commit));
  await store.put(commitKey(next.commit.version), body, { kind: "always" });
  const opened = await loadSnapshot(store);
  expect(opened?.version).toBe(snapshot.version + 1);
  expect(opened?.log).toEqual(applyCommit(snapshot, next.commit).snapshot.log);
});

test("removals that no reader needs are forgotten", async () => {
  const store = memoryStore();
  await writeCheckpoint(store, someLog(), { forgetBeforeMs: T0 + 1 });
  expect((await readCheckpoint(store))?.removed.size).toBe(0);
});

describe("_last_checkpoint", () => {
  test("only moves forward", async () => {
    const store = memoryStore();
    const newer = someLog();
    const older = logOf(change({ discoveredMs: T0 }));
    await writeCheckpoint(store, newer);
    await writeCheckpoint(store, older);
    expect((await readLastCheckpoint(store))?.version).toBe(newer.version);
    expect((await readCheckpoint(store))?.version).toBe(newer.version);
  });

  test.each(["", "{}", "<html>", '{"version":"7"}'])("that is %j is passed over", async (text) => {
    const store = memoryStore();
    await store.put(LAST_CHECKPOINT_KEY, new TextEncoder().encode(text), { kind: "always" });
    expect(await readLastCheckpoint(store)).toBeNull();
    expect(await readCheckpoint(store)).toBeNull();
  });

  test("of a checkpoint that is not there is passed over", async () => {
    const store = memoryStore();
    const snapshot = someLog();
    await writeCheckpoint(store, snapshot);
    await store.delete(checkpointKey(snapshot.version));
    expect(await readCheckpoint(store)).toBeNull();
  });
});
