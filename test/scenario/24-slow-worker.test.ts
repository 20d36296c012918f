/**
 * A worker's PUT takes longer than the others leave between their commits: at each version it finds an entry of
 * theirs. It gives its shards up to them, and the changelog goes on.
 */
import { expect, test } from "vitest";
import type { ObjectStore } from "../../shared/store.ts";
import { TABLE, until, useScenario } from "./scenario.ts";

/** Five compactors share this process: time must leave them some. */
const SPEED = 3;
const scenario = useScenario(SPEED);
const PUT_MS = 1_500;
const WRITE_EVERY_MS = 300;
const BEHIND_MS = 30_000;

test("its shards are read by those who keep up", async () => {
  const { command, disk, clock, tip, settled } = scenario();
  const slowly: ObjectStore = {
    ...disk,
    put: async (key, body, condition, signal) => {
      if (condition.kind === "if-absent") await clock.sleep(PUT_MS);
      return disk.put(key, body, condition, signal);
    },
  };
  command({ do: "create", table: TABLE, shards: 24 });
  const swift = Array.from({ length: 4 }, () => scenario().compactor());
  const slow = scenario().compactor({ store: slowly });
  const writing = new AbortController();
  const written = (async () => {
    while (!writing.signal.aborted) {
      command({ do: "write", table: TABLE, count: 20 });
      await clock.sleep(WRITE_EVERY_MS);
    }
  })();
  const said = (what: string): boolean => slow.lines.some((line) => line.what.startsWith(what));
  const lagMs = async (): Promise<number> => clock.nowMs() - ((await tip())?.log.watermarkMs ?? 0);

  await until(() => (said("conflicted") ? null : "it has met no other's entry"));
  await until(() => (said("others commit faster") ? null : "it has not given up"));
  await until(async () => ((await lagMs()) < 5_000 ? null : `the watermark is ${await lagMs()} ms behind`));
  // While it rests the others leave nothing behind.
  let worstMs = 0;
  for (const endMs = clock.nowMs() + BEHIND_MS; clock.nowMs() < endMs; await clock.sleep(500)) {
    worstMs = Math.max(worstMs, await lagMs());
  }
  expect(worstMs).toBeLessThan(BEHIND_MS / 2);
  writing.abort();
  await written;
  await settled();
  expect(swift.every(({ lines }) => lines.some(({ what }) => what === "committed"))).toBe(true);
  expect(await scenario().problems()).toEqual([]);
});
