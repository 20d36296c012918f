import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { openOptions } from "../../../cli/command.ts";
import { costCommand, needed } from "../../../cli/cost.ts";
import { rangeText, spreadLabels } from "../../../cli/cost/plot.ts";
import { givenWorkload } from "../../../cli/commands/cost.ts";
import { countCommit, NO_FIGURES } from "../../../shared/cost/figures.ts";
import ownPrices from "../../../shared/cost/prices.json" with { type: "json" };
import type { Commit } from "../../../shared/delta.ts";

const dir = mkdtempSync(join(tmpdir(), "varve-cost-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function lines() {
  const out: string[] = [];
  return {
    out,
    output: {
      line: (text: string) => {
        out.push(text);
        return Promise.resolve();
      },
      note: () => undefined,
      progress: () => undefined,
    },
  };
}

const GIVEN = { items: 1e8, itemBytes: 900, changesPerSecond: 500 };

test("text for people, JSON for programs, SVG for a page", async () => {
  const plot = join(dir, "cost.svg");
  const people = lines();
  await costCommand({ given: GIVEN, json: false, plot }, people.output);
  const shown = people.out.join("\n");
  expect(shown).toMatch(/Prices of \d{4}-\d\d-\d\d, USD a month/);
  expect(shown).toContain("100M items x 208 B x $0.25/GB");
  expect(shown).toContain("dominated by");
  const svg = readFileSync(plot, "utf8");
  expect(svg).toMatch(/^<svg [^]*<\/svg>\n$/);
  expect(svg).not.toMatch(/NaN|undefined|Infinity/);
  const programs = lines();
  await costCommand({ given: GIVEN, json: true }, programs.output);
  expect(JSON.parse(programs.out.join(""))).toMatchObject({ workload: GIVEN, currency: "USD" });
});

test("a price list of one's own may hold only what differs", async () => {
  const path = join(dir, "mine.json");
  const { prices: _prices, assumptions: _assumptions, ...head } = ownPrices;
  const storage = { "s3.storage": { price: 100, per: "GB-month" } };
  writeFileSync(path, JSON.stringify({ ...head, asOf: "2030-01-01", prices: storage, assumptions: {} }));
  const { out, output } = lines();
  await costCommand({ given: GIVEN, json: false, prices: path }, output);
  expect(out.join("\n")).toContain("Prices of 2030-01-01");
  expect(out.join("\n")).toContain("x $100/GB");
});

test.each([
  { text: "{", says: "not usable" },
  { text: '{"asOf":"soon"}', says: "asOf" },
])("a price list that is not one is named: $text", async ({ text, says }) => {
  const path = join(dir, "bad.json");
  writeFileSync(path, text);
  await expect(costCommand({ given: GIVEN, json: true, prices: path }, lines().output)).rejects.toThrow(says);
});

test("too few numbers are named; given ones stand above measured ones", () => {
  expect(() => needed({ items: 1 }, undefined)).toThrow("--item-bytes, --changes-per-second are needed");
  const measured = {
    figures: NO_FIGURES,
    items: 10,
    itemBytes: 20,
    changesPerSecond: 30,
    storedRowBytes: 40,
    flushSeconds: 50,
    shards: 60,
  };
  expect(needed({ items: 7 }, measured)).toMatchObject({
    items: 7,
    itemBytes: 20,
    shards: 60,
    flushSeconds: 50,
  });
});

const add = (size: number, dataChange: boolean, changes: string) => ({
  add: {
    path: `data/${size}`,
    partitionValues: {},
    size,
    modificationTime: 0,
    dataChange,
    tags: { changes },
  },
});

const commit = (version: number, ms: number, rows: string, actions: Commit["actions"]): Commit => ({
  version,
  info: {
    inCommitTimestamp: ms,
    timestamp: ms,
    operation: "WRITE",
    txnId: "",
    operationMetrics: { numOutputRows: rows },
  },
  actions,
});

test("commits are counted by their metrics and files; merged files are not new rows", () => {
  const figures = [
    commit(1, 1000, "5", [add(100, true, "6")]),
    commit(2, 2000, "0", []),
    commit(3, 4000, "5", [add(70, false, "6")]),
    commit(4, 5000, "1", [add(30, true, "1")]),
  ].reduce(countCommit, NO_FIGURES);
  expect(figures).toEqual({
    fromMs: 1000,
    toMs: 5000,
    commits: 4,
    flushes: 2,
    files: 2,
    rows: 6,
    changes: 7,
    bytes: 130,
    mergedFiles: 1,
    mergedBytes: 70,
  });
});

test("labels keep their order and never overlap", () => {
  const placed = spreadLabels([10, 12, 300, 301, 302], 20, 0, 320);
  expect(placed.every((y, at) => at === 0 || y - (placed[at - 1] ?? 0) >= 20)).toBe(true);
  expect(placed.at(-1)).toBeLessThanOrEqual(320);
});

test("ranges are short", () => {
  expect(rangeText(456_530, 1_035_316)).toBe("$457k-1.04M");
  expect(rangeText(5, 5)).toBe("$5");
});

const typed = (options: Readonly<Record<string, string>>) => givenWorkload(openOptions(options));

test("options in the words of people", () => {
  expect(
    typed({
      items: "958e9",
      "item-bytes": "0.9k",
      "retention-days": "7-30",
      flush: "5m",
      "flush-bytes": "64MB",
    }),
  ).toMatchObject({
    items: 958e9,
    itemBytes: 900,
    retentionDays: [7, 30],
    flushSeconds: 300,
    flushBytes: 64e6,
  });
  expect(typed({ "retention-days": "14" }).retentionDays).toEqual([14, 14]);
});

test.each([{ items: "many" }, { items: "0" }, { flush: "soon" }, { "retention-days": "-" }])(
  "%o is refused",
  (options) => {
    expect(() => typed(options)).toThrow(Object.keys(options)[0] ?? "");
  },
);
