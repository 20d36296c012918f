/** Two tables on one endpoint, each with a changelog of its own: neither sees the other's shards. */
import { expect, test } from "vitest";
import { loadSnapshot } from "../../shared/log.ts";
import { memoryStore } from "../fakes/store.ts";
import { checkLog } from "../sim/truth.ts";
import { TABLE, missing, until, useScenario } from "./scenario.ts";

const scenario = useScenario();

test("both are complete, and apart", async () => {
  const { command, server, shards, tip } = scenario();
  const other = memoryStore(scenario().clock.nowMs);
  command({ do: "create", table: TABLE, shards: 3 }, { do: "create", table: "others", shards: 2 });
  for (let round = 0; round < 3; round += 1) {
    for (const table of [TABLE, "others"]) {
      command({ do: "write", table, count: 40 }, { do: "end", table, children: 2 });
    }
  }
  scenario().compactor();
  scenario().compactor({ table: "others", store: other });
  const shardsOf = (table: string) => shards().filter(({ arn }) => arn.includes(`table/${table}/`));
  await until(async () => missing(await tip(), shardsOf(TABLE)));
  await until(async () => missing(await loadSnapshot(other), shardsOf("others")));
  expect((await tip())?.shards.size).toBe(shardsOf(TABLE).length);
  expect((await loadSnapshot(other))?.shards.size).toBe(shardsOf("others").length);
  expect(await scenario().problems()).toEqual([]);
  expect(await checkLog(other, server.truthOf("others"))).toEqual([]);
});
