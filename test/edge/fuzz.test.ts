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

type Sent = Readonly<Record<string, unknown>>;
type Refused = { readonly index: number; readonly messageId: string | null };

/** What the answer says is durable, and the messageIds of what it says is kept apart. */
type Taken = { readonly accepted: readonly Sent[]; readonly rejected: readonly string[] };

function takenOf({ sent }: HostileRequest, answer: Answer, list: (sent: Sent) => unknown): Taken {
  if (answer.status !== 200 || typeof sent !== "object" || sent === null)
    return { accepted: [], rejected: [] };
  const all = list(sent as Sent);
  const { rejected = [] } = JSON.parse(answer.body) as { readonly rejected?: readonly Refused[] };
  const refused = new Set(rejected.map(({ index }) => index));
  const accepted = (Array.isArray(all) ? (all as unknown[]) : [sent]).filter(
    (_, index) => !refused.has(index),
  );
  return {
    accepted: accepted.filter((one): one is Sent => typeof one === "object" && one !== null),
    rejected: rejected.flatMap(({ messageId }) => (messageId?.startsWith("fuzz-") ? [messageId] : [])),
  };
}

/** Whether a text stands for itself: no escape in it is cleaned, no name dropped. */
const isCalm = (json: string): boolean => !/\\u|__proto__|constructor/.test(json);

function checkEvent(sent: Sent, table: TableServer): void {
  const { messageId, type, userId, groupId } = sent;
  if (typeof messageId !== "string" || !messageId.startsWith("fuzz-")) return;
  const stored = table.items.get(`e#fuzz#${messageId}`)?.["body"];
  if (stored === undefined || !("S" in stored)) throw new Error(`${messageId} is not in the table`);
  const json = JSON.stringify(sent);
  const body = JSON.parse(stored.S) as Sent;
  expect(body).toMatchObject({ messageId, type });
  if (isCalm(json)) expect(body["properties"]).toEqual(JSON.parse(json)["properties"]);
  if (!isCalm(JSON.stringify([userId, groupId]))) return;
  if (type === "identify" && typeof userId === "string" && userId !== "") {
    expect(table.items.has(`o#fuzz#users#${userId}`), userId).toBe(true);
  }
  if (type === "group") expect(table.items.has(`o#fuzz#accounts#${String(groupId)}`)).toBe(true);
}

function checkDurable(request: HostileRequest, answer: Answer, table: TableServer): readonly string[] {
  if (request.path.endsWith("/set")) {
    const { accepted } = takenOf(request, answer, ({ objects }) => objects);
    const { collection } = (request.sent ?? {}) as Sent;
    for (const { id } of accepted) {
      if (isCalm(JSON.stringify(id))) {
        expect(table.items.has(`o#fuzz#${String(collection)}#${String(id)}`), String(id)).toBe(true);
      }
    }
    return [];
  }
  const { accepted, rejected } = takenOf(request, answer, ({ batch }) => batch);
  for (const sent of accepted) checkEvent(sent, table);
  return rejected;
}

/** Gives the messageIds of rejected events. */
function check(request: HostileRequest, answer: Answer, table: TableServer): readonly string[] {
  expect(answer.status, answer.body).toBeLessThan(500);
  expect(answer.cors).toBeDefined();
  if (answer.status === 204) return [];
  const body = JSON.parse(answer.body) as Record<string, unknown>;
  expect(typeof body).toBe("object");
  if (answer.status >= 400) {
    expect(body).toMatchObject({
      error: expect.any(String),
      code: expect.any(String),
      message: expect.any(String),
    });
  }
  return checkDurable(request, answer, table);
}

function keptApart(table: TableServer): string {
  const bodies = [...table.items].flatMap(([key, { body }]) =>
    key.startsWith("r#") && body !== undefined && "S" in body ? [body.S] : [],
  );
  return bodies.join("\n");
}

test(`${REQUESTS} hostile requests`, { timeout: LONG ? 3_600_000 : 300_000 }, async () => {
  const table = await startTableServer();
  const edge = await startWorker({
    modules: await bundleWorker(join(import.meta.dirname, "../support/watched-worker.ts")),
    bindings: {
      DYNAMODB_ENDPOINT: table.endpoint,
      DYNAMODB_TABLE: "varve",
      AWS_REGION: "us-east-1",
      AWS_ACCESS_KEY_ID: "local",
      AWS_SECRET_ACCESS_KEY: "local",
    },
    kv: { SOURCES: { "key:wk-fuzz": '{"id":"fuzz"}' } },
    // An isolate has 128 MB: a heap that goes on growing ends the process.
    v8Flags: ["--max-heap-size=96"],
  });
  const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE });
  const statuses = new Map<number, number>();
  const memory: number[] = [];
  const rejected: string[] = [];
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
              rejected.push(...check(request, answer, table));
            }),
          );
          memory.push(edge.memoryBytes());
        },
      ),
      { numRuns: REQUESTS / AT_ONCE, endOnFailure: !LONG },
    );
    const kept = keptApart(table);
    for (const messageId of rejected) expect(kept.includes(messageId), messageId).toBe(true);
    const errors = edge.errors();
    expect(errors).not.toMatch(/uncaught|unhandled/i);
    for (const secret of ["wk-fuzz", btoa("wk-fuzz:"), "fuzz-"]) expect(errors).not.toContain(secret);
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
