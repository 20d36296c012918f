import { describe, expect, test } from "vitest";
import { compileSource } from "../../edge/rules.ts";
import { SOURCE } from "../../edge/sources.ts";
import { normaliseEvent } from "../../shared/event.ts";
import type { NormalEvent } from "../../shared/event.ts";
import { parseJson } from "../../shared/json.ts";

const ENVELOPE = {
  context: null,
  integrations: null,
  sentAt: undefined,
  sentAtMs: null,
  originalTimestamp: undefined,
};
const RECEIPT = {
  receivedAtMs: 1,
  receivedAt: new Date(1).toISOString(),
  skewMaxMs: 1,
  newId: () => "id",
  dirty: false,
};
const CLIENT = { ip: "9.9.9.9", userAgent: null };

function event(sent: object): NormalEvent {
  const result = normaliseEvent(
    { type: "track", event: "Paid", userId: "u", ...sent },
    null,
    ENVELOPE,
    RECEIPT,
  );
  if (result.kind === "rejected") throw new Error(result.reason.message);
  return result.event;
}

const judge = (source: object, sent: object) => {
  const subject = event(sent);
  const verdict = compileSource(SOURCE.parse({ id: "web", ...source }))(CLIENT)(subject);
  return { verdict, context: subject.record["context"] as Record<string, unknown> };
};

describe("the client's IP", () => {
  test.each<[string, object, object, string | undefined]>([
    ["kept as sent", {}, { ip: "1.1.1.1" }, "1.1.1.1"],
    ["not filled unless asked", {}, {}, undefined],
    ["filled in", { ip: "fill" }, {}, "9.9.9.9"],
    ["not overwritten", { ip: "fill" }, { ip: "1.1.1.1" }, "1.1.1.1"],
    ["filled in for context.direct", {}, { direct: true }, "9.9.9.9"],
    ["removed", { ip: "remove" }, { ip: "1.1.1.1" }, undefined],
    ["removed for context.direct too", { ip: "remove" }, { direct: true }, undefined],
  ])("%s", (_name, source, context, ip) => {
    expect(judge(source, { context }).context["ip"]).toBe(ip);
  });

  test("does not touch a context that other events share", () => {
    const shared = { page: {} };
    judge({ ip: "fill" }, { context: shared });
    expect(shared).toEqual({ page: {} });
  });
});

test.each([
  ["Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", ["bot"]],
  ["Mozilla/5.0 (X11; Linux) HeadlessChrome/142", ["bot"]],
  ["Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X)", []],
  ["Mozilla/5.0 (Linux; Android 9; CUBOT_X18)", []],
])("%s is flagged %j", (userAgent, flags) => {
  expect(judge({}, { context: { userAgent } }).verdict).toMatchObject({ kind: "accepted", flags });
});

describe("a tracking plan", () => {
  const schema = {
    type: "object",
    required: ["total"],
    properties: { total: { type: "number", minimum: 0 } },
  };
  const plan = { events: { Paid: schema } };

  test("passes what keeps to it", () => {
    expect(judge({ plan }, { properties: { total: 5 } }).verdict).toMatchObject({
      flags: [],
      violations: [],
    });
  });

  test("marks what breaks it, with the reason", () => {
    const { verdict } = judge({ plan }, { properties: { total: "5" } });
    expect(verdict).toMatchObject({ kind: "accepted", flags: ["plan_violation"] });
    expect(JSON.stringify(verdict)).toContain("#/total");
  });

  test.each(["12345678901234567890", "1e400", "0.12345678901234567890"])("sees a number in %s", (number) => {
    const properties = parseJson(`{"total":${number}}`);
    expect(judge({ plan }, { properties }).verdict).toMatchObject({ violations: [] });
  });

  test("that refers to itself bears any depth", () => {
    const tree = { properties: { a: { $ref: "#" } } };
    const deep = JSON.parse(`${'{"a":'.repeat(50_000)}1${"}".repeat(50_000)}`) as object;
    expect(() => judge({ plan: { events: { Paid: tree } } }, { properties: deep })).not.toThrow();
  });

  test("rejects when the source says so", () => {
    const { verdict } = judge({ plan: { ...plan, onViolation: "reject" } }, { properties: {} });
    expect(verdict).toMatchObject({ kind: "rejected", reason: { code: "plan_violation" } });
  });

  test("an event that is not in the plan", () => {
    const other = { event: "Other" };
    expect(judge({ plan }, other).verdict).toMatchObject({ violations: [] });
    const verdict = judge({ plan: { ...plan, unplanned: "violation" } }, other).verdict;
    expect(verdict).toMatchObject({ flags: ["plan_violation"] });
  });

  test("a schema that cannot be used is flagged, and refuses nothing", () => {
    const broken = { onViolation: "reject", events: { Paid: { properties: { total: { pattern: "(" } } } } };
    expect(judge({ plan: broken }, { properties: { total: "5" } }).verdict).toMatchObject({
      kind: "accepted",
      flags: ["plan_unusable"],
      violations: [expect.stringContaining("Paid cannot be used")],
    });
  });

  test("traits that are in the context", () => {
    const traits = { plan: { events: { identify: { required: ["email"] } } } };
    const sent = { type: "identify", context: { traits: { email: "a@b.example" } } };
    expect(judge(traits, sent).verdict).toMatchObject({ flags: [] });
  });

  test("traits by type", () => {
    const traits = { plan: { events: { identify: { required: ["email"] } } } };
    expect(judge(traits, { type: "identify", traits: {} }).verdict).toMatchObject({
      flags: ["plan_violation"],
    });
  });
});
