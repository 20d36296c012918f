/** Another's commit stands where one's own was to be: it is applied, and what it makes stale is read again. */
import { expect, test } from "vitest";
import { WORKERS_DIR } from "../../shared/keys.ts";
import type { ObjectStore } from "../../shared/store.ts";
import { TABLE, useScenario } from "./scenario.ts";

const scenario = useScenario();

test("each commit of one worker is overtaken by the other's", async () => {
  const { command, disk, clock, settled } = scenario();
  const overtaken: ObjectStore = {
    ...disk,
    list: async function* (prefix, startAfter, signal) {
      if (prefix !== WORKERS_DIR) yield* disk.list(prefix, startAfter, signal);
    },
    put: async (key, body, condition, signal) => {
      if (condition.kind === "if-absent") await clock.sleep(300);
      return disk.put(key, body, condition, signal);
    },
  };
  const swift: ObjectStore = { ...overtaken, put: disk.put };
  command({ do: "create", table: TABLE, shards: 3 });
  const slow = scenario().compactor({ store: overtaken });
  const other = scenario().compactor({ store: swift });
  const times = (what: string): number => slow.lines.filter((line) => line.what === what).length;
  const enough = (): boolean => times("a batch is read again") > 0 && times("conflicted") > 0;
  for (let round = 0; !enough() && round < 100; round += 1) {
    command({ do: "write", table: TABLE, count: 30 });
    if (round % 4 === 3) command({ do: "end", table: TABLE, children: 2 });
    await clock.sleep(600);
  }
  await settled();
  expect(times("conflicted")).toBeGreaterThan(0);
  expect(times("a batch is read again")).toBeGreaterThan(0);
  await other.stop();
  command({ do: "write", table: TABLE, count: 30 }, { do: "end", table: TABLE, children: 2 });
  await settled();
  expect(await scenario().problems()).toEqual([]);
});
