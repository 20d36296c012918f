/**
 * Hostile requests over a socket: some thousands here, 100,000 with VARVE_LONG=1. Never a 5xx, never an
 * unhandled rejection; what was accepted is in the table; memory stays flat.
 */
import { Agent, request as httpRequest } from "node:http";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { startWorker } from "../../bench/worker-host.ts";
import { bundleWorker } from "../../local/worker-bundle.ts";
import { startTableServer } from "../fakes/table-server.ts";
import type { TableServer } from "../fakes/table-server.ts";
import { hostileRequest } from "./hostile.ts";
import type { HostileRequest } from "./hostile.ts";

const LONG = process.env["VARVE_LONG"] === "1";
const AT_ONCE = 20;
const REQUESTS = LONG ? 100_000 : 4_000;

type Answer = { readonly status: number; readonly cors: unknown; readonly body: string };

function send(agent: Agent, url: string, { method, path, headers, body }: HostileRequest): Promise<Answer> {
  return new Promise((resolve, reject) => {
    // Half of the requests come chunked: without a Content-Length.
    const length: Record<string, string> =
      body.length % 2 === 0 || method !== "POST"
        ? { "content-length": String(body.length) }
        : { "transfer-encoding": "chunked" };
    const request = httpRequest(
      `${url}${encodeURI(path.toWellFormed())}`,
      { method, agent, headers: { ...headers, ...length } },
      (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.once("error", reject);
        response.once("end", () => {
          const cors = response.headers["access-control-allow-origin"];
          resolve({ status: response.statusCode ?? 0, cors, body: Buffer.concat(chunks).toString() });
        });
      },
    );
    request.once("error", reject);
    request.end(body);
  });
}

type Rejected = { readonly index: number };

/** The messageIds that the answer says are durable. */
function acceptedIds({ sent }: HostileRequest, answer: Answer): string[] {
  if (answer.status !== 200 || typeof sent !== "object" || sent === null) return [];
  const list = "batch" in sent && Array.isArray(sent.batch) ? (sent.batch as unknown[]) : [sent];
  const { rejected = [] } = JSON.parse(answer.body) as { readonly rejected?: readonly Rejected[] };
  const refused = new Set(rejected.map(({ index }) => index));
  return list.flatMap((event, index) => {
    const id = (event as { readonly messageId?: unknown } | null)?.messageId;
    return !refused.has(index) && typeof id === "string" && id.startsWith("fuzz-") ? [id] : [];
  });
}

function check(request: HostileRequest, answer: Answer, table: TableServer): void {
  expect(answer.status, answer.body).toBeLessThan(500);
  expect(answer.cors).toBeDefined();
  if (answer.status === 204) return;
  const body = JSON.parse(answer.body) as Record<string, unknown>;
  expect(typeof body).toBe("object");
  if (answer.status >= 400) {
    expect(body).toMatchObject({
      error: expect.any(String),
      code: expect.any(String),
      message: expect.any(String),
    });
  }
  for (const id of acceptedIds(request, answer)) expect(table.items.has(`e#fuzz#${id}`), id).toBe(true);
}

test(`${REQUESTS} hostile requests`, { timeout: LONG ? 3_600_000 : 120_000 }, async () => {
  const table = await startTableServer();
  const edge = await startWorker({
    modules: await bundleWorker(join(import.meta.dirname, "../../edge/worker.ts")),
    bindings: {
      DYNAMODB_ENDPOINT: table.endpoint,
      DYNAMODB_TABLE: "varve",
      AWS_REGION: "us-east-1",
      AWS_ACCESS_KEY_ID: "local",
      AWS_SECRET_ACCESS_KEY: "local",
    },
    kv: { SOURCES: { "key:wk-fuzz": '{"id":"fuzz"}' } },
  });
  const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE });
  const statuses = new Map<number, number>();
  const memory: number[] = [];
  const started = Date.now();
  try {
    await fc.assert(
      fc.asyncProperty(
        fc.array(hostileRequest, { minLength: AT_ONCE, maxLength: AT_ONCE }),
        async (requests) => {
          await Promise.all(
            requests.map(async (request) => {
              const answer = await send(agent, edge.url, request);
              statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
              check(request, answer, table);
            }),
          );
          memory.push(edge.memoryBytes());
        },
      ),
      { numRuns: REQUESTS / AT_ONCE, endOnFailure: !LONG },
    );
    const errors = edge.errors();
    expect(errors).not.toMatch(/uncaught|unhandled/i);
    expect(errors).not.toContain("wk-fuzz");
    // The heap has grown to what it needs in the first half; it must not go on growing.
    const half = Math.max(...memory.slice(0, memory.length >> 1));
    const end = memory.at(-1) ?? 0;
    expect(end).toBeLessThan(half * 1.5 + 64 * 1024 * 1024);
    const seconds = (Date.now() - started) / 1000;
    console.log(
      `${REQUESTS} requests in ${seconds.toFixed(0)} s, items ${table.items.size}, memory ${(half / 1e6).toFixed(0)} -> ${(end / 1e6).toFixed(0)} MB, answers ${JSON.stringify(Object.fromEntries(statuses))}`,
    );
  } finally {
    agent.destroy();
    await edge.stop();
    await table.stop();
  }
});
