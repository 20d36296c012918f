/** Answers that are cut at a megabyte say that more is waiting: the watermark does not rise past it. */
import { expect, test } from "vitest";
import { TABLE, missing, until, useScenario } from "./scenario.ts";

const scenario = useScenario();

test("a backlog of 6,000 records in three ended shards", async () => {
  const { command, shards, tip, rows } = scenario();
  command({ do: "backlog", table: TABLE, shards: 3, records: 6_000 });
  scenario().compactor();
  await until(async () => missing(await tip(), shards()));
  const ids = (await rows()).map(({ key }) => key);
  expect(ids).toHaveLength(6_000);
  expect(new Set(ids).size).toBe(6_000);
});
