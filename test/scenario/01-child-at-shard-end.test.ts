/** A shard ends, and its children are listed later: they are found without a restart, and lose nothing. */
import { expect, test } from "vitest";
import { TABLE, until, useScenario } from "./scenario.ts";

const scenario = useScenario();

test("children that are listed late are read, and W waits for them", async () => {
  const { command, tip, shards, settled } = scenario();
  command({ do: "create", table: TABLE, shards: 1 }, { do: "write", table: TABLE, count: 20 });
  scenario().compactor();
  await settled();
  const parent = shards()[0]?.id ?? "";
  command({ do: "lag", maxMs: 20_000 }, { do: "end", table: TABLE, children: 2 });
  command({ do: "write", table: TABLE, count: 20 });
  await until(async () => ((await tip())?.shards.get(parent)?.done ? null : "the parent is not done"));
  const ended = await tip();
  expect(ended?.log.watermarkMs).toBeLessThanOrEqual(ended?.shards.get(parent)?.at ?? 0);
  await settled();
  expect(await scenario().problems()).toEqual([]);
  expect(await scenario().gaps()).toEqual([]);
});

test("ten generations in a row", async () => {
  const { command, clock, settled } = scenario();
  command({ do: "create", table: TABLE, shards: 1 }, { do: "lag", maxMs: 1_000 });
  scenario().compactor();
  for (let generation = 0; generation < 10; generation += 1) {
    command({ do: "write", table: TABLE, count: 10 }, { do: "end", table: TABLE, children: 1 });
    await clock.sleep(400);
  }
  const snapshot = await settled();
  expect(snapshot.shards.size).toBe(11);
  expect(await scenario().problems()).toEqual([]);
});
