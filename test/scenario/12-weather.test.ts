/** Everything at once, from a seed: each change is in the log once, and no gap is recorded. */
import { expect, test } from "vitest";
import { randomOf } from "../fakes/random.ts";
import { FAULTS } from "../streams-server/wire.ts";
import { TABLE, openScenario } from "./scenario.ts";

const SEEDS = [1, 2, 3, 4, 5, 6];
/** `trimmed` would be a gap. */
const BAD = FAULTS.filter((kind) => kind !== "trimmed");
const OPERATIONS: Readonly<Partial<Record<(typeof FAULTS)[number], string>>> = {
  partial: "DescribeStream",
  empty: "GetRecords",
  repeated: "GetRecords",
  expired: "GetRecords",
};

test.each(SEEDS)("seed %i", async (seed) => {
  const scenario = await openScenario(seed);
  const { command, clock, settled } = scenario;
  const random = randomOf(seed * 31);
  try {
    command(
      { do: "create", table: TABLE, shards: random.between(1, 6) },
      { do: "pageMax", records: random.between(3, 40) },
      { do: "lag", maxMs: random.pick([0, 2_000, 8_000]) },
    );
    let workers = [scenario.compactor(), scenario.compactor()];
    for (const kind of BAD) {
      const rate = kind === "slow" ? 0.02 : random.pick([0.02, 0.05, 0.1]);
      command({ do: "fault", kind, rate, ms: 200, operation: OPERATIONS[kind] });
    }
    for (let step = 0; step < 16; step += 1) {
      command({ do: "write", table: TABLE, count: random.between(0, 40) });
      if (random.chance(0.3)) command({ do: "end", table: TABLE, children: random.between(1, 3) });
      if (random.chance(0.15)) command({ do: "expireIterators" });
      if (random.chance(0.15)) {
        const [oldest, ...rest] = workers;
        workers = [...rest, scenario.compactor()];
        await oldest?.stop();
      }
      await clock.sleep(random.between(200, 1_000));
    }
    command({ do: "calm" });
    await settled();
    expect(await scenario.problems()).toEqual([]);
    expect(await scenario.gaps()).toEqual([]);
  } finally {
    await scenario.close();
  }
});
