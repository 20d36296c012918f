/**
 * A writer stands still with a commit in its hands, for days: others take its version, and clean-up deletes their
 * entry. When its PUT arrives at last it succeeds, and must not stand.
 */
import { expect, test } from "vitest";
import { writeCheckpoint } from "../../shared/checkpoint.ts";
import { LOG_DIR, commitKey } from "../../shared/keys.ts";
import type { ObjectStore } from "../../shared/store.ts";
import { cleanLog } from "../../compactor/upkeep.ts";
import { TABLE, until, useScenario } from "./scenario.ts";

const scenario = useScenario();
const DAY_MS = 86_400_000;

test("it takes its entry back, and goes on from the log", async () => {
  const { command, disk, clock, tip, settled } = scenario();
  command({ do: "create", table: TABLE, shards: 2 }, { do: "write", table: TABLE, count: 20 });
  const hold = Promise.withResolvers<void>();
  let held: string | null = null;
  // All of it stands still, its signs of life too.
  const stalling: ObjectStore = {
    ...disk,
    put: async (key, body, condition, signal) => {
      if (condition.kind === "if-absent" && /0[2-9]\.json$/.test(key)) held ??= key;
      if (held !== null) await hold.promise;
      return disk.put(key, body, condition, signal);
    },
  };
  const stalled = scenario().compactor({ store: stalling });
  await until(() => (held === null ? "it has not come to its commit" : null));
  const other = scenario().compactor();
  for (let round = 0; round < 8; round += 1) {
    command({ do: "write", table: TABLE, count: 20 });
    await clock.sleep(1_000);
  }
  await settled();
  const summed = await tip();
  if (summed === null || held === null) throw new Error("there is no log");
  await writeCheckpoint(disk, summed);
  clock.skip(3 * DAY_MS);
  command({ do: "write", table: TABLE, count: 20 });
  await settled();
  await cleanLog(disk, clock.nowMs() - 2 * DAY_MS);
  expect(disk.objects.has(held)).toBe(false);
  hold.resolve();
  await until(() =>
    stalled.lines.some(({ what }) => what === "a batch is read again") ? null : "it has not woken up",
  );
  await other.stop();
  command({ do: "write", table: TABLE, count: 20 }, { do: "end", table: TABLE, children: 2 });
  const last = await settled();
  expect(disk.objects.has(held)).toBe(false);
  expect(disk.objects.has(commitKey(last.version))).toBe(true);
  const { changes } = scenario().server.truthOf(TABLE);
  const written = [...changes.values()].flat().length;
  expect(last.log.changes).toBe(written);
});

test("one that stands still while it opens the log goes on from where the log is by then", async () => {
  const { command, disk, clock, tip, settled } = scenario();
  command({ do: "create", table: TABLE, shards: 2 }, { do: "write", table: TABLE, count: 20 });
  const other = scenario().compactor();
  const commitSome = async (): Promise<void> => {
    for (let round = 0; round < 4; round += 1) {
      command({ do: "write", table: TABLE, count: 20 });
      await settled();
    }
    const summed = await tip();
    if (summed !== null) await writeCheckpoint(disk, summed);
  };
  await commitSome();
  const hold = Promise.withResolvers<void>();
  let held = false;
  const stalling: ObjectStore = {
    ...disk,
    list: async function* (prefix, startAfter, signal) {
      const listed = await Array.fromAsync(disk.list(prefix, startAfter, signal));
      if (!held && prefix === LOG_DIR) {
        held = true;
        await hold.promise;
      }
      yield* listed;
    },
  };
  const stalled = scenario().compactor({ store: stalling });
  await until(() => (held ? null : "it does not open the log"));
  const opened = (await tip())?.version ?? 0;
  await commitSome();
  clock.skip(3 * DAY_MS);
  await commitSome();
  await cleanLog(disk, clock.nowMs() - 2 * DAY_MS);
  expect(disk.objects.has(commitKey(opened))).toBe(false);
  hold.resolve();
  await other.stop();
  command({ do: "write", table: TABLE, count: 20 }, { do: "end", table: TABLE, children: 2 });
  const last = await settled();
  expect(stalled.lines.filter(({ what }) => what.startsWith("failed"))).toEqual([]);
  expect(disk.objects.has(commitKey(opened + 1))).toBe(false);
  const { changes } = scenario().server.truthOf(TABLE);
  expect(last.log.changes).toBe([...changes.values()].flat().length);
});
