/** Real server SDKs, unchanged, against the worker over a socket. */
import { jitsuAnalytics } from "@jitsu/js";
import RudderAnalytics from "@rudderstack/rudder-sdk-node";
import { Analytics } from "@segment/analytics-node";
import { afterAll, beforeAll, expect, test } from "vitest";
import { bodiesOf, startEdgeHost, until } from "../support/edge-host.ts";
import type { EdgeHost } from "../support/edge-host.ts";

let edge: EdgeHost;
beforeAll(async () => {
  edge = await startEdgeHost({
    "wk-node": { id: "node" },
    "wk-rudder": { id: "rudder" },
    "wk-jitsu:secret": { id: "jitsu" },
    "wk-set": { id: "set" },
  });
});
afterAll(() => edge.stop());

test("analytics-node: every call arrives, in the common schema", async () => {
  const analytics = new Analytics({ writeKey: "wk-node", host: edge.url, flushAt: 5, flushInterval: 50 });
  const failures: unknown[] = [];
  analytics.on("error", (error) => failures.push(error));
  analytics.identify({ userId: "ann", traits: { plan: "pro" } });
  analytics.track({
    userId: "ann",
    event: "Order Completed",
    properties: { total: 9.99, items: [{ sku: "a" }] },
  });
  analytics.page({ userId: "ann", name: "Home" });
  analytics.screen({ anonymousId: "anon", name: "Main" });
  analytics.group({ userId: "ann", groupId: "acme", traits: { size: 5 } });
  analytics.alias({ userId: "ann", previousId: "anon" });
  await analytics.closeAndFlush();
  expect(failures).toEqual([]);
  const items = await edge.items("node");
  const bodies = bodiesOf(items);
  expect(bodies.map(({ type }) => type).toSorted((a, b) => String(a).localeCompare(String(b)))).toEqual([
    "alias",
    "group",
    "identify",
    "page",
    "screen",
    "track",
  ]);
  for (const body of bodies) {
    expect(body).toMatchObject({
      messageId: expect.any(String),
      receivedAt: expect.any(String),
      sentAt: expect.any(String),
      originalTimestamp: expect.any(String),
      timestamp: expect.any(String),
      context: { library: { name: "@segment/analytics-node" } },
    });
    expect(body).not.toHaveProperty("writeKey");
  }
  expect(items.get("o#node#users#ann")).toMatchObject({ "p.plan": { S: "pro" } });
  expect(items.get("o#node#accounts#acme")).toMatchObject({ "p.size": { N: "5" } });
});

test("rudder-sdk-node: gzip under another Content-Type", async () => {
  const client = new RudderAnalytics("wk-rudder", { dataPlaneUrl: edge.url, flushAt: 3, flushInterval: 50 });
  client.identify({ userId: "bob", traits: { plan: "free" } });
  client.track({ userId: "bob", event: "Paid", properties: { total: 1 } });
  client.page({ userId: "bob", name: "Home" });
  await client.flush();
  expect(await until(async () => (await edge.items("rudder")).size >= 4, 10_000)).toBe(true);
  const items = await edge.items("rudder");
  expect(items.get("o#rudder#users#bob")).toMatchObject({ "p.plan": { S: "free" } });
  const track = bodiesOf(items).find(({ type }) => type === "track");
  expect(track).toMatchObject({ event: "Paid", userId: "bob", properties: { total: 1 } });
  expect(Date.parse(String(track?.["timestamp"]))).toBeGreaterThan(Date.now() - 60_000);
});

test.each([true, false])(
  "jitsu-js: each call alone, the key in a header and masked in the body; s2s %s",
  async (s2s) => {
    const user = s2s ? "eve" : "dan";
    const client = jitsuAnalytics({
      host: edge.url,
      writeKey: "wk-jitsu:secret",
      s2s,
      errorPolicy: "rethrow",
    });
    await client.identify(user, { plan: "pro" });
    await client.track("Paid", { total: 1 });
    await client.page({ name: "Home" });
    await client.group("acme", { size: 5 });
    const items = await edge.items("jitsu");
    const sent = bodiesOf(items).filter(({ userId }) => userId === user);
    expect(sent.map(({ type }) => String(type)).toSorted()).toEqual(["group", "identify", "page", "track"]);
    expect(items.get(`o#jitsu#users#${user}`)).toMatchObject({ "p.plan": { S: "pro" } });
    expect(sent.find(({ type }) => type === "track")).toMatchObject({
      event: "Paid",
      properties: { total: 1 },
    });
  },
);

test("objects, as objects-go sends them: key in the body alone, partial objects merged by id", async () => {
  const send = (objects: readonly object[]) =>
    fetch(`${edge.url}/v1/set`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ collection: "rooms", write_key: "wk-set", objects }),
    });
  const rooms = Array.from({ length: 100 }, (_, index) => ({ id: `r${index}`, properties: { beds: 2 } }));
  expect(await (await send(rooms)).json()).toEqual({ success: true });
  expect((await send([{ id: "r7", properties: { view: "sea" } }])).status).toBe(200);
  const items = await edge.items("set");
  expect(items.size).toBe(100);
  expect(items.get("o#set#rooms#r7")).toMatchObject({ "p.beds": { N: "2" }, "p.view": { S: "sea" } });
});

test("objects in the largest request that objects-go makes: it counts 500 KB of them, and not what stands between", async () => {
  const objects: object[] = [];
  let bytes = 0;
  for (let n = 0; n < 99; n++) {
    const object = { id: `big${n}`, properties: { note: "x".repeat(5_130) } };
    bytes += JSON.stringify(object).length;
    objects.push(object);
  }
  const last = { id: "last", properties: { note: "x".repeat(500 * 1024 - bytes - 40) } };
  bytes += JSON.stringify(last).length;
  expect(bytes).toBeLessThan(500 * 1024);
  const body = JSON.stringify({ collection: "rooms", write_key: "wk-set", objects: [...objects, last] });
  expect(body.length).toBeGreaterThan(500 * 1024);
  const response = await fetch(`${edge.url}/v1/set`, { method: "POST", body });
  expect([response.status, await response.json()]).toEqual([200, { success: true }]);
});
