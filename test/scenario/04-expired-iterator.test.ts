/** Iterators that expire in the middle of a shard: reading goes on after the last record read. */
import { expect, test } from "vitest";
import { TABLE, useScenario } from "./scenario.ts";

const scenario = useScenario();

test("every iterator expires again and again", async () => {
  const { command, settled, clock } = scenario();
  command(
    { do: "create", table: TABLE, shards: 3 },
    { do: "pageMax", records: 5 },
    { do: "write", table: TABLE, count: 300 },
  );
  const compactor = scenario().compactor();
  for (let round = 0; round < 8; round += 1) {
    command({ do: "expireIterators" }, { do: "write", table: TABLE, count: 20 });
    await clock.sleep(500);
  }
  await settled();
  expect(compactor.lines.some(({ what }) => what.includes("expired"))).toBe(true);
  expect(await scenario().problems()).toEqual([]);
  expect(await scenario().gaps()).toEqual([]);
});

test("each is opened again once, not for ever", async () => {
  const { command, server, settled } = scenario();
  command({ do: "create", table: TABLE, shards: 1 }, { do: "write", table: TABLE, count: 10 });
  scenario().compactor();
  await settled();
  const before = server.state().calls["GetShardIterator"] ?? 0;
  command({ do: "expireIterators" }, { do: "write", table: TABLE, count: 10 });
  await settled();
  expect((server.state().calls["GetShardIterator"] ?? 0) - before).toBe(1);
});
