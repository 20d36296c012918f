/** Answers that come twice, or late, or after the connection has broken. */
import { expect, test } from "vitest";
import { TABLE, useScenario } from "./scenario.ts";

const scenario = useScenario();

test.each(["repeated", "dropped", "slow", "empty", "garbled"] as const)("%s", async (kind) => {
  const { command, settled, clock } = scenario();
  command(
    { do: "create", table: TABLE, shards: 3 },
    { do: "pageMax", records: 7 },
    { do: "fault", operation: "GetRecords", kind, rate: 0.3, ms: 100 },
  );
  scenario().compactor();
  for (let round = 0; round < 6; round += 1) {
    command({ do: "write", table: TABLE, count: 40 });
    if (round % 2 === 1) command({ do: "end", table: TABLE, children: 2 });
    await clock.sleep(500);
  }
  command({ do: "calm" });
  await settled();
  expect(await scenario().problems()).toEqual([]);
  expect(await scenario().gaps()).toEqual([]);
});
