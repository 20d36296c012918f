import { env, exports } from "cloudflare:workers";
import { beforeAll, describe, expect, test } from "vitest";
import { createDynamo } from "../../../shared/aws/dynamodb.ts";
import { bodyAt, itemAt, post, useSource } from "./client.ts";

const KEY = "wk-test";

beforeAll(() => useSource(KEY, { id: "web", name: "Web", enabled: true }));

const track = (messageId: string, more: object = {}) => ({
  type: "track",
  event: "Order Completed",
  userId: "u1",
  messageId,
  ...more,
});

/** An identify call at a time. */
const identifyAt = (timestamp: string, traits: object) => ({
  type: "identify",
  userId: "ann",
  timestamp,
  traits,
});

const gzip = async (text: string) => {
  const stream = new Response(text).body as ReadableStream<Uint8Array>;
  return new Response(stream.pipeThrough(new CompressionStream("gzip"))).arrayBuffer();
};

describe("a batch", () => {
  test("stands in the table before it is answered", async () => {
    const batch = [
      track("m-1", { properties: { total: 9.5 } }),
      track("m-2"),
      { ...track("m-3"), type: "page" },
    ];
    const answer = await post("/v1/batch", { batch, context: { library: { name: "x" } } }, KEY);
    expect(answer).toMatchObject({ status: 200, body: { success: true } });
    expect(answer.body).toEqual({ success: true });
    const item = await itemAt("e#web#m-1");
    expect(item).toMatchObject({
      kind: { S: "event" },
      source: { S: "web" },
      collection: { S: "tracks" },
      user_id: { S: "u1" },
      event: { S: "Order Completed" },
    });
    expect(JSON.parse(await bodyAt("e#web#m-1"))).toMatchObject({
      properties: { total: 9.5 },
      context: { library: { name: "x" } },
    });
    expect(await itemAt("e#web#m-3")).toMatchObject({ collection: { S: "pages" } });
  });

  test("one bad event never fails it, and is kept", async () => {
    const answer = await post(
      "/v1/batch",
      { batch: [track("m-10"), { type: "track", messageId: "bad-1" }] },
      KEY,
    );
    expect(answer.status).toBe(200);
    expect(answer.body).toMatchObject({
      success: true,
      accepted: 1,
      rejected: [{ index: 1, messageId: "bad-1", code: "missing_event" }],
    });
    expect(await itemAt("e#web#m-10")).not.toBeNull();
  });

  test("keeps numbers that no double can hold", async () => {
    const text = `{"batch":[{"type":"track","event":"n","userId":"u","messageId":"m-big","properties":{"a":12345678901234567890,"b":1e400,"c":0.1}}]}`;
    expect((await post("/v1/batch", text, KEY)).status).toBe(200);
    expect(await bodyAt("e#web#m-big")).toContain(
      `"properties":{"a":12345678901234567890,"b":1e400,"c":0.1}`,
    );
  });

  test("with names that are cut within a character, or hold a NUL, is taken", async () => {
    const batch = [
      track("m-cut", { event: "Caf\ud83d\u0000" }),
      { type: "page", name: "\ude00", userId: "u1", messageId: "m-cut-page" },
      "\ud83d",
    ];
    const answer = await post("/v1/batch", { batch }, KEY);
    expect(answer).toMatchObject({ status: 200, body: { accepted: 2, rejected: [{ index: 2 }] } });
    expect(await itemAt("e#web#m-cut")).toMatchObject({ event: { S: "Caf\uFFFD\uFFFD" } });
    expect(await itemAt("e#web#m-cut-page")).toMatchObject({ event: { S: "\uFFFD" } });
  });

  test("that is no UTF-8 has no id rewritten, lest two become one", async () => {
    const latin1 = (text: string) => Uint8Array.from(text, (char) => char.charCodeAt(0));
    const events = ["é", "è"].map((letter) => JSON.stringify(track(`latin-${letter}`)));
    const named = JSON.stringify(track("m-latin", { event: "Café", properties: { clé: "é" } }));
    const body = latin1(`{"batch":[${[...events, named].join(",")}]}`);
    expect((await post("/v1/batch", body, KEY)).body).toMatchObject({
      accepted: 1,
      rejected: [
        { index: 0, code: "bad_id" },
        { index: 1, code: "bad_id" },
      ],
    });
    expect(JSON.parse(await bodyAt("e#web#m-latin"))).toMatchObject({
      event: "Caf\uFFFD",
      properties: { "cl\uFFFD": "\uFFFD" },
    });
    const single = latin1(JSON.stringify({ event: "e", userId: "josé" }));
    expect(await post("/v1/track", single, KEY)).toMatchObject({ status: 400, body: { code: "bad_id" } });
  });

  test("is read compressed, whatever its headers say", async () => {
    const zip = new Response(JSON.stringify({ batch: [track("m-gz")] })).body as ReadableStream<Uint8Array>;
    const bytes = await new Response(zip.pipeThrough(new CompressionStream("gzip"))).arrayBuffer();
    const headers = { "Content-Type": "application/x-www-form-urlencoded" };
    expect((await post("/v1/import/", bytes, KEY, headers)).status).toBe(200);
    expect(await itemAt("e#web#m-gz")).not.toBeNull();
  });

  test("of 60 events takes three calls", async () => {
    const batch = Array.from({ length: 60 }, (_, index) => track(`m-many-${index}`));
    expect((await post("/v1/b", { batch }, KEY)).status).toBe(200);
    expect(await itemAt("e#web#m-many-59")).not.toBeNull();
  });
});

describe("objects", () => {
  test("identify merges traits, the last writer by event time winning", async () => {
    await post("/v1/identify", identifyAt("2026-01-02T00:00:00Z", { plan: "pro", seats: 3 }), KEY);
    await post("/v1/identify", identifyAt("2026-01-01T00:00:00Z", { plan: "free", city: "Oslo" }), KEY);
    expect(await itemAt("o#web#users#ann")).toMatchObject({
      "p.plan": { S: "pro" },
      "p.seats": { N: "3" },
      "p.city": { S: "Oslo" },
      event_at: { N: String(Date.parse("2026-01-02T00:00:00Z")) },
    });
  });

  test("set writes any collection, and names the object that it refuses", async () => {
    const wide = Object.fromEntries(Array.from({ length: 400 }, (_, index) => [`p${index}`, index]));
    const objects = [
      { id: "1", properties: { beds: 2 } },
      { id: "2", properties: { nested: {} } },
      { id: "3", properties: wide },
    ];
    const answer = await post("/v1/set", { write_key: KEY, collection: "rooms", objects });
    expect(answer).toMatchObject({
      status: 200,
      body: { success: true, accepted: 2, rejected: [{ index: 1, messageId: "2", code: "not_scalar" }] },
    });
    expect(await itemAt("o#web#rooms#1")).toMatchObject({ "p.beds": { N: "2" } });
    expect(await itemAt("o#web#rooms#3")).toMatchObject({ "p.p0": { N: "0" }, "p.p399": { N: "399" } });
  });

  test("an object that the table refuses for good is named, and the rest stands", async () => {
    const huge = Object.fromEntries(
      Array.from({ length: 16 }, (_, index) => [`p${index}`, "x".repeat(30_000)]),
    );
    const objects = [{ id: "huge", properties: huge }, { id: "small" }];
    const answer = await post("/v1/set", { collection: "rooms", objects }, KEY);
    expect(answer).toMatchObject({ status: 200, body: { rejected: [{ index: 0, messageId: "huge" }] } });
    expect(await itemAt("o#web#rooms#small")).not.toBeNull();
  });
});

describe("write keys", () => {
  const event = { event: "e", userId: "u" };
  test.each([
    ["Basic", { Authorization: `Basic ${btoa(`${KEY}:`)}` }, event, ""],
    ["Bearer", { Authorization: `Bearer ${KEY}` }, event, ""],
    ["writeKey in the body", {}, { ...event, writeKey: KEY }, ""],
    ["write_key in the body", {}, { ...event, write_key: KEY }, ""],
    ["a header", { "X-Write-Key": KEY }, event, ""],
    ["the query", {}, event, `?writeKey=${KEY}`],
    ["write_key, where writeKey is empty", {}, { ...event, writeKey: "", write_key: KEY }, ""],
    ["the query, where the header is empty", { "X-Write-Key": "" }, event, `?writeKey=&write_key=${KEY}`],
    ["the body, where Bearer is a token", { Authorization: "Bearer token" }, { ...event, writeKey: KEY }, ""],
  ])("stand in %s", async (_name, headers, body, query) => {
    expect((await post(`/v1/track${query}`, body, undefined, headers)).status).toBe(200);
  });

  test("stand in a batch's body before a list of the request's own", async () => {
    const batch = [{ ...event, type: "track", messageId: "m-behind" }];
    expect((await post("/v1/batch", { batch, writeKey: KEY, tags: ["a"] })).status).toBe(200);
    expect(await itemAt("e#web#m-behind")).not.toBeNull();
  });

  test("are not stored", async () => {
    await post("/v1/track", { ...track("m-key"), writeKey: KEY });
    expect(JSON.stringify(await itemAt("e#web#m-key"))).not.toContain(KEY);
  });

  test("unknown, absent and disabled are told apart", async () => {
    await useSource("wk-off", { id: "off", name: "", enabled: false });
    expect(await post("/v1/track", event)).toMatchObject({ status: 401, body: { code: "no_write_key" } });
    expect(await post("/v1/track", event, "nope")).toMatchObject({
      status: 401,
      body: { code: "unknown_write_key" },
    });
    expect(await post("/v1/track", { ...event, writeKey: "漢".repeat(190) })).toMatchObject({
      status: 401,
      body: { code: "unknown_write_key" },
    });
    expect(await post("/v1/track", event, "wk-off")).toMatchObject({
      status: 401,
      body: { code: "source_disabled" },
    });
  });
});

describe("bad input gets an answer that says what is wrong", () => {
  test.each<[string, string, () => Promise<BodyInit> | BodyInit, number, string]>([
    ["not JSON", "/v1/batch", () => "hello", 400, "not_json"],
    ["an empty body", "/v1/track", () => "", 400, "not_json"],
    ["no batch", "/v1/batch", () => "{}", 400, "no_batch"],
    ["no events", "/v1/batch", () => '{"batch":[]}', 400, "no_events"],
    ["no ids", "/v1/track", () => '{"event":"x"}', 400, "missing_id"],
    ["no event name", "/v1/track", () => '{"userId":"x"}', 400, "missing_event"],
    ["a long messageId", "/v1/track", () => JSON.stringify(track("m".repeat(101))), 400, "bad_message_id"],
    [
      "a large event",
      "/v1/track",
      () => JSON.stringify(track("m", { x: "y".repeat(33_000) })),
      400,
      "event_too_large",
    ],
    ["a large body", "/v1/batch", () => "x".repeat(600_000), 400, "too_large"],
    ["a gzip bomb", "/v1/batch", () => gzip(" ".repeat(20_000_000)), 400, "too_large"],
    ["a gzip cut short", "/v1/batch", async () => (await gzip("{}")).slice(0, 12), 400, "bad_gzip"],
    [
      "deep nesting",
      "/v1/track",
      () => `{"event":"x","userId":"u","properties":{"a":${"[".repeat(100_000)}${"]".repeat(100_000)}}}`,
      400,
      "event_too_large",
    ],
    [
      "40 levels",
      "/v1/track",
      () => `{"event":"x","userId":"u","properties":{"a":${"[".repeat(40)}${"]".repeat(40)}}}`,
      400,
      "too_deep",
    ],
    ["a bad collection", "/v1/set", () => '{"collection":"A","objects":[{"id":"1"}]}', 400, "bad_collection"],
  ])("%s", async (_name, path, body, status, code) => {
    const answer = await post(path, await body(), KEY);
    expect(answer).toMatchObject({ status, body: { code } });
    expect(Object.keys(answer.body)).toEqual(["error", "code", "message", "fix"]);
  });

  test("unknown paths and wrong methods", async () => {
    expect(await post("/v1/nothing", {}, KEY)).toMatchObject({ status: 404, body: { code: "unknown_path" } });
    const got = await exports.default.fetch("http://edge/v1/track");
    expect(got.status).toBe(405);
    expect(await got.json()).toMatchObject({ code: "wrong_method" });
  });
});

test("preflight echoes what is asked, and errors carry CORS headers too", async () => {
  const headers = {
    Origin: "https://shop.example",
    "Access-Control-Request-Headers": "authorization,x-retry-count",
  };
  const preflight = await exports.default.fetch("http://edge/v1/t", { method: "OPTIONS", headers });
  expect(preflight.status).toBe(204);
  expect(preflight.headers.get("Access-Control-Allow-Headers")).toBe("authorization,x-retry-count");
  expect(preflight.headers.get("Access-Control-Allow-Origin")).toBe("https://shop.example");
  expect(preflight.headers.get("Access-Control-Allow-Credentials")).toBe("true");
  expect(preflight.headers.get("Access-Control-Max-Age")).toBe("86400");
  const refused = await post("/v1/t", "{", KEY, { Origin: "https://shop.example" });
  expect(refused.headers.get("Access-Control-Allow-Origin")).toBe("https://shop.example");
});

test("healthz", async () => {
  const response = await exports.default.fetch("http://edge/healthz");
  expect(await response.json()).toEqual({ status: "ok" });
});

test("this runtime has what exact numbers need", () => {
  expect(typeof (JSON as { rawJSON?: unknown }).rawJSON).toBe("function");
  expect(typeof createDynamo).toBe("function");
  expect(env).toHaveProperty("DYNAMODB_TABLE", "varve");
});
