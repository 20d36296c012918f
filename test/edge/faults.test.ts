/** Two regions that fail in every way that DynamoDB, and what stands between, is known for: a 200 stays true. */
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startWorker } from "../../bench/worker-host.ts";
import type { WorkerHost } from "../../bench/worker-host.ts";
import { bundleWorker } from "../../local/worker-bundle.ts";
import { randomOf } from "../fakes/random.ts";
import { startTableServer } from "../fakes/table-server.ts";
import type { TableServer } from "../fakes/table-server.ts";

const random = randomOf(20_261_123);
const ROUNDS = 20;
const AT_ONCE = 10;

type Call = {
  readonly body: string;
  readonly isBatch: boolean;
  /** What the table says to a body. */
  readonly ask: (body: string) => Promise<{ readonly status: number; readonly text: string }>;
  readonly response: ServerResponse;
};
type Fault = (call: Call) => unknown;

const pass: Fault = async ({ ask, body, response }) => {
  const { status, text } = await ask(body);
  response.writeHead(status).end(text);
};
const saying =
  (status: number, type: string): Fault =>
  ({ response }) =>
    response.writeHead(status).end(JSON.stringify({ __type: `com.amazon#${type}`, message: "no" }));

type Requests = Record<string, unknown[]>;
const someUnprocessed: Fault = async (call) => {
  if (!call.isBatch) return pass(call);
  const [entry] = Object.entries((JSON.parse(call.body) as { RequestItems: Requests }).RequestItems);
  const [table = "", puts = []] = entry ?? [];
  const half = Math.ceil(puts.length / 2);
  await call.ask(JSON.stringify({ RequestItems: { [table]: puts.slice(0, half) } }));
  const left = puts.slice(half);
  return call.response.end(JSON.stringify({ UnprocessedItems: left.length === 0 ? {} : { [table]: left } }));
};

const FAULTS: readonly Fault[] = [
  ...Array.from({ length: 12 }, () => pass),
  saying(400, "ProvisionedThroughputExceededException"),
  saying(400, "ThrottlingException"),
  saying(400, "ExpiredTokenException"),
  saying(500, "InternalServerError"),
  someUnprocessed,
  someUnprocessed,
  // It is written, and nobody hears of it.
  async ({ ask, body, response }) => {
    await ask(body);
    response.socket?.destroy();
  },
  ({ response }) => response.socket?.destroy(),
  ({ response }) => response.writeHead(200).end("<html>a proxy's page</html>"),
  ({ response }) => response.writeHead(503).end("<html>a proxy's page</html>"),
  ({ response }) => {
    response.writeHead(200, { "content-length": "100" }).write("{}", () => response.socket?.destroy());
  },
  ({ response }) => response.writeHead(200).end('{"UnprocessedItems":{"varve":[{"PutRequ'),
  ({ response }) => response.writeHead(200).end(),
];

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

type Region = { readonly table: TableServer; readonly endpoint: string; readonly stop: () => Promise<void> };

async function startRegion(): Promise<Region> {
  const table = await startTableServer();
  const server = createServer((request, response) => {
    const target = String(request.headers["x-amz-target"]);
    const ask: Call["ask"] = async (body) => {
      const answer = await fetch(table.endpoint, {
        method: "POST",
        headers: { "X-Amz-Target": target },
        body,
      });
      return { status: answer.status, text: await answer.text() };
    };
    const fault = random.pick(FAULTS);
    void textOf(request)
      .then((body) => fault({ body, isBatch: target.endsWith("BatchWriteItem"), ask, response }))
      .catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  return {
    table,
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    stop: async () => {
      server.closeAllConnections();
      server.close();
      await table.stop();
    },
  };
}

let home: Region;
let other: Region;
let edge: WorkerHost;

beforeAll(async () => {
  [home, other] = await Promise.all([startRegion(), startRegion()]);
  const regions = [
    { name: "home", endpoint: home.endpoint, table: "varve" },
    { name: "other", endpoint: other.endpoint, table: "varve" },
  ];
  edge = await startWorker({
    modules: await bundleWorker(join(import.meta.dirname, "../support/watched-worker.ts")),
    bindings: {
      REGIONS: JSON.stringify(regions),
      AWS_ACCESS_KEY_ID: "local",
      AWS_SECRET_ACCESS_KEY: "local",
    },
    kv: { SOURCES: { "key:wk": '{"id":"web"}' } },
  });
});
afterAll(async () => {
  await edge.stop();
  await Promise.all([home.stop(), other.stop()]);
});

let sent = 0;
const eventOf = (index: number) => ({
  type: index % 8 === 3 ? "identify" : "track",
  event: "Paid",
  userId: `user-${sent}`,
  messageId: `m-${sent++}`,
  // Some are stored as they were sent, some are parsed.
  properties: index % 5 === 2 ? { note: "\u0001" } : { total: 5 },
});

/** What is missing of a request that was answered 200. */
async function missing(): Promise<readonly string[] | null> {
  const batch = Array.from({ length: random.between(1, 60) }, (_, index) => eventOf(index));
  const body = JSON.stringify({ writeKey: "wk", batch });
  const response = await fetch(`${edge.url}/v1/batch`, { method: "POST", body });
  await response.arrayBuffer();
  if (response.status !== 200) return null;
  const events = batch.map(({ messageId }) => `e#web#${messageId}`);
  const users = batch.filter(({ type }) => type === "identify").map(({ userId }) => `o#web#users#${userId}`);
  return [
    ...events.filter((key) => !home.table.items.has(key) && !other.table.items.has(key)),
    ...users.filter((key) => !home.table.items.has(key)),
  ];
}

test("what was answered 200 is in a table, whatever the tables' answers", { timeout: 300_000 }, async () => {
  let answered = 0;
  const lane = async (): Promise<void> => {
    for (let round = 0; round < ROUNDS; round++) {
      const keys = await missing();
      if (keys !== null) answered += 1;
      expect(keys ?? []).toEqual([]);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  expect(answered).toBeGreaterThan(20);
  expect(edge.errors()).not.toMatch(/unhandled|"m-|SyntaxError/);
});
