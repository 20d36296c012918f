/** Listings that leave shards out, and a closed shard whose children are not listed: nothing stops for it. */
import { expect, test } from "vitest";
import { TABLE, missing, until, useScenario } from "./scenario.ts";

const scenario = useScenario();

test("the other shards go on while a closed shard has no children, and W stands still", async () => {
  const { command, tip, shards, settled } = scenario();
  command({ do: "create", table: TABLE, shards: 4 }, { do: "write", table: TABLE, count: 40 });
  scenario().compactor();
  await settled();
  const closed = shards()[0]?.id ?? "";
  command({ do: "lag", maxMs: 30_000 }, { do: "end", table: TABLE, children: 2, shard: closed });
  const known = new Set(
    shards()
      .slice(0, 4)
      .map(({ id }) => id),
  );
  const before = (await tip())?.log.watermarkMs ?? 0;
  for (let round = 0; round < 5; round += 1) {
    command({ do: "write", table: TABLE, count: 20 });
    await scenario().clock.sleep(600);
  }
  await until(async () =>
    missing(
      await tip(),
      shards().filter(({ id }) => known.has(id)),
    ),
  );
  const standing = await tip();
  expect(standing?.log.watermarkMs).toBeGreaterThanOrEqual(before);
  expect(standing?.log.watermarkMs).toBeLessThanOrEqual(standing?.shards.get(closed)?.at ?? 0);
  await settled();
  expect(await scenario().problems()).toEqual([]);
  expect(await scenario().gaps()).toEqual([]);
});

test("lists that are never whole hold nothing back for good", async () => {
  const { command, settled, clock } = scenario();
  command(
    { do: "create", table: TABLE, shards: 6 },
    { do: "fault", operation: "DescribeStream", kind: "partial", rate: 0.7 },
  );
  scenario().compactor();
  for (let round = 0; round < 10; round += 1) {
    command({ do: "write", table: TABLE, count: 20 }, { do: "end", table: TABLE, children: 2 });
    await clock.sleep(500);
  }
  await settled();
  expect(await scenario().problems()).toEqual([]);
  expect(await scenario().gaps()).toEqual([]);
});

test("children that never come are a gap after a day, and the watermark goes on", async () => {
  const { command, settled, shards, clock } = scenario();
  command({ do: "create", table: TABLE, shards: 2 }, { do: "write", table: TABLE, count: 20 });
  scenario().compactor();
  await settled();
  const closed = shards()[0]?.id ?? "";
  command({ do: "end", table: TABLE, children: 1, shard: closed });
  const child = shards().at(-1)?.id ?? "";
  command({ do: "drop", shard: child });
  await clock.sleep(2_000);
  clock.skip(25 * 3_600_000);
  await settled();
  expect(await scenario().gaps()).toMatchObject([{ shard: closed }]);
});
