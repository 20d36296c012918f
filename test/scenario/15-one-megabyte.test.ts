/** Answers that are cut at a megabyte say that more is waiting: the watermark does not rise past it. */
import { expect, test } from "vitest";
import { logStateIn } from "../../shared/snapshot.ts";
import { readCommits } from "../../shared/log.ts";
import { decodeRows } from "../fakes/parquet.ts";
import { TABLE, missing, until, useScenario } from "./scenario.ts";

const scenario = useScenario();

test("a backlog of 6,000 records in three ended shards, some 400 an answer", async () => {
  const { command, disk, server, shards, tip, rows } = scenario();
  command(
    { do: "backlog", table: TABLE, shards: 3, records: 6_000, textBytes: 2_000 },
    // So that there are commits between two answers.
    { do: "fault", operation: "GetRecords", kind: "slow", rate: 1, ms: 80 },
  );
  scenario().compactor();
  await until(async () => missing(await tip(), shards()));
  const ids = (await rows()).map(({ key }) => key);
  expect(ids).toHaveLength(6_000);
  expect(new Set(ids).size).toBe(6_000);
  const madeMs = [...server.tape.shards.values()].flatMap(({ records }) =>
    Array.from({ length: records.count() }, (_, index) => records.at(index).createdMs),
  );
  let [committed, published] = [0, 0];
  for await (const commit of readCommits(disk, -1)) {
    for (const action of commit.actions) {
      const file = "add" in action ? disk.objects.get(action.add.path) : undefined;
      committed += file === undefined ? 0 : decodeRows(file.body).length;
    }
    const { watermarkMs = 0 } = logStateIn(commit) ?? {};
    if (watermarkMs > 0) published += 1;
    expect(madeMs.filter((ms) => ms <= watermarkMs).length).toBeLessThanOrEqual(committed);
  }
  expect(published).toBeGreaterThan(1);
});
