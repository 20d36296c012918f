/** The stream is switched off and on again under a new name: its old shards are read first, and the gap is named. */
import { expect, test } from "vitest";
import { TABLE, useScenario } from "./scenario.ts";

const scenario = useScenario();

test("while the compactor runs", async () => {
  const { command, settled, clock } = scenario();
  command({ do: "create", table: TABLE, shards: 2 }, { do: "write", table: TABLE, count: 40 });
  scenario().compactor();
  await settled();
  command({ do: "write", table: TABLE, count: 40 }, { do: "switchOff", table: TABLE });
  await clock.sleep(2_000);
  command({ do: "switchOn", table: TABLE, shards: 3 }, { do: "write", table: TABLE, count: 40 });
  await settled();
  expect(await scenario().gaps()).toMatchObject([{ reason: expect.stringContaining("switched off and on") }]);
  expect(await scenario().problems()).toEqual([]);
});

test("while it is away, twice", async () => {
  const { command, server, settled, shards, clock } = scenario();
  command({ do: "create", table: TABLE, shards: 2 }, { do: "write", table: TABLE, count: 40 });
  const first = scenario().compactor();
  await settled();
  await first.stop();
  for (let time = 0; time < 2; time += 1) {
    command({ do: "write", table: TABLE, count: 40 }, { do: "switchOff", table: TABLE });
    await clock.sleep(200);
    command({ do: "switchOn", table: TABLE, shards: 2 }, { do: "write", table: TABLE, count: 40 });
  }
  command({ do: "pageMax", records: 5 });
  const read: string[] = [];
  server.onCall = ({ operation, shard }) => {
    const { arn, last } = shards().find(({ id }) => id === shard) ?? {};
    if (operation === "GetRecords" && arn !== undefined && last !== null && read.at(-1) !== arn)
      read.push(arn);
  };
  scenario().compactor();
  await settled();
  expect(read).toEqual([...new Set(read)].toSorted());
  expect(await scenario().gaps()).toHaveLength(2);
  expect(await scenario().problems()).toEqual([]);
});
