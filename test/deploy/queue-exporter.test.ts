import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { queueMetrics, serveQueueMetrics } from "../../deploy/queue-exporter.ts";

type Asked = { readonly variables: { readonly queue: string; readonly from: string; readonly to: string } };
let answer: (asked: Asked) => { readonly status: number; readonly body: unknown };
const cloudflare = createServer((request, response) => {
  let text = "";
  request.on("data", (chunk: Buffer) => (text += chunk.toString()));
  request.on("end", () => {
    const { status, body } =
      request.headers.authorization === "Bearer secret"
        ? answer(JSON.parse(text) as Asked)
        : { status: 403, body: { errors: ["no"] } };
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  });
});
const backlogOf = (groups: readonly unknown[]) => ({
  status: 200,
  body: { data: { viewer: { accounts: [{ queueBacklogAdaptiveGroups: groups }] } } },
});
let exporter: ReturnType<typeof serveQueueMetrics>;

const portOf = (server: { address: () => unknown }): number => (server.address() as AddressInfo).port;

beforeAll(async () => {
  await new Promise<void>((resolve) => {
    cloudflare.listen(0, "127.0.0.1", resolve);
  });
  exporter = serveQueueMetrics({
    CLOUDFLARE_ACCOUNT_ID: "account",
    CLOUDFLARE_API_TOKEN: "secret",
    SPILL_QUEUE_ID: "spill",
    DEAD_LETTER_QUEUE_ID: "dead",
    PORT: "0",
    CLOUDFLARE_GRAPHQL: `http://127.0.0.1:${portOf(cloudflare)}/graphql`,
  });
  await new Promise((resolve) => {
    exporter.once("listening", resolve);
  });
});
afterAll(() => {
  exporter.close();
  cloudflare.close();
});

const scrape = async (): Promise<string> =>
  (await fetch(`http://127.0.0.1:${portOf(exporter)}/metrics`)).text();

test("the newest backlog of each queue; a quiet queue is empty", async () => {
  answer = ({ variables }) =>
    backlogOf(variables.queue === "spill" ? [{ avg: { messages: 12.5, bytes: 4096 } }] : []);
  const text = await scrape();
  expect(text).toContain("\nvarve_spill_messages 12.5\n");
  expect(text).toContain("\nvarve_dead_letter_messages 0\n");
  expect(text).toContain("\nvarve_queues_seen 1\n");
});

test.each([
  { why: "an error", given: { status: 500, body: {} } },
  {
    why: "another shape",
    given: { status: 200, body: { data: null, errors: [{ message: "unknown field" }] } },
  },
])("$why is no depth of 0", async ({ given }) => {
  answer = () => given;
  const text = await scrape();
  expect(text).toContain("varve_queues_seen 0");
  expect(text).not.toContain("varve_spill_messages");
});

test("half known is not known", () => {
  const text = queueMetrics({ messages: 1, bytes: 1 }, null);
  expect(text).toContain("varve_queues_seen 0");
  expect(text).toContain("varve_spill_messages 1");
});

test("variables that are missing are named", () => {
  expect(() => serveQueueMetrics({})).toThrow("CLOUDFLARE_ACCOUNT_ID is not set");
});
