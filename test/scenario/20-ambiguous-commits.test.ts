/**
 * The store does not say whether a commit is in: it timed out and is in, it arrives later, it was never sent, the
 * client sent it twice and was refused by its own entry. In each case it is in once, and nothing is read again.
 */
import { expect, test } from "vitest";
import { LOG_DIR } from "../../shared/keys.ts";
import type { StoreFault } from "../fakes/store.ts";
import { faultyStore } from "../fakes/store.ts";
import { TABLE, useScenario } from "./scenario.ts";

const scenario = useScenario();

const CASES: readonly (readonly [string, StoreFault])[] = [
  ["success after a time-out", { kind: "unanswered" }],
  ["a PUT that arrives later", { kind: "late", afterMs: 300 }],
  ["a PUT that arrives long after", { kind: "late", afterMs: 5_000 }],
  ["a PUT that is lost", { kind: "lost" }],
  ["a 412 for one's own entry", { kind: "resent" }],
];

test.each(CASES)("%s", async (_, fault) => {
  const { command, clock, disk, settled } = scenario();
  let commits = 0;
  const store = faultyStore(disk, {
    sleep: clock.sleep,
    next: (call, key) => {
      if (call !== "put" || !key.startsWith(LOG_DIR)) return null;
      commits += 1;
      return commits > 3 && commits % 3 === 0 ? fault : null;
    },
  });
  command({ do: "create", table: TABLE, shards: 3 });
  const { lines } = scenario().compactor({ store });
  for (let round = 0; round < 6; round += 1) {
    command({ do: "write", table: TABLE, count: 30 });
    if (round % 3 === 2) command({ do: "end", table: TABLE, children: 2 });
    await clock.sleep(700);
  }
  await settled();
  expect(lines.filter(({ what }) => what === "a batch is read again")).toEqual([]);
  expect(await scenario().problems()).toEqual([]);
  expect(await scenario().gaps()).toEqual([]);
});
