import { describe, expect, test } from "vitest";
import { ingest } from "../../edge/ingest.ts";
import type { Call, IngestContext, Ingested } from "../../edge/ingest.ts";
import type { EventType } from "../../shared/event.ts";
import { parseJson } from "../../shared/json.ts";

const RECEIVED = "2026-11-23T12:00:00.000Z";
const context: IngestContext = {
  receivedAtMs: Date.parse(RECEIVED),
  receivedAt: RECEIVED,
  skewMaxMs: 60_000,
  newId: () => "generated",
  dirty: true,
  rules: () => ({ kind: "accepted", flags: [], violations: [] }),
};

function ingested(call: Call, body: unknown): Ingested {
  const result = ingest(call, body, context);
  if (result.kind !== "ingested") throw new Error(result.message);
  return result;
}

const bodyOf = (result: Ingested, at = 0): Record<string, unknown> =>
  JSON.parse(result.events[at]?.body ?? "null") as Record<string, unknown>;

const one = (type: EventType, event: object) => ingested({ kind: "single", type }, event);
const batch = (body: unknown) => ingested({ kind: "batch" }, body);
const set = (body: object) => ingest({ kind: "set" }, body, context);
const codeOf = (result: Ingested) => result.rejected[0]?.code;

describe("one event", () => {
  test("comes out in the common schema", () => {
    const sent = {
      event: "Paid",
      userId: 7,
      timestamp: "2026-11-23T11:59:59.123456Z",
      sentAt: RECEIVED,
      writeKey: "secret",
      varve: { flags: ["forged"] },
      channel: "server",
    };
    expect(bodyOf(one("track", sent))).toEqual({
      type: "track",
      event: "Paid",
      userId: "7",
      messageId: "generated",
      context: {},
      integrations: {},
      channel: "server",
      originalTimestamp: "2026-11-23T11:59:59.123456Z",
      sentAt: RECEIVED,
      receivedAt: RECEIVED,
      timestamp: "2026-11-23T11:59:59.123Z",
    });
  });

  test.each<[string, EventType, object, string | undefined]>([
    ["anonymous", "track", { event: "e", anonymousId: "a" }, undefined],
    ["no ids", "track", { event: "e" }, "missing_id"],
    ["empty ids", "track", { event: "e", userId: "", anonymousId: null }, "missing_id"],
    ["a boolean id", "track", { event: "e", userId: true }, "bad_id"],
    ["an id with a NUL", "track", { event: "e", userId: "a\u0000" }, "bad_id"],
    [
      "half a surrogate pair in messageId",
      "track",
      { event: "e", userId: "a", messageId: "\ud800" },
      "bad_id",
    ],
    ["no event name", "track", { userId: "u" }, "missing_event"],
    ["an empty event name", "track", { userId: "u", event: "" }, "missing_event"],
    ["an event name that is a number", "track", { userId: "u", event: 5 }, "missing_event"],
    ["messageId of 100", "track", { userId: "u", event: "e", messageId: "x".repeat(100) }, undefined],
    ["messageId of 101", "track", { userId: "u", event: "e", messageId: "x".repeat(101) }, "bad_message_id"],
    ["PHP's empty object", "track", { userId: "u", event: "e", properties: [] }, undefined],
    ["properties that are a list", "track", { userId: "u", event: "e", properties: [1] }, "bad_field"],
    ["properties that are text", "track", { userId: "u", event: "e", properties: "x" }, "bad_field"],
    ["null properties", "track", { userId: "u", event: "e", properties: null }, undefined],
    ["identify", "identify", { userId: "u" }, undefined],
    ["page without a name", "page", { anonymousId: "a", name: null }, undefined],
    ["screen with a list for a name", "screen", { anonymousId: "a", name: [] }, "bad_field"],
    ["group", "group", { userId: "u", groupId: "g" }, undefined],
    ["group without groupId", "group", { userId: "u" }, "missing_group_id"],
    ["alias", "alias", { userId: "u", previousId: "p" }, undefined],
    ["alias of one id", "alias", { userId: "u" }, "missing_id"],
    ["an absurd time", "track", { userId: "u", event: "e", timestamp: "soon" }, undefined],
  ])("%s", (_name, type, event, code) => {
    expect(codeOf(one(type, event))).toBe(code);
  });

  test.each([
    ["userId", "bad_id"],
    ["messageId", "bad_message_id"],
    ["event", "missing_event"],
  ])("an object with a length that no double holds is no %s", (name, code) => {
    const sent = parseJson(`{"event":"e","userId":"u","${name}":{"length":1e400}}`) as object;
    expect(codeOf(one("track", sent))).toBe(code);
  });

  test.each<[string, EventType, object]>([
    ["messageId", "track", { event: "e", messageId: "x".repeat(101) }],
    ["userId", "track", { event: "e", userId: "x".repeat(501) }],
    ["anonymousId", "track", { event: "e", anonymousId: true }],
    ["previousId", "alias", { previousId: "x".repeat(501) }],
    ["groupId", "group", { groupId: "" }],
    ["groupId", "group", { groupId: "x".repeat(501) }],
    ["event", "track", { event: 5 }],
    ["event", "track", { event: "" }],
    ["properties", "track", { event: "e", properties: "x" }],
    ["name", "page", { name: 5 }],
    ["category", "screen", { category: [] }],
    ["traits", "identify", { traits: 5 }],
  ])("what is refused is called by its name: %s", (field, type, sent) => {
    const [rejection] = one(type, { userId: "u", ...sent }).rejected;
    expect(rejection?.message).toMatch(new RegExp(`^${field} must `));
  });

  test("an absurd time is kept as sent and flagged", () => {
    const body = bodyOf(one("track", { userId: "u", event: "e", timestamp: "soon" }));
    expect(body).toMatchObject({
      originalTimestamp: "soon",
      timestamp: RECEIVED,
      varve: { flags: ["timestamp_unreadable"] },
    });
  });

  test("prototype keys go, and NUL becomes U+FFFD", () => {
    const sent = JSON.parse(
      '{"event":"e","userId":"u","properties":{"__proto__":{"x":1},"a":"b\\u0000"}}',
    ) as object;
    expect(bodyOf(one("track", sent))["properties"]).toEqual({ a: "b\uFFFD" });
    const name = one("track", { event: "a\u0000\ud800", userId: "u" }).events[0]?.event.name;
    expect(name).toBe("a\uFFFD\uFFFD");
  });
});

describe("a batch", () => {
  const event = { type: "track", event: "e", userId: "u" };

  test("merges the envelope under each event", () => {
    const result = batch({
      context: { library: "go", ip: "1.1.1.1" },
      integrations: { All: true },
      sentAt: RECEIVED,
      batch: [
        { ...event, context: { ip: "2.2.2.2" } },
        { ...event, messageId: "m" },
      ],
    });
    expect(bodyOf(result, 0)).toMatchObject({
      context: { library: "go", ip: "2.2.2.2" },
      integrations: { All: true },
      sentAt: RECEIVED,
    });
    expect(bodyOf(result, 1)).toMatchObject({ context: { library: "go", ip: "1.1.1.1" } });
  });

  test("rejects one by one", () => {
    const result = batch({ batch: [event, null, { ...event, type: "nope" }, { event: "e" }, "x"] });
    expect(result.events).toHaveLength(1);
    expect(result.rejected.map(({ index, code }) => [index, code])).toEqual([
      [1, "not_an_object"],
      [2, "unknown_type"],
      [3, "missing_type"],
      [4, "not_an_object"],
    ]);
  });

  test("what is rejected is kept clean", () => {
    const { rejected } = batch({ batch: ["a\u0000\ud800", { type: "track", event: "a\u0000" }] });
    expect(rejected.map(({ event: kept }) => kept)).toEqual([
      "a\uFFFD\uFFFD",
      { type: "track", event: "a\uFFFD" },
    ]);
  });

  test("of two events with one messageId the first stands", () => {
    const result = batch({
      batch: [
        { ...event, messageId: "m", n: 1 },
        { ...event, messageId: "m", n: 2 },
      ],
    });
    expect(result.events).toHaveLength(1);
    expect(bodyOf(result)).toMatchObject({ n: 1 });
    expect(result.rejected).toEqual([]);
  });

  test("2,501 events are too many", () => {
    const body = { batch: Array.from({ length: 2501 }, () => event) };
    expect(ingest({ kind: "batch" }, body, context)).toMatchObject({
      kind: "refused",
      code: "too_many_events",
    });
  });

  test("a context that would swell each event is refused", () => {
    let id = 0;
    const body = {
      context: { blob: "x".repeat(30_000) },
      batch: Array.from({ length: 500 }, () => ({ ...event, messageId: String(id++) })),
    };
    expect(ingest({ kind: "batch" }, body, context)).toMatchObject({
      status: 400,
      code: "context_too_large",
    });
  });

  test("identify and group make objects", () => {
    const result = batch({
      batch: [
        { type: "identify", userId: "u", traits: { a: 1 }, messageId: "1" },
        { type: "identify", anonymousId: "a", traits: { a: 1 }, messageId: "2" },
        { type: "group", userId: "u", groupId: 5, messageId: "3" },
        { type: "identify", userId: "v", context: { traits: { b: 2 } }, messageId: "4" },
        { type: "group", userId: "v", groupId: "g", context: { traits: { b: 2 } }, messageId: "5" },
      ],
    });
    expect(result.objects).toMatchObject([
      { collection: "users", id: "u", properties: { a: 1 }, index: 0 },
      { collection: "accounts", id: "5", properties: {}, index: 2 },
      { collection: "users", id: "v", properties: { b: 2 }, index: 3 },
      { collection: "accounts", id: "g", properties: {}, index: 4 },
    ]);
  });
});

describe("set", () => {
  test.each<[string, object, string]>([
    ["upper case", { collection: "Rooms", objects: [{ id: "1" }] }, "bad_collection"],
    [
      "a length",
      parseJson('{"collection":{"length":1e400},"objects":[{"id":"1"}]}') as object,
      "bad_collection",
    ],
    ["an underscore at the edge", { collection: "_rooms", objects: [{ id: "1" }] }, "bad_collection"],
    ["no objects", { collection: "rooms" }, "bad_objects"],
    ["an empty list", { collection: "rooms", objects: [] }, "bad_objects"],
  ])("%s is refused", (_name, body, code) => {
    expect(set(body)).toMatchObject({ kind: "refused", status: 400, code });
  });

  test.each<[string, unknown, string]>([
    ["its own", "2026-11-23T11:00:00Z", "2026-11-23T11:00:00.000Z"],
    ["none", undefined, RECEIVED],
    ["one that cannot be read", "soon", RECEIVED],
    ["one before 1970", "1500-01-01T00:00:00Z", RECEIVED],
    ["one that would stand above all later writes", "2099-01-01T00:00:00Z", RECEIVED],
  ])("an object's time: %s", (_name, timestamp, taken) => {
    const result = set({ collection: "rooms", objects: [{ id: "1", timestamp }] });
    expect(result).toMatchObject({ objects: [{ eventAtMs: Date.parse(taken) }] });
  });

  test.each<[string, unknown, string]>([
    ["no id", {}, "bad_object"],
    ["a long id", { id: "x".repeat(101) }, "bad_object"],
    ["an id with half a surrogate pair", { id: "a\ud800" }, "bad_object"],
    ["a list", { id: "1", properties: { a: [] } }, "not_scalar"],
    ["a large value", { id: "1", properties: { a: "x".repeat(33_000) } }, "value_too_large"],
    ["text for an object", "x", "bad_object"],
    ["an id with a length that no double holds", parseJson('{"id":{"length":1e400}}'), "bad_object"],
    ["an id with a NUL", { id: "a\u0000" }, "bad_object"],
    ["half a surrogate pair in its id", { id: "\ud800" }, "bad_object"],
    ["a list for properties", { id: "1", properties: [1] }, "bad_object"],
  ])("%s is rejected by name", (_name, object, code) => {
    const result = set({ collection: "rooms", objects: [object, { id: "ok", properties: { n: null } }] });
    expect(result).toMatchObject({ rejected: [{ index: 0, code }], objects: [{ id: "ok", index: 1 }] });
  });

  const objectsOf = (objects: unknown) => {
    const result = set({ collection: "rooms", objects: parseJson(JSON.stringify(objects)) });
    return result.kind === "ingested" ? result.objects : result;
  };

  test("an id that is a number is its digits, and what is said of nothing is nothing", () => {
    const objects = parseJson(
      '[{"id":1234567890123456789},{"id":7,"properties":null},{"id":"8","properties":[]}]',
    );
    expect(set({ collection: "rooms", objects })).toMatchObject({
      rejected: [],
      objects: [{ id: "1234567890123456789" }, { id: "7", properties: {} }, { id: "8", properties: {} }],
    });
  });

  test("its time is told, and an absurd one does not stand in the way of later writes", () => {
    const times = ["2026-11-20T00:00:00Z", "2099-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "soon", 1.7e18];
    const objects = times.map((timestamp, n) => ({ id: String(n), timestamp }));
    const received = Date.parse(RECEIVED);
    expect(objectsOf(objects)).toMatchObject([
      { eventAtMs: Date.parse("2026-11-20T00:00:00Z") },
      ...times.slice(1).map(() => ({ eventAtMs: received })),
    ]);
  });

  test("what is wrong with an id is said by its name", () => {
    expect(set({ collection: "rooms", objects: [{ id: "" }] })).toMatchObject({
      rejected: [{ message: "id must be a string of 1-100 characters" }],
    });
  });
});
