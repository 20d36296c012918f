/** A shard that only throttles or fails holds back the watermark, and nothing else. */
import { expect, test } from "vitest";
import { TABLE, missing, until, useScenario } from "./scenario.ts";

const scenario = useScenario();

test.each(["throttled", "limited", "internal", "garbled", "dropped"] as const)("%s", async (kind) => {
  const { command, clock, settled, shards, tip } = scenario();
  command({ do: "create", table: TABLE, shards: 4 }, { do: "write", table: TABLE, count: 40 });
  const shard = shards()[2]?.id ?? "";
  command({ do: "fault", shard, kind, rate: 1 });
  const { lines } = scenario().compactor();
  for (let round = 0; round < 4; round += 1) {
    command({ do: "write", table: TABLE, count: 20 });
    await clock.sleep(4_000);
    await until(async () =>
      missing(
        await tip(),
        shards().filter(({ id }) => id !== shard),
      ),
    );
  }
  const standing = await tip();
  expect(standing?.shards.get(shard)?.seq).toBeNull();
  expect(standing?.log.watermarkMs).toBeLessThanOrEqual(standing?.shards.get(shard)?.at ?? 0);
  command({ do: "calm" });
  await settled();
  expect(lines.length).toBeLessThan(200);
  expect(await scenario().problems()).toEqual([]);
  expect(await scenario().gaps()).toEqual([]);
});
