/** What the platform counts, in Miniflare: requests by its rate limiter, subrequests of one request. */
import { convertV4MiniflareOptions, Miniflare } from "miniflare";
import { afterAll, beforeAll, expect, test } from "vitest";
import { limitRate } from "../../edge/authority.ts";
import type { Authorised } from "../../edge/authority.ts";
import type { Bindings } from "../../edge/config.ts";
import { systemClock } from "../../shared/clock.ts";
import { startTableServer } from "../fakes/table-server.ts";
import type { TableServer } from "../fakes/table-server.ts";
import { edgeModules } from "../support/edge-host.ts";

const LIMIT = 20;
let table: TableServer;
let miniflare: Miniflare;

beforeAll(async () => {
  table = await startTableServer();
  miniflare = new Miniflare(
    convertV4MiniflareOptions({
      name: "edge",
      modules: await edgeModules(),
      compatibilityDate: "2026-10-01",
      bindings: {
        DYNAMODB_ENDPOINT: table.endpoint,
        DYNAMODB_TABLE: "varve",
        AWS_REGION: "us-east-1",
        AWS_ACCESS_KEY_ID: "local",
        AWS_SECRET_ACCESS_KEY: "local",
      },
      kvNamespaces: ["SOURCES"],
      queueProducers: { SPILL: "varve-spill" },
      ratelimits: { LIMITER: { namespace_id: "1001", simple: { limit: LIMIT, period: 60 } } },
    }),
  );
  const kv = await miniflare.getKVNamespace("SOURCES");
  for (const id of ["busy", "calm", "many"]) await kv.put(`key:wk-${id}`, JSON.stringify({ id }));
});
afterAll(async () => {
  await miniflare.dispose();
  await table.stop();
});

async function post(path: string, body: object): Promise<Response> {
  const response = await fetch(new URL(path, await miniflare.ready), {
    method: "POST",
    body: JSON.stringify(body),
  });
  const text = await response.text();
  return new Response(text, response);
}

test("past LIMITER's requests of a write key in a location, 429; other keys are not touched", async () => {
  let limited: Response | undefined;
  // Its windows are aligned to the clock: at worst two of them are filled.
  for (let sent = 0; sent <= 2 * LIMIT && limited === undefined; sent++) {
    const answer = await post("/v1/track", { writeKey: "wk-busy", event: "e", userId: "u" });
    if (answer.status === 200) expect(sent).toBeLessThan(2 * LIMIT);
    else limited = answer;
  }
  expect(limited?.status).toBe(429);
  expect(limited?.headers.get("Retry-After")).toBe("10");
  expect(limited?.headers.get("X-RateLimit-Reset")).toMatch(/^\d+$/);
  expect(await limited?.json()).toMatchObject({ code: "rate_limited" });
  expect((await post("/v1/track", { writeKey: "wk-calm", event: "e", userId: "u" })).status).toBe(200);
});

test("a limiter that fails lets events through", async () => {
  const authorised = { source: { id: "s" }, writeKey: "wk" } as unknown as Authorised;
  const bindings = {
    LIMITER: { limit: () => Promise.reject(new Error("down")) },
  } as unknown as Bindings;
  expect(await limitRate(authorised, 1, bindings, systemClock)).toEqual({ kind: "passed" });
});

test("the largest legal batch stays within a request's 1,000 subrequests, and is durable", async () => {
  const batch = Array.from({ length: 2_500 }, (_, n) => ({
    type: "identify",
    userId: `u${n}`,
    messageId: `m${n}`,
    traits: { plan: "pro", note: "x".repeat(90) },
  }));
  const body = { writeKey: "wk-many", batch };
  expect(JSON.stringify(body).length).toBeGreaterThan(450_000);
  const before = table.calls();
  expect((await post("/v1/batch", body)).status).toBe(200);
  const calls = table.calls() - before;
  expect(calls).toBeGreaterThan(600);
  // Besides there are one read of KV and some ten calls of the queue.
  expect(calls).toBeLessThanOrEqual(900);
  expect([...table.items.keys()].filter((key) => key.startsWith("e#many#"))).toHaveLength(2_500);
});
