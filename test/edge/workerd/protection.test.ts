/// <reference types="@cloudflare/vitest-plugin/types" />
import { createExecutionContext, createMessageBatch, getQueueResult } from "cloudflare:test";
import { env, exports } from "cloudflare:workers";
import { describe, expect, test, vi } from "vitest";
import { batchesOf } from "../../../edge/batch.ts";
import { drainQueue } from "../../../edge/gateway.ts";
import { packSpill } from "../../../edge/spill.ts";
import { systemClock } from "../../../shared/clock.ts";
import { bodyAt, itemAt, post, useSource } from "./client.ts";

const event = (messageId: string) => ({ event: "e", userId: "u", messageId });
const get = async (path: string, headers: Record<string, string> = {}) => {
  const response = await exports.default.fetch(`http://edge.example${path}`, { headers });
  return { status: response.status, body: await response.json<Record<string, unknown>>() };
};

describe("what SDKs fetch first", () => {
  test.each(["/v1/projects/wk-set/settings", "/projects/wk-set/settings"])("%s", async (path) => {
    await useSource("wk-set", { id: "set" });
    expect(await get(path)).toMatchObject({
      status: 200,
      body: { integrations: { "Segment.io": { apiKey: "wk-set", apiHost: "edge.example/v1" } } },
    });
  });

  test("sourceConfig, by query or Basic", async () => {
    await useSource("wk-rudder", { id: "rudder", name: "R" });
    const expected = { status: 200, body: { source: { id: "rudder", enabled: true, destinations: [] } } };
    expect(await get("/sourceConfig/?p=npm&v=3&writeKey=wk-rudder")).toMatchObject(expected);
    expect(await get("/sourceConfig", { Authorization: `Basic ${btoa("wk-rudder:")}` })).toMatchObject(
      expected,
    );
    expect(await get("/sourceConfig?writeKey=nope")).toMatchObject({ status: 401 });
  });

  test("telemetry is taken, the beacon is a batch", async () => {
    expect((await post("/v1/m", { series: [] })).body).toEqual({ success: true });
    expect((await post("/rsaMetrics", "{}")).body).toEqual({ success: true });
    const batch = { batch: [{ type: "track", ...event("m-beacon") }] };
    expect((await post("/beacon/v1/batch?writeKey=wk-rudder", batch)).status).toBe(200);
    expect(await itemAt("e#rudder#m-beacon")).not.toBeNull();
  });
});

describe("a source's rules", () => {
  test("origins", async () => {
    await useSource("wk-origin", { id: "origin", origins: ["https://shop.example"] });
    const from = (origin: string) => post("/v1/track", event("m-origin"), "wk-origin", { Origin: origin });
    expect((await from("https://shop.example")).status).toBe(200);
    expect(await from("https://evil.example")).toMatchObject({
      status: 403,
      body: { code: "origin_not_allowed" },
    });
    expect((await post("/v1/track", event("m-server"), "wk-origin")).status).toBe(200);
  });

  test("rate", async () => {
    await useSource("wk-rate", { id: "rate", rateLimit: 1 });
    const batch = {
      batch: Array.from({ length: 10 }, (_, n) => ({ type: "track", ...event(`m-rate-${n}`) })),
    };
    expect((await post("/v1/batch", batch, "wk-rate")).status).toBe(200);
    const limited = await post("/v1/batch", batch, "wk-rate");
    expect(limited).toMatchObject({ status: 429, body: { code: "rate_limited" } });
    expect(limited.headers.get("Retry-After")).toMatch(/^([1-9]|10)$/);
    expect(Number(limited.headers.get("X-RateLimit-Reset"))).toBeGreaterThan(Date.now() / 1000);
  });

  test("signature", async () => {
    await useSource("wk-signed", { id: "signed", signed: true });
    const body = JSON.stringify(event("m-signed"));
    const sign = async (seconds: number, secret = "top-secret") => {
      const raw = new TextEncoder().encode(secret);
      const key = await crypto.subtle.importKey("raw", raw, { name: "HMAC", hash: "SHA-256" }, false, [
        "sign",
      ]);
      const mac = await crypto.subtle.sign("HMAC", key, new TextEncoder().encode(`${seconds}.${body}`));
      const hex = Array.from(new Uint8Array(mac), (byte) => byte.toString(16).padStart(2, "0")).join("");
      return { "X-Varve-Signature": `t=${seconds},v1=${hex}` };
    };
    const now = Math.floor(Date.now() / 1000);
    const send = async (headers: Record<string, string>, text = body) => {
      const { status, body: answer } = await post("/v1/track", text, "wk-signed", headers);
      return [status, answer["code"]];
    };
    expect(await send(await sign(now))).toEqual([200, undefined]);
    expect(await send({})).toEqual([401, "signature_absent"]);
    expect(await send(await sign(now - 3600))).toEqual([401, "signature_stale"]);
    expect(await send(await sign(now, "guess"))).toEqual([401, "signature_wrong"]);
    expect(await send(await sign(now), body.replace("m-signed", "m-forged"))).toEqual([
      401,
      "signature_wrong",
    ]);
  });

  test("tracking plan: rejected events are named and kept with their reason", async () => {
    const plan = { onViolation: "reject", events: { Paid: { required: ["total"] } } };
    await useSource("wk-plan", { id: "plan", plan });
    const batch = [
      { type: "track", event: "Paid", userId: "u", messageId: "m-good", properties: { total: 1 } },
      { type: "track", event: "Paid", userId: "u", messageId: "m-bad", properties: {} },
    ];
    const answer = await post("/v1/batch", { batch }, "wk-plan");
    expect(answer.body).toMatchObject({
      accepted: 1,
      rejected: [{ index: 1, messageId: "m-bad", code: "plan_violation" }],
    });
    expect(await itemAt("e#plan#m-good")).not.toBeNull();
  });

  test("marked events carry what is wrong with them", async () => {
    await useSource("wk-mark", { id: "mark", plan: { events: { e: { required: ["total"] } } } });
    await post("/v1/track", event("m-mark"), "wk-mark");
    const body = JSON.parse(await bodyAt("e#mark#m-mark")) as { varve: unknown };
    expect(body.varve).toMatchObject({ flags: ["plan_violation"] });
  });
});

async function drain(bodies: readonly unknown[], bindings = env) {
  const messages = bodies.map((body, index) => ({
    id: String(index),
    timestamp: new Date(),
    attempts: 1,
    body,
  }));
  const batch = createMessageBatch("varve-spill", messages);
  await drainQueue(batch, bindings, systemClock);
  return getQueueResult(batch, createExecutionContext());
}

describe("the spill queue's messages", () => {
  test("are drained into the table of their region", async () => {
    const put = `{"PutRequest":{"Item":{"pk":{"S":"e#spill#1"},"kind":{"S":"event"}}}}`;
    const packed = packSpill("us-east-1", {
      batches: batchesOf("varve", [{ bytes: new TextEncoder().encode(put), indexes: [0] }]),
      updates: [],
    });
    const texts = packed.kind === "packed" ? packed.calls.flat() : [];
    const { explicitAcks } = await drain(texts);
    expect(explicitAcks).toEqual(["0"]);
    expect(await itemAt("e#spill#1")).not.toBeNull();
  });

  test.each([
    ["an event", { puts: ['{"PutRequest":{"Item":{"kind":{"S":"event"}}}}'] }],
    ["an object", { updates: [{ set: '{"TableName":"varve","Key":{"pk":{"S":""}}}', fill: "" }] }],
  ])("with %s that the table refuses for good are kept for the dead-letter queue", async (_name, writes) => {
    const put = `{"PutRequest":{"Item":{"pk":{"S":"e#spill#beside"},"kind":{"S":"event"}}}}`;
    const beside = JSON.stringify({ v: 1, region: "us-east-1", puts: [put] });
    const { explicitAcks, retryMessages } = await drain([
      JSON.stringify({ v: 1, region: "us-east-1", ...writes }),
      beside,
    ]);
    expect(explicitAcks).toEqual(["1"]);
    expect(retryMessages).toMatchObject([{ msgId: "0" }]);
  });

  test("go to their region's table, whatever it was called; one that is broken does not keep those behind it", async () => {
    const update = (value: string) => ({
      TableName: "gone",
      Key: { pk: { S: "o#spill#rooms#1" } },
      ExpressionAttributeNames: { "#a": "p.a" },
      ExpressionAttributeValues: { ":a": { S: value } },
      UpdateExpression: "SET #a=:a",
    });
    const broken = { set: "no JSON of alice@example.com", fill: "" };
    const whole = { set: JSON.stringify(update("new")), fill: JSON.stringify(update("old")) };
    const said = vi.spyOn(console, "error");
    const { explicitAcks, retryMessages } = await drain(
      [broken, whole].map((one) => JSON.stringify({ v: 1, region: "us-east-1", updates: [one] })),
    );
    expect(explicitAcks).toEqual(["1"]);
    expect(retryMessages).toMatchObject([{ msgId: "0" }]);
    expect(await itemAt("o#spill#rooms#1")).toMatchObject({ "p.a": { S: "new" } });
    expect(JSON.stringify(said.mock.calls)).toContain("SyntaxError");
    expect(JSON.stringify(said.mock.calls)).not.toContain("alice");
    said.mockRestore();
  });

  test("wait, each by its own delay, while a binding is missing", async () => {
    const { retryMessages } = await drain(["{}", "{}"], { ...env, AWS_SECRET_ACCESS_KEY: undefined });
    expect(retryMessages).toMatchObject([{ msgId: "0" }, { msgId: "1" }]);
  });

  test("that are none of ours are kept for the dead-letter queue", async () => {
    const { explicitAcks, retryMessages } = await drain(["{}"]);
    expect(explicitAcks).toEqual([]);
    expect(retryMessages).toMatchObject([{ msgId: "0" }]);
  });
});

test("bindings are what the tests give", () => {
  expect(env["HMAC_SIGNED"]).toBe("top-secret");
});
