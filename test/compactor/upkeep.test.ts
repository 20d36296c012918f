import { describe, expect, test } from "vitest";
import { cleanLog, obsoleteEntries, openUpkeep } from "../../compactor/upkeep.ts";
import { isGarbage, vacuum } from "../../compactor/vacuum.ts";
import { LAST_CHECKPOINT_KEY, checkpointKey, commitKey } from "../../shared/keys.ts";
import { T0, change, logOf, position, row, seq, uploaded } from "../fakes/changes.ts";
import { virtualClock, virtualTime } from "../fakes/clock.ts";
import { memoryStore } from "../fakes/store.ts";

const DAY_MS = 86_400_000;

const commits = (versions: readonly number[], modifiedMs: number) =>
  versions.map((version) => ({ kind: "commit" as const, version, modifiedMs }));
const checkpoint = (version: number, modifiedMs: number) => ({
  kind: "checkpoint" as const,
  version,
  modifiedMs,
});

describe("entries that no reader needs", () => {
  test.each([
    ["none without a checkpoint", [...commits([0, 1, 2], 1)], []],
    ["none while the checkpoint is young", [...commits([0, 1, 2], 1), checkpoint(2, 100)], []],
    ["none when `_last_checkpoint` names an older one", [...commits([4, 5], 1), checkpoint(6, 5)], []],
    ["all before an old checkpoint; its own stays", [...commits([0, 1, 2, 3], 1), checkpoint(2, 5)], [0, 1]],
    [
      "up to the newest old one, older checkpoints too, ascending",
      [...commits([5, 4, 3, 2], 1), checkpoint(3, 4), checkpoint(5, 5), checkpoint(6, 5), checkpoint(9, 100)],
      [2, 3, 3, 4],
    ],
  ])("%s", (_, listed, versions) => {
    expect(obsoleteEntries(listed, 50, 5).map(({ version }) => version)).toEqual(versions);
  });

  test("are deleted, and others are left", async () => {
    let nowMs = 0;
    const store = memoryStore(() => nowMs);
    const put = (key: string, text = "1") =>
      store.put(key, new TextEncoder().encode(text), { kind: "always" });
    for (let version = 0; version < 6; version += 1) await put(commitKey(version));
    await put(checkpointKey(3));
    nowMs = 100;
    await put(checkpointKey(5));
    expect(await cleanLog(store, 50)).toBe(0);
    await put(LAST_CHECKPOINT_KEY, '{"version":5,"size":1}');
    expect(await cleanLog(store, 50)).toBe(3);
    expect([...store.objects.keys()].toSorted()).toEqual(
      [
        LAST_CHECKPOINT_KEY,
        commitKey(3),
        checkpointKey(3),
        commitKey(4),
        commitKey(5),
        checkpointKey(5),
      ].toSorted(),
    );
  });
});

test("a worker whose clock is days ahead deletes nothing that is young by the store's", async () => {
  const time = virtualTime(T0);
  const clock = virtualClock(time);
  let aheadMs = 0;
  const store = memoryStore(time.nowMs);
  const [old, young] = ["data/old", "data/on-its-way"];
  const put = (key: string, text = "1") => store.put(key, new TextEncoder().encode(text), { kind: "always" });
  const pass = async (ms: number): Promise<void> => {
    let passed = false;
    void time.sleep(ms).then(() => (passed = true));
    await time.run(() => passed, ms + 1);
  };
  const upkeep = openUpkeep({
    store,
    clock: { ...clock, nowMs: () => clock.nowMs() + aheadMs },
    log: { info: () => {}, warn: () => {} },
    logRetentionMs: 2 * DAY_MS,
    retentionMs: null,
  });
  for (const key of [old, commitKey(0), commitKey(1), checkpointKey(1)]) await put(key);
  await pass(8 * DAY_MS);
  for (const key of [young, commitKey(2), commitKey(3), checkpointKey(3)]) await put(key);
  await put(LAST_CHECKPOINT_KEY, '{"version":3,"size":1}');
  await pass(60_000);
  aheadMs = 10 * DAY_MS;
  await upkeep.run({
    snapshot: () => logOf(),
    forgetRemoved: () => {},
    owns: () => true,
    commit: async () => ({ kind: "committed" }),
    signal: new AbortController().signal,
  });
  const kept = [young, commitKey(1), checkpointKey(1), commitKey(2), commitKey(3), checkpointKey(3)];
  expect([...store.objects.keys()].toSorted()).toEqual([LAST_CHECKPOINT_KEY, ...kept].toSorted());
});

describe("files that are in no live commit", () => {
  const file = uploaded(row({ seq: seq(1) }));
  const live = logOf(
    change({ positions: new Map([["s1", position()]]) }),
    change({ files: [file], positions: new Map([["s1", position({ seq: seq(1), at: T0 })]]) }),
  );
  const snapshot = { ...live, removed: new Map([["data/removed", 60]]) };
  const options = { removedBeforeMs: 50, orphanBeforeMs: 20, dryRun: false };
  const listed = (key: string, modifiedMs: number) => ({ key, modifiedMs, sizeBytes: 1 });

  test.each([
    ["a live one stays, however old", listed(file.path, 0), {}, false],
    ["one removed lately stays", listed("data/removed", 0), {}, false],
    ["one removed long ago goes", listed("data/removed", 0), { removedBeforeMs: 61 }, true],
    ["one that a commit may still name stays", listed("data/none", 20), {}, false],
    ["an orphan goes", listed("data/none", 19), {}, true],
  ])("%s", (_, object, some, garbage) => {
    expect(isGarbage(object, snapshot, { ...options, ...some })).toBe(garbage);
  });

  test("are counted before they are deleted", async () => {
    const store = memoryStore(() => 10);
    for (const key of [file.path, "data/none"]) await store.put(key, new Uint8Array([1]), { kind: "always" });
    expect(await vacuum(store, snapshot, { ...options, dryRun: true })).toMatchObject({ bytes: 1, kept: 1 });
    expect(store.objects.size).toBe(2);
    await vacuum(store, snapshot, options);
    expect([...store.objects.keys()]).toEqual([file.path]);
  });
});
