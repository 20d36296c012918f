/** DescribeStream has ten calls a second for all workers: shards that end in numbers do not each bring a listing. */
import { expect, test } from "vitest";
import { runCompactor } from "../../compactor/compactor.ts";
import { randomOf } from "../fakes/random.ts";
import { memoryStore } from "../fakes/store.ts";
import { fakeStreams } from "../fakes/streams.ts";
import { virtualClock, virtualTime } from "../fakes/clock.ts";
import { T0 } from "../fakes/changes.ts";
import { TABLE, depsOf, missing, until, useScenario } from "./scenario.ts";

const scenario = useScenario(4);

test("a listing of three calls where two a second are allowed", async () => {
  const { command, settled } = scenario();
  command(
    { do: "create", table: TABLE, shards: 220 },
    { do: "limit", operation: "DescribeStream", perSecond: 2 },
    { do: "write", table: TABLE, count: 100 },
  );
  scenario().compactor({ pollMs: [3_000, 6_000] });
  await settled();
  expect(await scenario().problems()).toEqual([]);
  expect(await scenario().gaps()).toEqual([]);
});

test("while no listing succeeds rows are committed, and W stands still", async () => {
  const { command, tip, shards, settled } = scenario();
  command({ do: "create", table: TABLE, shards: 3 }, { do: "write", table: TABLE, count: 50 });
  const { lines } = scenario().compactor();
  await settled();
  command({ do: "fault", operation: "DescribeStream", kind: "internal", rate: 1 });
  await until(() =>
    lines.some(({ what }) => what === "shard discovery failed") ? null : "each listing succeeds",
  );
  const before = await tip();
  command({ do: "write", table: TABLE, count: 50 });
  await until(async () => missing(await tip(), shards()));
  const after = await tip();
  expect(after?.log.changes).toBeGreaterThan(before?.log.changes ?? 0);
  expect(after?.log.discoveredMs).toBe(before?.log.discoveredMs);
  expect(after?.log.watermarkMs).toBeLessThanOrEqual(before?.log.discoveredMs ?? 0);
  command({ do: "calm" });
  await settled();
  expect(lines.filter(({ what }) => what.startsWith("failed"))).toEqual([]);
  expect(await scenario().problems()).toEqual([]);
});

test("of 300 shards one ends every 200 ms", async () => {
  const time = virtualTime(T0);
  const streams = fakeStreams({
    nowMs: time.nowMs,
    random: randomOf(1),
    pageMax: 10,
    listLagMaxMs: 0,
    fault: () => null,
  });
  while (streams.shards.size < 300) streams.end(2);
  let listings = 0;
  const counted = {
    ...streams,
    describe: async () => {
      listings += 1;
      await time.sleep(60);
      return streams.describe();
    },
    getRecords: async (iterator: string) => {
      await time.sleep(20);
      return streams.getRecords(iterator);
    },
  };
  const stop = new AbortController();
  const options = { clock: virtualClock(time), store: memoryStore(time.nowMs), streams: () => counted };
  const ended = runCompactor(depsOf("http://127.0.0.1:1", options, []), stop.signal);
  let [before, done] = [0, false];
  const story = async (): Promise<void> => {
    await time.sleep(20_000);
    before = listings;
    for (let nth = 0; nth < 100; nth += 1) {
      streams.end(1);
      await time.sleep(200);
    }
    done = true;
  };
  void story();
  await time.run(() => done, 120_000);
  // Twenty seconds, and a listing takes four calls by the end.
  expect(listings - before).toBeLessThan(30);
  let stopped = false;
  stop.abort();
  void ended.finally(() => (stopped = true));
  await time.run(() => stopped, 60_000);
});
