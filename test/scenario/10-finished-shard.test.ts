/** A shard that was read to its end is never read again, however long it stays listed and whoever starts. */
import { expect, test } from "vitest";
import { TABLE, until, useScenario } from "./scenario.ts";

const scenario = useScenario();
const DAY_MS = 86_400_000;

test("restarts, and days later", async () => {
  const { command, server, settled, shards, clock, rows } = scenario();
  command({ do: "create", table: TABLE, shards: 2 }, { do: "write", table: TABLE, count: 40 });
  const first = scenario().compactor();
  await settled();
  command({ do: "rotateAll", table: TABLE }, { do: "write", table: TABLE, count: 40 });
  await settled();
  await first.stop();
  const finished = shards().filter(({ closed }) => closed);
  const read = new Set<string>();
  server.onCall = ({ operation, shard }) => {
    if (operation === "GetRecords" && shard !== null) read.add(shard);
  };
  const before = (await rows()).length;
  const second = scenario().compactor();
  await settled();
  await second.stop();
  clock.skip(3 * DAY_MS);
  scenario().compactor();
  await settled();
  for (const { id } of finished) expect(read).not.toContain(id);
  expect((await rows()).length).toBe(before);
  expect(await scenario().problems()).toEqual([]);
});

test("once they are listed no more they are forgotten two generations on, and stay forgotten", async () => {
  const { command, settled, shards, clock } = scenario();
  command({ do: "create", table: TABLE, shards: 1 }, { do: "write", table: TABLE, count: 10 });
  scenario().compactor();
  for (let generation = 0; generation < 2; generation += 1) {
    command({ do: "rotateAll", table: TABLE }, { do: "write", table: TABLE, count: 10 });
    await settled();
  }
  const [oldest] = shards();
  clock.skip(3 * DAY_MS);
  command({ do: "drop", shard: oldest?.id ?? "" }, { do: "write", table: TABLE, count: 10 });
  await clock.sleep(5_000);
  const snapshot = await settled();
  expect(snapshot.shards.has(oldest?.id ?? "")).toBe(false);
  expect(await scenario().problems()).toEqual([]);
});

test("not while one that follows it is unread, though it is listed no more: it could be listed again", async () => {
  const { command, settled, shards, clock, tip } = scenario();
  command({ do: "create", table: TABLE, shards: 1 }, { do: "write", table: TABLE, count: 10 });
  const hidden = new Set<string>();
  scenario().compactor({
    streams: (streams) => ({
      ...streams,
      describe: async (signal) => (await streams.describe(signal)).filter(({ id }) => !hidden.has(id)),
    }),
  });
  await settled();
  command({ do: "rotateAll", table: TABLE });
  const [parent = "", child = ""] = shards().map(({ id }) => id);
  command(
    { do: "fault", operation: "GetRecords", shard: child, kind: "throttled", rate: 1 },
    { do: "write", table: TABLE, count: 10 },
  );
  await until(async () => ((await tip())?.shards.get(parent)?.done ? null : "the parent is not done"));
  hidden.add(parent);
  clock.skip(3 * DAY_MS);
  await clock.sleep(5_000);
  expect((await tip())?.shards.has(parent)).toBe(true);
  hidden.clear();
  command({ do: "calm" });
  await settled();
  expect(await scenario().problems()).toEqual([]);
});
