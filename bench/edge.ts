/**
 * The edge's CPU an event, and its ratio to a worker that only reads and parses the same body, both in
 * workerd, in one run. DynamoDB is a server on loopback that answers at once, so what is counted is ours:
 * reading, checking, signing, calling.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { Agent, request as httpRequest } from "node:http";
import { join } from "node:path";
import { identifyBatch, singleEvent, trackBatch } from "./edge-bodies.ts";
import type { BenchBody } from "./edge-bodies.ts";
import type { BenchRow } from "./report.ts";
import { bundle, startWorker } from "./worker-host.ts";
import type { WorkerHost } from "./worker-host.ts";

const WRITE_KEY = "bench";
const PARSE_ONLY = `export default {
  async fetch(request) {
    const text = await request.text();
    const body = text === "" ? {} : JSON.parse(text);
    return Response.json({ success: body !== null });
  }
}`;

export type CannedTable = { readonly endpoint: string; readonly stop: () => void };

export async function startCannedTable(): Promise<CannedTable> {
  const child = spawn(process.execPath, [join(import.meta.dirname, "edge-table.ts")], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  return { endpoint: `http://127.0.0.1:${line.toString().trim()}`, stop: () => child.stdin.end() };
}

export async function startEdge(endpoint: string): Promise<WorkerHost> {
  return startWorker({
    script: await bundle(join(import.meta.dirname, "../edge/worker.ts")),
    bindings: {
      DYNAMODB_ENDPOINT: endpoint,
      DYNAMODB_TABLE: "varve",
      AWS_REGION: "us-east-1",
      AWS_ACCESS_KEY_ID: "bench",
      AWS_SECRET_ACCESS_KEY: "bench",
      DEDUPE_DAYS: "7",
    },
    kv: { SOURCES: { [`key:${WRITE_KEY}`]: '{"id":"bench","name":"Bench","enabled":true}' } },
  });
}

export type Posted = { readonly status: number; readonly body: string };

/** POST over a kept connection, as cheap for this process as Node allows. */
export function postRaw(agent: Agent, url: string, path: string, body: string): Promise<Posted> {
  return new Promise((resolve, reject) => {
    const headers = {
      "Content-Type": "application/json",
      "Content-Length": String(Buffer.byteLength(body)),
      Authorization: `Basic ${btoa(`${WRITE_KEY}:`)}`,
    };
    const request = httpRequest(`${url}${path}`, { method: "POST", agent, headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.once("end", () =>
        resolve({ status: response.statusCode ?? 0, body: String(Buffer.concat(chunks)) }),
      );
      response.once("error", reject);
    });
    request.once("error", reject);
    request.end(body);
  });
}

const AT_ONCE = 24;

async function postAll(host: WorkerHost, bodies: readonly BenchBody[]): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE });
  let next = 0;
  const lane = async (): Promise<void> => {
    for (let body = bodies[next++]; body !== undefined; body = bodies[next++]) {
      const answer = await postRaw(agent, host.url, body.path, body.body);
      if (answer.status !== 200) throw new Error(`the worker answered ${answer.status}: ${answer.body}`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  agent.destroy();
}

async function cpuPerEventUs(host: WorkerHost, bodies: readonly BenchBody[]): Promise<number> {
  const beforeMs = host.cpuMs();
  await postAll(host, bodies);
  const events = bodies.reduce((sum, body) => sum + body.events, 0);
  return ((host.cpuMs() - beforeMs) * 1000) / events;
}

type Case = {
  readonly make: (request: number) => BenchBody;
  readonly requests: number;
  readonly limit: number | null;
};

const CASES: readonly Case[] = [
  { make: trackBatch, requests: 80, limit: 3.5 },
  { make: (request) => identifyBatch(request, 10), requests: 40, limit: 12 },

  { make: (request) => identifyBatch(request, 80), requests: 20, limit: null },
  { make: singleEvent, requests: 500, limit: null },
];

const ROUNDS = 9;

/** Rounds of parse-only and edge in turn, and the least of each: other work on the machine only ever adds. */
async function measure(
  edge: WorkerHost,
  parseOnly: WorkerHost,
  { make, requests, limit }: Case,
): Promise<BenchRow[]> {
  const bodies = Array.from({ length: requests }, (_, index) => make(index));
  const warm = bodies.slice(0, Math.ceil(requests / 4));
  await postAll(parseOnly, warm);
  await postAll(edge, warm);
  const parsed: number[] = [];
  const edged: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    parsed.push(await cpuPerEventUs(parseOnly, bodies));
    edged.push(await cpuPerEventUs(edge, bodies));
  }
  const name = bodies[0]?.name ?? "";
  const [baseUs, edgeUs] = [Math.min(...parsed), Math.min(...edged)];
  return [
    { name: `parse-only CPU an event, ${name}`, value: baseUs, unit: "us", limit: null, ratio: null },
    { name: `edge CPU an event, ${name}`, value: edgeUs, unit: "us", limit, ratio: edgeUs / baseUs },
    { name: `edge events a core, ${name}`, value: 1e6 / edgeUs, unit: "events/s", limit: null, ratio: null },
  ];
}

/** About half a minute. Loopback only. */
export async function benchEdge(): Promise<BenchRow[]> {
  const table = await startCannedTable();
  const parseOnly = await startWorker({ script: PARSE_ONLY });
  const edge = await startEdge(table.endpoint);
  try {
    const rows: BenchRow[] = [];
    for (const one of CASES) rows.push(...(await measure(edge, parseOnly, one)));
    return rows;
  } finally {
    await edge.stop();
    await parseOnly.stop();
    table.stop();
  }
}
