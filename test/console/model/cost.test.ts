import { describe, expect, test } from "vitest";
import { sumFigures } from "../../../console/model/commits.ts";
import { costNow, storageAt } from "../../../console/model/cost.ts";
import { readPrices } from "../../../shared/cost/prices.ts";
import { T0 } from "./made.ts";

describe("the cost", () => {
  const input = {
    prices: readPrices(undefined),
    storage: "s3" as const,
    figures: sumFigures([]),
    storedBytes: 2e9,
    rowsLive: 10,
    shardsOpen: 4,
    itemBytes: null,
    reading: undefined,
    startedMs: T0,
  };

  test("without a rate there is no month", () => {
    expect(costNow(input)).toMatchObject({ month: null, calls: null, callsUsd: null, storedUsdMonth: 0.046 });
  });

  test("a month is what the formulas of `varve cost` say of the log's own numbers", () => {
    const figures = {
      ...sumFigures([]),
      fromMs: T0,
      toMs: T0 + 3_600_000,
      commits: 61,
      changes: 360_000,
      bytes: 36e6,
    };
    const { month } = costNow({ ...input, figures });
    expect(month).toMatchObject({ name: "Varve on S3", changesPerSecond: 100, spanMs: 3_600_000 });
    expect(month?.lowUsd).toBeGreaterThan(9);
    expect(month?.lines.reduce((sum, { highUsd }) => sum + highUsd, 0)).toBeCloseTo(month?.highUsd ?? 0);
    expect(month?.lines.find(({ what }) => what === "GetRecords")?.formula).toContain("4 shards");
    expect(costNow({ ...input, figures, storage: "r2" }).month?.name).toBe("Varve on R2");
  });

  test.each([
    [undefined, "s3"],
    ["http://127.0.0.1:9000/r2", "s3"],
    ["https://acc.r2.cloudflarestorage.com", "r2"],
    ["https://acc.eu.r2.cloudflarestorage.com/", "r2"],
  ])("at %j the prices are those of %s", (endpoint, storage) => {
    expect(storageAt(endpoint)).toBe(storage);
  });

  test("so far is the sum of the calls", () => {
    const calls = [
      { call: "a", times: 1, usd: 0.25, monthUsd: 1 },
      { call: "b", times: 1, usd: 0.5, monthUsd: 1 },
    ];
    const reading = { atMs: T0, errors: 0, workers: 1, bufferedBytes: 0, calls };
    expect(costNow({ ...input, reading })).toMatchObject({ callsUsd: 0.75, callsSinceMs: T0, calls });
  });
});
