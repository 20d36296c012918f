/** Two regions and the queue, in Miniflare: a region goes away and comes back, and nothing answered 200 is lost. */
import { convertV4MiniflareOptions, Miniflare } from "miniflare";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startTableServer } from "../fakes/table-server.ts";
import type { TableServer } from "../fakes/table-server.ts";
import { edgeModules, until } from "../support/edge-host.ts";

let near: TableServer;
let far: TableServer;
let miniflare: Miniflare;
const portOf = ({ endpoint }: TableServer) => Number(new URL(endpoint).port);

beforeAll(async () => {
  near = await startTableServer();
  far = await startTableServer();
  const regions = [
    { name: "near", endpoint: near.endpoint, table: "varve" },
    { name: "far", endpoint: far.endpoint, table: "varve" },
  ];
  miniflare = new Miniflare(
    convertV4MiniflareOptions({
      name: "edge",
      modules: await edgeModules(),
      compatibilityDate: "2026-10-01",
      bindings: {
        REGIONS: JSON.stringify(regions),
        AWS_ACCESS_KEY_ID: "local",
        AWS_SECRET_ACCESS_KEY: "local",
      },
      kvNamespaces: ["SOURCES"],
      queueProducers: { SPILL: "varve-spill" },
      queueConsumers: { "varve-spill": { maxBatchSize: 10, maxBatchTimeout: 1, maxRetries: 20 } },
    }),
  );
  const kv = await miniflare.getKVNamespace("SOURCES");
  await kv.put("key:wk", '{"id":"web","home":"near"}');
  await kv.put("key:wk-pinned", '{"id":"pinned","home":"near","pinned":true}');
});
afterAll(async () => {
  await miniflare.dispose();
  await near.stop();
  await far.stop();
});

async function send(writeKey: string, messageId: string): Promise<number> {
  const url = await miniflare.ready;
  const response = await fetch(new URL("/v1/identify", url), {
    method: "POST",
    body: JSON.stringify({ writeKey, userId: messageId, messageId, traits: { plan: "pro" } }),
  });
  await response.arrayBuffer();
  return response.status;
}

test(
  "events go on to the next region; objects and pinned events wait for theirs",
  { timeout: 60_000 },
  async () => {
    expect(await send("wk", "before")).toBe(200);
    expect([...near.items.keys()]).toEqual(["e#web#before", "o#web#users#before"]);

    const port = portOf(near);
    await near.stop();
    for (let n = 0; n < 8; n++) expect(await send("wk", `during-${n}`)).toBe(200);
    expect(await send("wk-pinned", "pinned-during")).toBe(200);
    expect([...far.items.keys()].filter((key) => key.startsWith("e#web#during-"))).toHaveLength(8);
    expect([...far.items.keys()].filter((key) => key.startsWith("o#") || key.includes("pinned"))).toEqual([]);

    near = await startTableServer(port);
    const drained = () =>
      Promise.resolve(
        Array.from({ length: 8 }, (_, n) => `o#web#users#during-${n}`).every((key) => near.items.has(key)) &&
          near.items.has("e#pinned#pinned-during") &&
          near.items.has("o#pinned#users#pinned-during"),
      );
    expect(await until(drained, 40_000)).toBe(true);
  },
);
