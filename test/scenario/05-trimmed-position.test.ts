/** What was trimmed before it was read is a gap, once, in the log; all else goes on, and nothing is stuck. */
import { expect, test } from "vitest";
import { TABLE, until, useScenario } from "./scenario.ts";

const scenario = useScenario();

test("a compactor that was away for too long", async () => {
  const { command, settled, shards } = scenario();
  command({ do: "create", table: TABLE, shards: 2 }, { do: "write", table: TABLE, count: 60 });
  const first = scenario().compactor();
  const committed = await settled();
  await first.stop();
  command({ do: "write", table: TABLE, count: 100 });
  const trimmed = shards()[0]?.id ?? "";
  command({ do: "trim", table: TABLE, keep: 5, shard: trimmed });
  scenario().forgetLost((await scenario().tip()) ?? committed);
  const second = scenario().compactor();
  await settled();
  expect(await scenario().gaps()).toMatchObject([
    { shard: trimmed, after: committed.shards.get(trimmed)?.seq },
  ]);
  expect(await scenario().problems()).toEqual([]);
  await second.stop();
  command({ do: "write", table: TABLE, count: 20 });
  scenario().compactor();
  await settled();
  expect(await scenario().gaps()).toHaveLength(1);
  expect(await scenario().problems()).toEqual([]);
});

test("records trimmed under an open iterator", async () => {
  const { command, server, settled, shards } = scenario();
  command({ do: "create", table: TABLE, shards: 2 }, { do: "write", table: TABLE, count: 40 });
  scenario().compactor();
  const committed = await settled();
  // So that the records are not read before they are trimmed.
  const shard = shards()[1]?.id ?? "";
  command({ do: "fault", operation: "GetRecords", shard, kind: "throttled", rate: 1 });
  const before = server.state().calls["GetRecords"] ?? 0;
  await until(() => ((server.state().calls["GetRecords"] ?? 0) > before + 4 ? null : "nobody reads"));
  command(
    { do: "write", table: TABLE, count: 40 },
    { do: "trim", table: TABLE, keep: 2, shard },
    { do: "calm" },
  );
  scenario().forgetLost((await scenario().tip()) ?? committed);
  await settled();
  expect(await scenario().gaps()).toMatchObject([{ shard }]);
  expect(await scenario().problems()).toEqual([]);
});

test("a shard that is gone altogether before it was read to its end", async () => {
  const { command, clock, settled, shards, tip } = scenario();
  command({ do: "create", table: TABLE, shards: 2 }, { do: "write", table: TABLE, count: 40 });
  const first = scenario().compactor();
  await settled();
  await first.stop();
  const shard = shards()[0]?.id ?? "";
  command(
    { do: "write", table: TABLE, count: 40 },
    { do: "trim", table: TABLE, keep: 0, shard },
    { do: "end", table: TABLE, children: 1, shard },
    { do: "drop", shard },
    { do: "write", table: TABLE, count: 40 },
  );
  clock.skip(25 * 3_600_000);
  const standing = await tip();
  if (standing !== null) scenario().forgetLost(standing);
  scenario().compactor();
  await settled();
  expect(await scenario().gaps()).toContainEqual(
    expect.objectContaining({ shard, reason: expect.stringContaining("no longer exists") }),
  );
  expect(await scenario().problems()).toEqual([]);
});
