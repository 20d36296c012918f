/** A slow writer of a checkpoint does not move `_last_checkpoint` back past a faster one's. */
import { expect, test } from "vitest";
import { readCheckpoint, readLastCheckpoint, writeCheckpoint } from "../../shared/checkpoint.ts";
import { LAST_CHECKPOINT_KEY } from "../../shared/keys.ts";
import type { ObjectStore } from "../../shared/store.ts";
import { TABLE, useScenario } from "./scenario.ts";

const scenario = useScenario();

test("the pointer is put on the condition that it is still what was read", async () => {
  const { command, disk, tip, settled } = scenario();
  command({ do: "create", table: TABLE, shards: 2 }, { do: "write", table: TABLE, count: 20 });
  scenario().compactor();
  await settled();
  const older = await tip();
  command({ do: "write", table: TABLE, count: 20 });
  await settled();
  const newer = await tip();
  if (older === null || newer === null) throw new Error("there is no log");
  expect(newer.version).toBeGreaterThan(older.version);
  const overtaken: ObjectStore = {
    ...disk,
    put: async (key, body, condition, signal) => {
      if (key === LAST_CHECKPOINT_KEY) await writeCheckpoint(disk, newer);
      return disk.put(key, body, condition, signal);
    },
  };
  await writeCheckpoint(overtaken, older);
  expect((await readLastCheckpoint(disk))?.version).toBe(newer.version);
  await writeCheckpoint(disk, older);
  expect((await readLastCheckpoint(disk))?.version).toBe(newer.version);
  const restored = await readCheckpoint(disk);
  expect(restored?.log).toEqual(newer.log);
  expect(restored?.shards).toEqual(newer.shards);
});

test("two compactors make checkpoints, and what is read from them is the log", async () => {
  const { command, disk, settled } = scenario();
  command({ do: "create", table: TABLE, shards: 4 });
  const versions: number[] = [];
  const watching: ObjectStore = {
    ...disk,
    put: async (key, body, condition, signal) => {
      const put = await disk.put(key, body, condition, signal);
      if (key === LAST_CHECKPOINT_KEY && put.kind === "stored") {
        versions.push((JSON.parse(new TextDecoder().decode(body)) as { version: number }).version);
      }
      return put;
    },
  };
  const workers = [0, 1].map(() => scenario().compactor({ store: watching, upkeep: true }));
  for (let round = 0; versions.length < 2 && round < 200; round += 1) {
    command({ do: "write", table: TABLE, count: 10 });
    await scenario().clock.sleep(600);
  }
  const last = await settled();
  await workers[0]?.stop();
  expect(versions).toEqual(versions.toSorted((a, b) => a - b));
  expect(versions.length).toBeGreaterThanOrEqual(2);
  const restored = await readCheckpoint(disk);
  expect(restored?.version).toBeLessThanOrEqual(last.version + 100);
  expect(await scenario().problems()).toEqual([]);
});
