import { expect, test } from "vitest";
import type { Bindings } from "../../edge/config.ts";
import { parseConfig } from "../../edge/config.ts";
import { systemClock } from "../../shared/clock.ts";
import { createSourceCache } from "../../edge/sources.ts";

const good = {
  DYNAMODB_ENDPOINT: "http://127.0.0.1:8000",
  DYNAMODB_TABLE: "varve",
  AWS_REGION: "us-east-1",
  AWS_ACCESS_KEY_ID: "a",
  AWS_SECRET_ACCESS_KEY: "b",
};
const parse = (bindings: object) => parseConfig(bindings as Bindings);

test("one region from three variables, or several from REGIONS as text or as a list", () => {
  expect(parse(good).regions).toMatchObject([{ name: "us-east-1", table: "varve" }]);
  const region = {
    name: "eu",
    endpoint: "https://dynamodb.example.com",
    table: "varve",
    awsRegion: "eu-west-1",
  };
  for (const REGIONS of [[region], JSON.stringify([region])]) {
    expect(parse({ ...good, REGIONS }).regions).toMatchObject([{ name: "eu", awsRegion: "eu-west-1" }]);
  }
});

test.each<[string, object, string]>([
  ["no endpoint", { ...good, DYNAMODB_ENDPOINT: undefined }, "DYNAMODB_ENDPOINT must be a URL"],
  ["no secret", { ...good, AWS_SECRET_ACCESS_KEY: undefined }, "wrangler secret put AWS_SECRET_ACCESS_KEY"],
  ["REGIONS that is no JSON", { ...good, REGIONS: "eu" }, "REGIONS is not JSON"],
  ["no region", { ...good, REGIONS: "[]" }, "REGIONS must name a region"],
  [
    "a region without a table",
    { ...good, REGIONS: [{ name: "eu", endpoint: "https://x.example" }] },
    "must name the table",
  ],
  [
    "a region twice",
    { ...good, REGIONS: ["a", "b"].map((table) => ({ name: "eu", endpoint: "https://x.example", table })) },
    "REGIONS must not name a region twice",
  ],
  ["days that are no number", { ...good, DEDUPE_DAYS: "week" }, "DEDUPE_DAYS must be a number of days"],
])("%s is named", (_name, bindings, message) => {
  expect(() => parse(bindings)).toThrow(message);
});

test("a source is read once a minute, an unknown key every five seconds, and KV may go out", async () => {
  const values = new Map([["key:a", '{"id":"web"}']]);
  let reads = 0;
  let up = true;
  const kv = {
    get: async (key: string) => {
      reads += 1;
      if (!up) throw new Error("KV is out");
      return values.get(key) ?? null;
    },
  } as unknown as KVNamespace;
  const cache = createSourceCache();
  const kind = async (key: string, nowMs: number) =>
    (await cache.find(kv, key, { ...systemClock, nowMs: () => nowMs })).kind;
  expect([await kind("a", 0), await kind("a", 59_999), reads]).toEqual(["known", "known", 1]);
  expect([await kind("b", 0), await kind("b", 4_999), reads]).toEqual(["unknown", "unknown", 2]);
  values.set("key:b", '{"id":"later"}');
  expect(await kind("b", 5_000)).toBe("known");
  values.set("key:c", "{");
  expect(await kind("c", 0)).toBe("unreadable");
  up = false;
  expect(await kind("a", 70_000)).toBe("known");
  await expect(kind("d", 0)).rejects.toThrow("KV is out");
});

test("KV that does not answer is as one that is out", async () => {
  const kv = { get: () => new Promise(() => undefined) } as unknown as KVNamespace;
  const clock = { ...systemClock, sleep: () => Promise.resolve() };
  await expect(createSourceCache().find(kv, "a", clock)).rejects.toThrow("no answer");
});
