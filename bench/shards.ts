/**
 * A table of 2,000 shards, as one of some 2 million changes a second has: what it costs to find them, to hold them
 * and to ask them. The stream is served by the tests' server, the compactor is the command itself.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { openStreams } from "../compactor/stream.ts";
import { startChild } from "./child.ts";
import type { BenchRow } from "./report.ts";

const SHARDS = 2_000;
const TABLE = "bench";
const REGION = "us-east-1";
const BUCKET = "changelog";
const KEYS = { accessKeyId: "bench", secretAccessKey: "bench-secret" };
/** Writes to the table, and so to a tenth of its shards, each second. */
const WRITES_PER_S = 200;
/** Until shards with little to say are asked rarely. */
const SETTLE_MS = 30_000;
const MEASURED_MS = 15_000;
const MINUTE_MS = 60_000;
const MONTH_MS = 30 * 86_400_000;
/** What an account may call DescribeStream in a second. */
const DESCRIBES_PER_S_MAX = 10;

type Line = { readonly msg?: string; readonly port?: number; readonly shards?: number };

export async function benchShards(progress: (what: string) => void): Promise<BenchRow[]> {
  const dir = await mkdtemp(join(tmpdir(), "varve-bench-"));
  const streams = await startChild(join(import.meta.dirname, "../test/streams-server/main.ts"), ["1"]);
  const s3 = await startChild(join(import.meta.dirname, "s3-server.ts"), [
    dir,
    BUCKET,
    ...Object.values(KEYS),
  ]);
  const { endpoint } = streams.ready as { readonly endpoint: string };
  const writing = new AbortController();
  try {
    await order(endpoint, { do: "create", table: TABLE, shards: SHARDS });
    const listed = await listing(endpoint);
    const writer = write(endpoint, writing.signal);
    const rows = await measure(endpoint, (s3.ready as { readonly endpoint: string }).endpoint, progress);
    writing.abort();
    await writer;
    return [listed, ...rows];
  } finally {
    writing.abort();
    await Promise.all([streams.stop(), s3.stop()]);
    await rm(dir, { recursive: true, force: true });
  }
}

const order = (endpoint: string, command: object): Promise<unknown> =>
  fetch(`${endpoint}/control`, { method: "POST", body: JSON.stringify(command) }).then((answer) =>
    answer.text(),
  );

async function write(endpoint: string, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await order(endpoint, { do: "write", table: TABLE, count: WRITES_PER_S / 2 });
    await sleep(500, undefined, { signal }).catch(() => undefined);
  }
}

async function listing(endpoint: string): Promise<BenchRow> {
  Object.assign(process.env, CREDENTIALS);
  const opened = openStreams({ table: TABLE, region: REGION, endpoint });
  await opened.describe();
  const beganMs = performance.now();
  const shards = await opened.describe();
  return row(`listing ${shards.length} shards`, performance.now() - beganMs, "ms");
}

const CREDENTIALS = { AWS_ACCESS_KEY_ID: "bench", AWS_SECRET_ACCESS_KEY: "bench" };

const row = (name: string, value: number, unit: string, limit: number | null = null): BenchRow => ({
  name,
  value,
  unit,
  limit,
  ratio: limit === null ? null : value / limit,
});

async function measure(
  endpoint: string,
  s3: string,
  progress: (what: string) => void,
): Promise<readonly BenchRow[]> {
  const startedMs = performance.now();
  const child = spawn(process.execPath, [join(import.meta.dirname, "../cli/main.ts"), "compactor"], {
    env: {
      ...process.env,
      ...CREDENTIALS,
      AWS_REGION: REGION,
      DYNAMODB_TABLE: TABLE,
      DYNAMODB_ENDPOINT: endpoint,
      VARVE_CHANGELOG: `s3://${BUCKET}/shards`,
      S3_ENDPOINT: s3,
      S3_REGION: "auto",
      S3_ACCESS_KEY_ID: KEYS.accessKeyId,
      S3_SECRET_ACCESS_KEY: KEYS.secretAccessKey,
      VARVE_METRICS: "0",
      VARVE_FLUSH: "10s",
      // As they are with a flush of a minute.
      VARVE_POLL_MIN: "1s",
      VARVE_POLL_MAX: "30s",
    },
    stdio: ["ignore", "ignore", "pipe"],
  });
  const ended = once(child, "exit");
  const lines: Line[] = [];
  let registeredMs = 0;
  createInterface({ input: child.stderr }).on("line", (text) => {
    const line = JSON.parse(text.startsWith("{") ? text : "{}") as Line;
    lines.push(line);
    if (line.msg === "committed" && registeredMs === 0) registeredMs = performance.now() - startedMs;
  });
  try {
    const port = await firstPort(lines, child);
    progress(`${SHARDS} shards are found and opened`);
    await sleep(SETTLE_MS);
    progress(`${MEASURED_MS / 1000} s are measured`);
    const before = await figures(port);
    await sleep(MEASURED_MS);
    const after = await figures(port);
    const status = await readFile(`/proc/${child.pid}/status`, "utf8");
    const peakKB = Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0);
    return [
      row("from its start to shards in the log", registeredMs, "ms"),
      row("memory at its highest", peakKB / 1024, "MB", 1024),
      ...requestRows(before, after),
    ];
  } finally {
    child.kill("SIGTERM");
    await ended;
  }
}

type Figures = ReadonlyMap<string, number>;

function requestRows(before: Figures, after: Figures): BenchRow[] {
  const grown = (prefix: string): number =>
    [...after].reduce(
      (sum, [name, value]) => (name.startsWith(prefix) ? sum + value - (before.get(name) ?? 0) : sum),
      0,
    );
  const requests = (call: string): number => grown(`varve_requests_total{call="${call}"}`);
  const dollars = (call: string): number =>
    (grown(`varve_requests_cost_dollars_total{call="${call}"}`) * MONTH_MS) / MEASURED_MS;
  const aMinute = (count: number): number => (count * MINUTE_MS) / MEASURED_MS;
  const listings = requests("DescribeStream");
  const s3 = ["S3 PUT", "S3 GET", "S3 LIST"] as const;
  return [
    row("commits", aMinute(grown("varve_commits_total")), "1/min"),
    row("GetRecords", aMinute(requests("GetRecords")), "1/min"),
    row("GetRecords, at list price", dollars("GetRecords"), "$/month"),
    row(
      "DescribeStream, a page for each 100 shards",
      (listings * Math.ceil(SHARDS / 100) * 1000) / MEASURED_MS,
      "1/s",
      DESCRIBES_PER_S_MAX,
    ),
    row("S3 requests", aMinute(s3.reduce((sum, call) => sum + requests(call), 0)), "1/min"),
    row(
      "S3 requests, at list price",
      s3.reduce((sum, call) => sum + dollars(call), 0),
      "$/month",
    ),
    row("rows", aMinute(grown("varve_rows_total")), "1/min"),
  ];
}

async function firstPort(
  lines: readonly Line[],
  child: { readonly exitCode: number | null },
): Promise<number> {
  for (;;) {
    const port = lines.find(({ msg }) => msg === "serving metrics")?.port;
    if (port !== undefined) return port;
    if (child.exitCode !== null) throw new Error(`the compactor ended: ${JSON.stringify(lines.slice(-3))}`);
    await sleep(50);
  }
}

async function figures(port: number): Promise<Figures> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  return new Map(
    text
      .split("\n")
      .filter((line) => line.startsWith("varve_"))
      .map((line) => {
        const space = line.lastIndexOf(" ");
        return [line.slice(0, space), Number(line.slice(space + 1))] as const;
      }),
  );
}
