import { describe, expect, test } from "vitest";
import { writeCheckpoint } from "../../shared/checkpoint.ts";
import { encodeCommit } from "../../shared/delta.ts";
import { LAST_CHECKPOINT_KEY, checkpointKey, commitKey } from "../../shared/keys.ts";
import { loadSnapshot, readCommit, readCommits } from "../../shared/log.ts";
import type { Snapshot } from "../../shared/snapshot.ts";
import { applyCommit } from "../../shared/snapshot.ts";
import type { ObjectStore } from "../../shared/store.ts";
import { planCommit, planCreate } from "../../compactor/plan.ts";
import { T0, change, logOf, position, row, seq, uploaded } from "../fakes/changes.ts";
import { memoryStore } from "../fakes/store.ts";

async function storeOf(commits: number): Promise<ObjectStore> {
  const store = memoryStore();
  const put = (version: number, text: string) =>
    store.put(commitKey(version), new TextEncoder().encode(text), { kind: "if-absent" });
  const created = planCreate("table", { txnId: "t0", nowMs: T0 });
  await put(0, encodeCommit(created.commit));
  let snapshot = created.next;
  for (let version = 1; version <= commits; version += 1) {
    const known = snapshot.shards.get("s1")?.seq ?? null;
    const plan = planCommit(
      snapshot,
      change({
        files: [uploaded(row({ seq: seq(version), changedMs: T0 + version }))],
        positions: new Map([["s1", position({ from: known, seq: seq(version), at: T0 + version })]]),
        discoveredMs: T0 + version,
      }),
      { txnId: `t${version}`, nowMs: T0 + version },
    );
    if (plan.kind === "stale") throw new Error(plan.why);
    await put(version, encodeCommit(plan.commit));
    snapshot = plan.next;
  }
  return store;
}

const versions = async (store: ObjectStore, after: number): Promise<number[]> => {
  const seen: number[] = [];
  for await (const { version } of readCommits(store, after)) seen.push(version);
  return seen;
};

async function snapshotAt(store: ObjectStore, version: number): Promise<Snapshot> {
  let snapshot: Snapshot | null = null;
  for await (const commit of readCommits(store, -1))
    if (commit.version <= version) snapshot = applyCommit(snapshot, commit).snapshot;
  if (snapshot === null) throw new Error("no log");
  return snapshot;
}

test("no log is null", async () => {
  expect(await loadSnapshot(memoryStore())).toBeNull();
  expect(await readCommit(memoryStore(), 0)).toBeNull();
});

test("commits come in order, from any version on", async () => {
  const store = await storeOf(40);
  expect(await versions(store, -1)).toEqual(Array.from({ length: 41 }, (_, version) => version));
  expect(await versions(store, 0)).toHaveLength(40);
  expect(await versions(store, 38)).toEqual([39, 40]);
  expect(await versions(store, 40)).toEqual([]);
});

test("the snapshot at the tip is the same from the start and from a known one", async () => {
  const store = await storeOf(20);
  const whole = await loadSnapshot(store);
  expect(whole).toMatchObject({ version: 20, log: { watermarkMs: T0 + 20, changes: 20 } });
  expect(await loadSnapshot(store, logOf())).toEqual({ ...whole, metaData: whole?.metaData });
});

describe("clean-up has taken the log's beginning", () => {
  const [FIRST, LAST] = [10, 15];
  const checkpointed = async (): Promise<ObjectStore> => {
    const store = await storeOf(20);
    for (const version of [FIRST, LAST]) await writeCheckpoint(store, await snapshotAt(store, version));
    for (let version = 0; version < FIRST; version += 1) await store.delete(commitKey(version));
    return store;
  };
  const damage = async (store: ObjectStore, key: string): Promise<void> => {
    await store.put(key, new TextEncoder().encode("PAR1 no more"), { kind: "always" });
  };

  test.each<[string, (store: ObjectStore) => Promise<void>]>([
    ["the last checkpoint is lost", (store) => store.delete(checkpointKey(LAST))],
    ["the last checkpoint is damaged", (store) => damage(store, checkpointKey(LAST))],
    ["what names it is lost", (store) => store.delete(LAST_CHECKPOINT_KEY)],
    ["what names it is damaged", (store) => damage(store, LAST_CHECKPOINT_KEY)],
  ])("%s: another one stands in", async (_, harm) => {
    const store = await checkpointed();
    const whole = await loadSnapshot(store);
    await harm(store);
    expect(await loadSnapshot(store)).toMatchObject({ version: 20, log: whole?.log, live: whole?.live });
  });

  test("all checkpoints are lost or damaged: that is said, and not sought for ever", async () => {
    const store = await checkpointed();
    await store.delete(checkpointKey(LAST));
    await damage(store, checkpointKey(FIRST));
    await expect(loadSnapshot(store)).rejects.toMatchObject({ code: "invariant_broken" });
  });

  test("while a reader knew the log as it was", async () => {
    const store = await storeOf(20);
    const known = await snapshotAt(store, 3);
    await writeCheckpoint(store, await snapshotAt(store, LAST));
    for (let version = 0; version < LAST; version += 1) await store.delete(commitKey(version));
    expect((await loadSnapshot(store, known))?.version).toBe(20);
  });
});

describe("a log that is not sound is refused", () => {
  test("an entry is missing", async () => {
    const store = await storeOf(5);
    await store.delete(commitKey(3));
    await expect(loadSnapshot(store)).rejects.toThrow(/breaks invariant 1 at version 4/);
  });

  test("an entry was put there twice", async () => {
    const store = await storeOf(5);
    const fourth = await store.get(commitKey(4));
    await store.put(commitKey(6), fourth?.body ?? new Uint8Array(), { kind: "always" });
    await expect(loadSnapshot(store)).rejects.toThrow(/breaks invariant/);
  });

  test("an entry is not one", async () => {
    const store = await storeOf(2);
    await store.put(commitKey(3), new TextEncoder().encode("<html>"), { kind: "always" });
    await expect(loadSnapshot(store)).rejects.toMatchObject({ code: "bad_log_entry" });
  });
});
