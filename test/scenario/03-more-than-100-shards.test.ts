/** More shards than a page of the list holds, all rotated; and iterators that expire before anything was read. */
import { expect, test } from "vitest";
import { TABLE, until, useScenario } from "./scenario.ts";

const scenario = useScenario();

test("250 shards and the 250 that follow them are all read", async () => {
  const { command, settled } = scenario();
  command({ do: "create", table: TABLE, shards: 250 }, { do: "write", table: TABLE, count: 500 });
  scenario().compactor({ pollMs: [2_000, 8_000] });
  await settled();
  command({ do: "rotateAll", table: TABLE }, { do: "write", table: TABLE, count: 500 });
  const snapshot = await settled();
  expect(snapshot.shards.size).toBe(500);
  expect(await scenario().problems()).toEqual([]);
});

test("a shard whose iterator expired while it was empty is read from its start, not from its end", async () => {
  const { command, server, settled } = scenario();
  command({ do: "create", table: TABLE, shards: 8 });
  scenario().compactor();
  await until(() => ((server.state().calls["GetRecords"] ?? 0) > 16 ? null : "the shards are not read"));
  // Between the expiry and the next iterator something is written: LATEST would pass it over.
  command({ do: "expireIterators" }, { do: "write", table: TABLE, count: 100 });
  await settled();
  expect(await scenario().problems()).toEqual([]);
  expect(await scenario().gaps()).toEqual([]);
});
