/** Ten DescribeStream calls a second and no more, over so many shards that one listing takes seven. */
import { expect, test } from "vitest";
import { TABLE, useScenario } from "./scenario.ts";

const scenario = useScenario();

test("listing 650 shards keeps under the rate, and the watermark goes on", async () => {
  const { command, server, settled, clock } = scenario();
  const arrivals: number[] = [];
  server.onCall = ({ operation, atMs }) => {
    if (operation === "DescribeStream") arrivals.push(atMs);
  };
  command(
    { do: "create", table: TABLE, shards: 650 },
    { do: "limit", operation: "DescribeStream", perSecond: 10 },
    { do: "write", table: TABLE, count: 200 },
  );
  const { lines } = scenario().compactor();
  await settled();
  for (let round = 0; round < 10; round += 1) {
    command({ do: "write", table: TABLE, count: 50 });
    await clock.sleep(1_000);
  }
  command({ do: "rotateAll", table: TABLE }, { do: "write", table: TABLE, count: 100 });
  await settled();
  const failed = lines.filter(({ what }) => what === "shard discovery failed");
  const seconds = ((arrivals.at(-1) ?? 0) - (arrivals[0] ?? 0)) / 1000;
  expect(failed).toEqual([]);
  expect(arrivals.length / seconds).toBeLessThan(10);
  expect(await scenario().problems()).toEqual([]);
});
