import { expect, test } from "vitest";
import type { StoreId } from "../../../shared/cost/stores.ts";
import { estimateAll, estimateScale } from "../../../shared/cost/estimate.ts";
import { costOf, priceOf, readPrices } from "../../../shared/cost/prices.ts";
import type { GivenWorkload } from "../../../shared/cost/workload.ts";
import { completeWorkload } from "../../../shared/cost/workload.ts";

const PRICES = readPrices(undefined);
const PETABYTE: GivenWorkload = { items: 958e9, itemBytes: 900, changesPerSecond: 300_000 };

function estimate(id: StoreId, given: GivenWorkload = PETABYTE) {
  const found = estimateAll(given, PRICES).find((one) => one.id === id);
  if (found === undefined) throw new Error(`no estimate of ${id}`);
  return found;
}

test.each([
  { id: "index", least: 456_000, most: 1_040_000 },
  { id: "bigtable", least: 45_000, most: 64_000 },
  { id: "exports", least: 70_900, most: 314_500 },
  { id: "varve-s3", least: 700, most: 8_000 },
] as const)("a petabyte at 300,000 changes a second, $id: $least to $most", ({ id, least, most }) => {
  const { lowUsd, highUsd } = estimate(id);
  expect(lowUsd).toBeGreaterThanOrEqual(least);
  expect(highUsd).toBeLessThanOrEqual(most);
});

test("the ends of the index and of the exports are the table's own", () => {
  expect(estimate("index").lowUsd / 457_000).toBeCloseTo(1, 2);
  expect(estimate("index").highUsd / 1_040_000).toBeCloseTo(1, 2);
  expect(estimate("exports").lowUsd / 71_000).toBeCloseTo(1, 2);
  expect(estimate("exports").highUsd / 314_000).toBeCloseTo(1, 2);
  expect(estimate("bigtable").lines[0]).toMatchObject({ formula: "36 nodes x 730 h x $0.65" });
});

test("Kinesis and Firehose: about 268,000", () => {
  const { lowUsd, highUsd } = estimate("firehose");
  expect(lowUsd).toBeLessThan(268_000);
  expect(highUsd).toBeGreaterThan(268_000);
  expect(highUsd / lowUsd).toBeLessThan(1.15);
});

test.each([
  { pollMaxSeconds: 1, usd: 52_600 },
  { pollMaxSeconds: 60, usd: 877 },
  { pollMaxSeconds: 300, usd: 175 },
])("100,000 idle shards read every $pollMaxSeconds s cost $usd", ({ pollMaxSeconds, usd }) => {
  const { lines } = estimate("varve-s3", {
    ...PETABYTE,
    changesPerSecond: 1,
    shards: 100_000,
    pollMaxSeconds,
  });
  expect((lines[0]?.highUsd ?? 0) / usd).toBeCloseTo(1, 2);
});

test("what dominates is named, the most of it first", () => {
  expect(estimate("index").dominatedBy.map(({ input }) => input)).toEqual(["changes a second", "items"]);
  const varve = estimate("varve-s3", { ...PETABYTE, shards: 100_000, pollMaxSeconds: 1 });
  expect(varve.dominatedBy[0]?.input).toBe("shards");
  expect(varve.dominatedBy[0]?.rise).toBeGreaterThan(0.8);
});

test("the lines add up, and every one has its formula", () => {
  for (const { lines, lowUsd, highUsd } of estimateAll(PETABYTE, PRICES)) {
    expect(lines.reduce((sum, line) => sum + line.lowUsd, 0)).toBeCloseTo(lowUsd, 6);
    expect(lines.reduce((sum, line) => sum + line.highUsd, 0)).toBeCloseTo(highUsd, 6);
    for (const line of lines) expect(line.formula).not.toBe("");
    for (const line of lines) expect(line.lowUsd).toBeLessThanOrEqual(line.highUsd);
  }
});

test("consumers elsewhere make R2 the cheaper place", () => {
  const remote = { ...PETABYTE, consumers: 12, remoteConsumers: 12 };
  expect(estimate("varve-s3").highUsd).toBeLessThan(estimate("varve-r2").highUsd);
  expect(estimate("varve-s3", remote).highUsd).toBeGreaterThan(estimate("varve-r2", remote).highUsd);
});

test("a price grows with the size, and never falls", () => {
  const points = estimateScale(PETABYTE, PRICES, [1, 10, 100, 1e3, 1e4, 1e5, 1e6]);
  for (const [at, point] of points.entries()) {
    const before = points[at - 1];
    for (const [id, [low, high]] of Object.entries(point.usd)) {
      expect(low).toBeLessThanOrEqual(high);
      if (before !== undefined) expect(high).toBeGreaterThanOrEqual(before.usd[id as StoreId][1]);
    }
  }
});

test("tiers are charged each at its own price", () => {
  const egress = priceOf(PRICES, "aws.egress");
  expect(costOf(egress, 10_000)).toBeCloseTo(900, 6);
  expect(costOf(egress, 60_000)).toBeCloseTo(900 + 40_000 * 0.085 + 10_000 * 0.07, 6);
  expect(costOf(egress, 0)).toBe(0);
});

test("what is not given follows from what is", () => {
  const workload = completeWorkload({ items: 1e6, itemBytes: 900, changesPerSecond: 10 }, PRICES);
  expect(workload).toMatchObject({ shards: 4, flushSeconds: 60, pollMaxSeconds: 30, retentionDays: [7, 30] });
  expect(completeWorkload(PETABYTE, PRICES).shards).toBe(86_220);
});
