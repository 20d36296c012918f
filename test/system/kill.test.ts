/** kill -9 of each part while events come in: what was answered 200 is in the changelog, once. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { eventually } from "../local/system.ts";
import type { PartName, RunningSystem } from "./system.ts";
import { allRows, makeDataDir, pause, post, settle, startSystem, verifySystem } from "./system.ts";

const data = makeDataDir();
let system: RunningSystem;

beforeAll(async () => {
  system = await startSystem(data.dir, ["--flush", "300ms"]);
});
afterAll(async () => {
  await system.stop();
  data.remove();
});

const KILLS: readonly { readonly part: PartName; readonly times: number }[] = [
  { part: "compactor", times: 20 },
  { part: "dynamodb", times: 5 },
  { part: "edge", times: 5 },
  { part: "s3", times: 5 },
];

test.each(KILLS)(
  "kill -9 of the $part, $times times at random moments",
  async ({ part, times }) => {
    const acknowledged = new Set<string>();
    const client = startClient(part, acknowledged);
    for (let kill = 0; kill < times; kill += 1) {
      await pause(100 + Math.random() * 900);
      await system.kill(part);
    }
    await eventually("events are acknowledged again", () => acknowledged.size > 100);
    await client.stop();

    await settle(data.dir);
    const rows = await allRows(data.dir);
    const counts = new Map<string, number>();
    for (const { kind, id } of rows)
      if (kind === "event" && id !== null) counts.set(id, (counts.get(id) ?? 0) + 1);
    expect([...acknowledged].filter((id) => counts.get(id) !== 1)).toEqual([]);
    expect([...counts].filter(([, count]) => count !== 1)).toEqual([]);
    const report = await verifySystem(data.dir);
    expect(report.problems).toEqual([]);
  },
  240_000,
);

/** Posts batches without end, each again until it is answered 200, as an SDK does. */
function startClient(tag: string, acknowledged: Set<string>): { readonly stop: () => Promise<void> } {
  const stopping = new AbortController();
  const work = async (worker: number): Promise<void> => {
    for (let batch = 0; !stopping.signal.aborted; batch += 1) {
      const ids = Array.from({ length: 20 }, (_, index) => `${tag}-${worker}-${batch}-${index}`);
      const body = {
        batch: ids.map((messageId, index) =>
          index === 0
            ? { type: "identify", userId: `user-${worker}`, messageId, traits: { batch, tag } }
            : { type: "track", userId: `user-${worker}`, event: "Tick", messageId },
        ),
      };
      for (let answered = false; !answered;) {
        answered = await post(system.running, "/v1/batch", body).then(
          ({ status }) => status === 200,
          () => false,
        );
        if (!answered) await pause(100);
      }
      for (const id of ids) acknowledged.add(id);
      await pause(20);
    }
  };
  const workers = Promise.all([work(0), work(1)]);
  return {
    stop: async () => {
      stopping.abort();
      await workers;
    },
  };
}
