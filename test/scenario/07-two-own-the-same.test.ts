/** Two workers that both take every shard for theirs: the commit settles it, and nothing is there twice. */
import { expect, test } from "vitest";
import { WORKERS_DIR } from "../../shared/keys.ts";
import type { ObjectStore } from "../../shared/store.ts";
import { TABLE, until, useScenario } from "./scenario.ts";

const scenario = useScenario();

/** Nobody else is ever seen. */
const alone = (store: ObjectStore): ObjectStore => ({
  ...store,
  list: async function* (prefix, startAfter, signal) {
    if (prefix !== WORKERS_DIR) yield* store.list(prefix, startAfter, signal);
  },
});

test("both read, one commits", async () => {
  const { command, disk, clock, settled } = scenario();
  command({ do: "create", table: TABLE, shards: 4 }, { do: "write", table: TABLE, count: 50 });
  const workers = [0, 1].map(() => scenario().compactor({ store: alone(disk) }));
  const dropped = (): number =>
    workers.flatMap(({ lines }) => lines).filter(({ what }) => what === "a batch is read again").length;
  for (let round = 0; round < 12; round += 1) {
    command({ do: "write", table: TABLE, count: 30 });
    if (round % 4 === 3) command({ do: "end", table: TABLE, children: 2 });
    await clock.sleep(500);
  }
  await settled();
  await until(() => (dropped() > 0 ? null : "no batch was dropped"));
  expect(await scenario().problems()).toEqual([]);
});

test("ownership that changes hands all the time", async () => {
  const { command, clock, settled } = scenario();
  command({ do: "create", table: TABLE, shards: 8 });
  let workers = [scenario().compactor(), scenario().compactor()];
  for (let round = 0; round < 6; round += 1) {
    command({ do: "write", table: TABLE, count: 60 });
    await clock.sleep(1_500);
    const [oldest, ...rest] = workers;
    workers = [...rest, scenario().compactor()];
    await oldest?.stop();
  }
  await settled();
  expect(await scenario().problems()).toEqual([]);
});
