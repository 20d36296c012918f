import { describe, expect, test } from "vitest";
import { compilePlan, planFault } from "../../edge/plan.ts";
import type { Finding } from "../../edge/plan.ts";
import type { TrackingPlan } from "../../edge/sources.ts";
import type { NormalEvent } from "../../shared/event.ts";
import { parseJson } from "../../shared/json.ts";
import type { JsonObject } from "../../shared/json.ts";

const planOf = (schema: unknown): TrackingPlan => ({
  onViolation: "reject",
  unplanned: "allow",
  events: { Paid: schema as JsonObject },
});

function find(schema: unknown, properties: string): Finding {
  const event: NormalEvent = {
    type: "track",
    collection: "tracks",
    messageId: "m",
    userId: "u",
    anonymousId: null,
    name: "Paid",
    eventAtMs: 1,
    flags: [],
    record: { properties: parseJson(properties) },
  };
  return compilePlan(planOf(schema))(event);
}

const amount = (schema: object): object => ({ properties: { amount: schema } });
const DRAFT_4 = { $schema: "http://json-schema.org/draft-04/schema#" };
const DRAFT_7 = { $schema: "http://json-schema.org/draft-07/schema#" };
const NEWEST = { $schema: "https://json-schema.org/draft/2020-12/schema" };
const itself = (keywords: object): object => ({ $defs: { node: keywords }, $ref: "#/$defs/node" });
const nested = itself({ items: { $ref: "#/$defs/node" }, additionalProperties: { $ref: "#/$defs/node" } });

describe("an event is held to its schema", () => {
  test.each<[string, object, string, Finding["kind"]]>([
    ["a number of many digits is a number", amount({ type: "number" }), "12345678901234567890", "kept"],
    ["as PHP writes it", amount({ type: "number", maximum: 10 }), "9.9900000000000002", "kept"],
    ["and one that is too great", amount({ maximum: 10 }), "12345678901234567890", "broken"],
    ["an integer", amount({ type: "integer" }), "12345678901234567890", "kept"],
    ["draft 4", { ...DRAFT_4, ...amount({ minimum: 0, exclusiveMinimum: true }) }, "1", "kept"],
    [
      "draft 4, at the edge",
      { ...DRAFT_4, ...amount({ minimum: 0, exclusiveMinimum: true }) },
      "0",
      "broken",
    ],
    [
      "draft 7, where what stands beside a $ref does not count",
      { ...DRAFT_7, definitions: { n: {} }, ...amount({ $ref: "#/definitions/n", minimum: 5 }) },
      "1",
      "kept",
    ],
    [
      "the newest, where it does",
      { ...NEWEST, $defs: { n: {} }, ...amount({ $ref: "#/$defs/n", minimum: 5 }) },
      "1",
      "broken",
    ],
  ])("%s", (_, schema, value, kind) => {
    expect(find(schema, `{"amount":${value}}`).kind).toBe(kind);
  });

  test.each([
    ["deeper than an event may be", `${"[".repeat(20_000)}${"]".repeat(20_000)}`],
    ["larger than an event may be", `["${"x".repeat(40_000)}",1,1]`],
  ])("but not one that is %s, which is refused all the same", (_, value) => {
    expect(find(nested, `{"amount":${value}}`)).toEqual({ kind: "kept" });
    expect(find(amount({ uniqueItems: true }), `{"amount":${value}}`)).toEqual({ kind: "kept" });
  });

  test("what is told of it is short, however long its names are", () => {
    const finding = find({ additionalProperties: false }, `{"${"x".repeat(20_000)}":1}`);
    expect(JSON.stringify(finding).length).toBeLessThan(1_000);
  });
});

const UNUSABLE: readonly (readonly [string, unknown])[] = [
  ["a $ref to nowhere", amount({ $ref: "#/definitions/missing" })],
  ["a $ref to another document", amount({ $ref: "https://schemas.example/money.json" })],
  ["a pattern that is none", amount({ pattern: "([" })],
  ["a pattern that the u flag does not take", amount({ pattern: "^[\\w-_]+$" })],
  ["a name's pattern that is none", amount({ patternProperties: { "(": true } })],
  ["null for a schema", { properties: { amount: null } }],
  ["a schema inside of dependencies", { dependencies: { amount: { properties: { amount: null } } } }],
];

describe("a schema that cannot be used", () => {
  test.each(UNUSABLE)("%s", (_, schema) => {
    expect(planFault(planOf(schema))).toMatch(/^Paid: /);
  });

  test.each(UNUSABLE)("costs no event: %s", (_, schema) => {
    expect(["kept", "unusable"]).toContain(find(schema, '{"amount":"1"}').kind);
  });

  test("is said of the event", () => {
    expect(find(amount({ pattern: "([" }), '{"amount":"1"}')).toMatchObject({
      kind: "unusable",
      reason: expect.stringContaining("Paid cannot be used"),
    });
  });

  test("one that refers to itself without end is found with the event", () => {
    expect(find({ $ref: "#" }, "{}")).toMatchObject({ kind: "unusable" });
  });
});

test.each([
  ["true", true],
  [
    "a $ref to a definition, an id, an anchor",
    {
      $id: "https://schemas.example/paid",
      $defs: { one: { $anchor: "one", type: "number" } },
      properties: {
        a: { $ref: "#/$defs/one" },
        b: { $ref: "#one" },
        c: { $ref: "https://schemas.example/paid#/$defs/one" },
        pattern: { pattern: "^a+$" },
      },
      required: ["a"],
      enum: [null],
      dependencies: { a: ["b"] },
    },
  ],
])("a plan that can be used: %s", (_, schema) => {
  expect(planFault(planOf(schema))).toBeNull();
});
