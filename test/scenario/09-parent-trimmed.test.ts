/** A child whose parent no longer exists does not wait for it. */
import { expect, test } from "vitest";
import { TABLE, useScenario } from "./scenario.ts";

const scenario = useScenario();

test("a first start on a stream whose oldest shards are gone", async () => {
  const { command, settled, shards } = scenario();
  command({ do: "create", table: TABLE, shards: 3 }, { do: "rotateAll", table: TABLE });
  for (const { id, closed } of shards()) if (closed) command({ do: "drop", shard: id });
  command({ do: "write", table: TABLE, count: 50 }, { do: "rotateAll", table: TABLE });
  command({ do: "write", table: TABLE, count: 50 });
  scenario().compactor();
  await settled();
  expect(await scenario().problems()).toEqual([]);
  expect(await scenario().gaps()).toEqual([]);
});

test("a parent that goes between two listings", async () => {
  const { command, settled, shards, clock } = scenario();
  command({ do: "create", table: TABLE, shards: 1 }, { do: "write", table: TABLE, count: 20 });
  const first = scenario().compactor();
  await settled();
  await first.stop();
  const [root] = shards();
  command({ do: "end", table: TABLE, children: 1 }, { do: "end", table: TABLE, children: 2 });
  for (const { id, parent } of shards())
    if (id === root?.id || parent === root?.id) command({ do: "drop", shard: id });
  command({ do: "write", table: TABLE, count: 20 });
  // They are gone because a day has passed.
  clock.skip(25 * 3_600_000);
  scenario().compactor();
  await clock.sleep(500);
  await settled();
  expect(await scenario().problems()).toEqual([]);
});
