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
import { median } from "./report.ts";
import { startWorker } from "./worker-host.ts";
import { bundleWorker } from "../local/worker-bundle.ts";
import type { WorkerHost } from "./worker-host.ts";

const WRITE_KEY = "bench";
const PARSE_ONLY = `export default {
  async fetch(request) {
    const text = await request.text();
    const body = text === "" ? {} : JSON.parse(text);
    return Response.json({ success: body !== null });
  }
}`;

export type CannedTable = {
  readonly endpoint: string;
  /** How many it has answered. */
  readonly calls: () => Promise<number>;
  readonly stop: () => void;
};

export async function startCannedTable(): Promise<CannedTable> {
  const child = spawn(process.execPath, [join(import.meta.dirname, "edge-table.ts")], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  const endpoint = `http://127.0.0.1:${line.toString().trim()}`;
  return {
    endpoint,
    calls: async () => Number(await (await fetch(endpoint)).text()),
    stop: () => child.stdin.end(),
  };
}

export async function startEdge(endpoint: string): Promise<WorkerHost> {
  return startWorker({
    modules: await bundleWorker(join(import.meta.dirname, "../edge/worker.ts")),
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

const WARM_ROUNDS = 30;
const ROUNDS = 21;

export type Measured = {
  /** The median of the rounds. */
  readonly perEventUs: number;
  /** Against the first host in the same round; the median of the rounds. */
  readonly ratio: number;
};

/**
 * CPU an event of each host, round by round in turn: other work on the machine makes all slower together, so
 * that the ratios of a round hold where its times do not.
 */
export async function measureHosts(
  hosts: readonly WorkerHost[],
  bodies: readonly BenchBody[],
): Promise<readonly Measured[]> {
  // Until V8 has compiled what is hot: a worker in use has long been there.
  for (let round = 0; round < WARM_ROUNDS; round++) {
    for (const host of hosts) await postAll(host, bodies);
  }
  const rounds: number[][] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const perEventUs: number[] = [];
    for (const host of hosts) perEventUs.push(await cpuPerEventUs(host, bodies));
    rounds.push(perEventUs);
  }
  return hosts.map((_, at) => ({
    perEventUs: median(rounds.map((round) => round[at] ?? Number.NaN)),
    ratio: median(rounds.map((round) => (round[at] ?? Number.NaN) / (round[0] ?? Number.NaN))),
  }));
}

async function measure(
  edge: WorkerHost,
  parseOnly: WorkerHost,
  { make, requests, limit }: Case,
): Promise<BenchRow[]> {
  const bodies = Array.from({ length: requests }, (_, index) => make(index));
  const [base, edged] = await measureHosts([parseOnly, edge], bodies);
  if (base === undefined || edged === undefined) return [];
  const name = bodies[0]?.name ?? "";
  const row = { unit: "us", limit: null, ratio: null };
  return [
    { ...row, name: `parse-only CPU an event, ${name}`, value: base.perEventUs },
    { ...row, name: `edge CPU an event, ${name}`, value: edged.perEventUs, limit, ratio: edged.ratio },
    { ...row, name: `edge events a core, ${name}`, value: 1e6 / edged.perEventUs, unit: "events/s" },
  ];
}

/** About half a minute. Loopback only. */
export async function benchEdge(progress: (what: string) => void): Promise<BenchRow[]> {
  progress("a core's work, half a minute");
  const table = await startCannedTable();
  const parseOnly = await startWorker({ modules: PARSE_ONLY });
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
