/** A child is not read before its parent's end is in the log, whoever reads it. */
import { expect, test } from "vitest";
import { readCommits } from "../../shared/log.ts";
import { SHARD_DOMAIN, parsePosition } from "../../shared/position.ts";
import type { ObjectStore } from "../../shared/store.ts";
import { TABLE, useScenario } from "./scenario.ts";

const scenario = useScenario();

test("four generations, two workers", async () => {
  const { command, server, clock, disk, shards, settled } = scenario();
  const firstReadMs = new Map<string, number>();
  server.onCall = ({ operation, shard, atMs }) => {
    if (operation === "GetRecords" && shard !== null && !firstReadMs.has(shard)) firstReadMs.set(shard, atMs);
  };
  command({ do: "create", table: TABLE, shards: 2 }, { do: "pageMax", records: 10 });
  for (let generation = 0; generation < 4; generation += 1) {
    command({ do: "write", table: TABLE, count: 60 }, { do: "rotateAll", table: TABLE });
    command({ do: "end", table: TABLE, children: 2 });
  }
  command({ do: "write", table: TABLE, count: 60 });
  scenario().compactor();
  scenario().compactor();
  await clock.sleep(1_000);
  command({ do: "write", table: TABLE, count: 60 }, { do: "end", table: TABLE, children: 2 });
  await settled();
  const doneMs = await endsOf(disk);
  for (const { id, parent } of shards()) {
    if (parent === null) continue;
    expect(firstReadMs.get(id), `${id} before ${parent}`).toBeGreaterThanOrEqual(
      doneMs.get(parent) ?? Infinity,
    );
  }
  expect(await scenario().problems()).toEqual([]);
});

/** When each shard's end was committed. */
async function endsOf(store: ObjectStore): Promise<Map<string, number>> {
  const ends = new Map<string, number>();
  for await (const { actions, info } of readCommits(store, -1)) {
    for (const action of actions) {
      if (!("domainMetadata" in action)) continue;
      const { domain, configuration } = action.domainMetadata;
      if (!domain.startsWith(SHARD_DOMAIN)) continue;
      if (parsePosition(configuration)?.done) ends.set(domain.slice(SHARD_DOMAIN.length), info.timestamp);
    }
  }
  return ends;
}
