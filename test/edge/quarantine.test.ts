/** What is rejected is kept, once, with its reason and without its write key. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { bodiesOf, startEdgeHost } from "../support/edge-host.ts";
import type { EdgeHost } from "../support/edge-host.ts";

let edge: EdgeHost;
beforeAll(async () => {
  const ids = ["q", "single", "set", "alike", "grown"];
  edge = await startEdgeHost(Object.fromEntries(ids.map((id) => [`wk-${id}`, { id }])));
});
afterAll(() => edge.stop());

async function send(path: string, body: object): Promise<number> {
  const response = await fetch(`${edge.url}${path}`, { method: "POST", body: JSON.stringify(body) });
  await response.arrayBuffer();
  return response.status;
}

test("a batch's rejected events, once however often they are sent", async () => {
  const batch = [
    { type: "track", userId: "u", messageId: "no-event", writeKey: "wk-q" },
    { type: "track", event: "Large", userId: "u", messageId: "large", properties: { x: "y".repeat(40_000) } },
    { type: "track", event: "Fine", userId: "u", messageId: "fine" },
    17,
  ];
  for (let times = 0; times < 3; times++)
    expect(await send("/v1/batch", { writeKey: "wk-q", batch })).toBe(200);
  const items = await edge.items("q");
  const kept = [...items].filter(([key]) => key.startsWith("r#q#"));
  expect(kept).toHaveLength(3);
  for (const [, item] of kept) {
    expect(item).toMatchObject({ kind: { S: "rejected" }, collection: { S: "rejected" } });
  }
  const bodies = bodiesOf(new Map(kept)) as { reason: { code: string; message: string }; event: unknown }[];
  const byCode = new Map(bodies.map(({ reason, event }) => [reason.code, event]));
  expect(byCode.get("missing_event")).toEqual({ type: "track", userId: "u", messageId: "no-event" });
  expect(byCode.get("not_an_object")).toBe(17);
  expect(String(byCode.get("event_too_large"))).toContain('"messageId":"large"');
  expect(JSON.stringify(bodies)).not.toContain("wk-q");
});

test("as many of one kind as a batch may hold: once, and each is named", async () => {
  const response = await fetch(`${edge.url}/v1/batch`, {
    method: "POST",
    body: JSON.stringify({ writeKey: "wk-alike", batch: Array.from({ length: 2_500 }, () => ({})) }),
  });
  const { accepted, rejected } = await response.json<{ accepted: number; rejected: unknown[] }>();
  expect([response.status, accepted, rejected.length]).toEqual([200, 0, 2_500]);
  expect([...(await edge.items("alike")).keys()]).toHaveLength(1);
});

test("a single event that is refused with a 400 is kept too", async () => {
  expect(await send("/v1/track", { writeKey: "wk-single", userId: "u", messageId: "m" })).toBe(400);
  const [body] = bodiesOf(await edge.items("single"));
  expect(body).toMatchObject({ reason: { code: "missing_event" }, event: { messageId: "m" } });
});

test("an object that the table refuses for good is named and kept; accepted counts events, not their objects", async () => {
  const huge = Object.fromEntries(Array.from({ length: 16 }, (_, n) => [`p${n}`, "x".repeat(30_000)]));
  const objects = [{ id: "huge", properties: huge }, { id: "small" }];
  const response = await fetch(`${edge.url}/v1/set`, {
    method: "POST",
    body: JSON.stringify({ writeKey: "wk-set", collection: "rooms", objects }),
  });
  expect(await response.json()).toMatchObject({
    accepted: 1,
    rejected: [{ index: 0, code: "refused_by_table" }],
  });
  const items = await edge.items("set");
  expect([...items.keys()].filter((key) => key.startsWith("r#set#"))).toHaveLength(1);
  expect(items.has("o#set#rooms#small")).toBe(true);

  const batch = [{ type: "identify", userId: "u", messageId: "i" }, { type: "track" }];
  const mixed = await fetch(`${edge.url}/v1/batch`, {
    method: "POST",
    body: JSON.stringify({ writeKey: "wk-set", batch }),
  });
  expect(await mixed.json()).toMatchObject({ accepted: 1, rejected: [{ index: 1 }] });
});

test("an event whose user has grown past what the table holds is stored all the same, and says so", async () => {
  const identify = (n: number): object => ({
    type: "identify",
    userId: "u",
    messageId: `m${n}`,
    traits: { [`t${n}`]: "x".repeat(30_000) },
  });
  const answers: unknown[] = [];
  for (let n = 0; n < 15; n++) {
    const body = JSON.stringify({ writeKey: "wk-grown", ...identify(n) });
    const response = await fetch(`${edge.url}/v1/identify`, { method: "POST", body });
    expect(response.status).toBe(200);
    answers.push(await response.json());
  }
  const refused = { index: 0, messageId: "m14", code: "object_refused_by_table" };
  expect(answers[0]).toEqual({ success: true });
  expect(answers[14]).toMatchObject({ success: true, accepted: 1, rejected: [refused] });
  const items = await edge.items("grown");
  expect([...items.keys()].filter((key) => key.startsWith("e#grown#m"))).toHaveLength(15);
  const kept = bodiesOf(new Map([...items].filter(([key]) => key.startsWith("r#"))));
  expect(kept.length).toBeGreaterThan(0);
  expect(kept.map((body) => body["event"])).toContainEqual({
    collection: "users",
    id: "u",
    properties: { t14: "x".repeat(30_000) },
  });
});
