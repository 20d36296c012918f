/** What the compactor counts, and how it is shown: Prometheus text at /metrics, health at /healthz. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Counter, Gauge, Registry } from "prom-client";
import { VarveError } from "../shared/errors.ts";
import { LEVELS } from "../shared/window.ts";
import type { Level } from "../shared/window.ts";
import type { Snapshot } from "../shared/snapshot.ts";
import { holdingShards } from "../shared/watermark.ts";
import type { LaneBatch } from "./lane.ts";

export type CallName =
  | "GetRecords"
  | "GetShardIterator"
  | "DescribeStream"
  | "S3 PUT"
  | "S3 GET"
  | "S3 LIST"
  | "S3 DELETE";

export type Metrics = {
  readonly committed: (snapshot: Snapshot, batch: LaneBatch) => void;
  /** The log's tip as others have moved it. `idle`: there is nothing that this worker would commit. */
  readonly followed: (tip: Snapshot, idle: boolean) => void;
  readonly conflicted: () => void;
  readonly merged: (level: Level, rows: number) => void;
  readonly called: (call: CallName, times?: number) => void;
  readonly retried: (call: CallName) => void;
  readonly buffered: (lane: number, bytes: number) => void;
  readonly workers: (live: number) => void;
};

/** For runs that nobody watches. */
export const NO_METRICS: Metrics = {
  committed: () => undefined,
  followed: () => undefined,
  conflicted: () => undefined,
  merged: () => undefined,
  called: () => undefined,
  retried: () => undefined,
  buffered: () => undefined,
  workers: () => undefined,
};

/**
 * Dollars a call: us-east-1 list prices. https://aws.amazon.com/dynamodb/pricing https://aws.amazon.com/s3/pricing
 * Control-plane calls of DynamoDB Streams and deletes are free.
 */
const PRICE: Readonly<Record<CallName, number>> = {
  GetRecords: 0.02 / 100_000,
  GetShardIterator: 0,
  DescribeStream: 0,
  "S3 PUT": 5 / 1_000_000,
  "S3 GET": 0.4 / 1_000_000,
  "S3 LIST": 5 / 1_000_000,
  "S3 DELETE": 0,
};

const MONTH_S = 30 * 86_400;
/** Shards shown one by one: the furthest behind. */
const SHARDS_SHOWN_MAX = 50;

export type Health = {
  readonly healthy: boolean;
  /** Since it last committed, or knew that there was nothing to commit. */
  readonly committedSecondsAgo: number;
  /** From when on it is not healthy. */
  readonly limitSeconds: number;
};

export type PrometheusMetrics = Metrics & {
  readonly text: () => Promise<string>;
  readonly health: () => Health;
};

/** @param staleMs without a commit for so long, a worker that has shards is not healthy */
export function openPrometheusMetrics(nowMs: () => number, staleMs: number): PrometheusMetrics {
  const registry = new Registry();
  const registers = [registry];
  const counter = (name: string, help: string, labelNames: string[] = []) =>
    new Counter({ name: `varve_${name}`, help, labelNames, registers });
  const gauge = (name: string, help: string, labelNames: string[] = []) =>
    new Gauge({ name: `varve_${name}`, help, labelNames, registers });

  const startedMs = nowMs();
  let committedMs = startedMs;
  let tip: Snapshot | null = null;
  const calls = new Map<CallName, number>();

  const records = counter("records_total", "Stream records committed by this process");
  const rows = counter("rows_total", "Rows committed by this process");
  const bytes = counter("bytes_total", "Bytes of data files committed by this process");
  const commits = counter("commits_total", "Commits by this process");
  const conflicts = counter("conflicts_total", "Commits that found another at their version");
  const merges = counter("merges_total", "Windows merged by this process", ["level"]);
  const mergedRows = counter("merged_rows_total", "Rows read by merges of this process", ["level"]);
  const retries = counter("retries_total", "Calls made again after a fault", ["call"]);
  const requests = counter("requests_total", "Calls made", ["call"]);
  const cost = counter("requests_cost_dollars_total", "List price of the calls made", ["call"]);
  const rejected = counter("rejected_rows_total", "Rows of rejected events that this process committed");
  const buffer = gauge("buffer_bytes", "Bytes read but not committed", ["lane"]);
  const workers = gauge("workers", "Workers that this one sees alive");
  const gaps = gauge("gaps_total", "Gaps in the log");
  const version = gauge("version", "The log's version");
  const lag = gauge("watermark_lag_seconds", "How far the watermark is behind now");
  const iteratorAge = gauge(
    "iterator_age_seconds",
    "How far the shard that is furthest behind is behind now; records are lost at 86400",
  );
  const shardLag = gauge("shard_lag_seconds", "How far a shard is behind now; the furthest behind", [
    "shard",
  ]);
  const openShards = gauge("shards", "Shards not read to their end");
  const files = gauge("files", "Live files", ["level"]);
  const fileBytes = gauge("file_bytes", "Bytes of live files", ["level"]);
  const monthly = gauge("requests_cost_dollars_month", "What the calls made so far come to in 30 days", [
    "call",
  ]);

  // Until the log is known they have no value: a 0 would be a lie.
  for (const unknown of [gaps, version, lag, iteratorAge, openShards]) unknown.remove();

  const collect = (): void => {
    const seconds = Math.max(1, (nowMs() - startedMs) / 1000);
    for (const [call, times] of calls) monthly.set({ call }, (times * PRICE[call] * MONTH_S) / seconds);
    if (tip === null) return;
    version.set(tip.version);
    gaps.set(tip.gaps.size);
    lag.set(Math.max(0, (nowMs() - tip.log.watermarkMs) / 1000));
    openShards.set([...tip.shards.values()].filter(({ done }) => !done).length);
    const holding = holdingShards(tip.shards, tip.log.discoveredMs).toSorted(([, a], [, b]) => a - b);
    iteratorAge.set(holding[0] === undefined ? 0 : Math.max(0, (nowMs() - holding[0][1]) / 1000));
    shardLag.reset();
    for (const [shard, atMs] of holding.slice(0, SHARDS_SHOWN_MAX))
      shardLag.set({ shard }, Math.max(0, (nowMs() - atMs) / 1000));
    for (const level of LEVELS) {
      const ofLevel = [...tip.files.values()].filter((file) => file.level === level);
      files.set({ level }, ofLevel.length);
      fileBytes.set(
        { level },
        ofLevel.reduce((sum, file) => sum + file.sizeBytes, 0),
      );
    }
  };

  return {
    committed: (snapshot, batch) => {
      tip = snapshot;
      committedMs = nowMs();
      commits.inc();
      records.inc(batch.records);
      for (const { file, sizeBytes } of batch.files) {
        rows.inc(file.totals.rows);
        bytes.inc(sizeBytes);
      }
      rejected.inc(batch.rejectedRows);
    },
    followed: (snapshot, idle) => {
      tip = snapshot;
      if (idle) committedMs = nowMs();
    },
    conflicted: () => conflicts.inc(),
    merged: (level, read) => {
      merges.inc({ level });
      mergedRows.inc({ level }, read);
    },
    called: (call, times = 1) => {
      calls.set(call, (calls.get(call) ?? 0) + times);
      requests.inc({ call }, times);
      cost.inc({ call }, times * PRICE[call]);
    },
    retried: (call) => retries.inc({ call }),
    buffered: (lane, held) => buffer.set({ lane }, held),
    workers: (live) => workers.set(live),
    health: () => {
      const ms = nowMs() - committedMs;
      return { healthy: ms < staleMs, committedSecondsAgo: ms / 1000, limitSeconds: staleMs / 1000 };
    },
    text: async () => {
      collect();
      return registry.metrics();
    },
  };
}

export type MetricsServer = { readonly port: number; readonly close: () => Promise<void> };

/** Serves /metrics and /healthz (200 or 503). */
export async function serveMetrics(
  metrics: PrometheusMetrics,
  port: number,
  host: string,
): Promise<MetricsServer> {
  const server = createServer((request, response) => {
    const path = request.url?.split("?")[0];
    if (path === "/healthz") {
      const { healthy, committedSecondsAgo, limitSeconds } = metrics.health();
      response.writeHead(healthy ? 200 : 503, { "content-type": "application/json" });
      response.end(
        JSON.stringify({
          healthy,
          committed_seconds_ago: committedSecondsAgo,
          limit_seconds: limitSeconds,
        }),
      );
    } else if (path === "/metrics") {
      void metrics.text().then((text) => {
        response.writeHead(200, { "content-type": "text/plain; version=0.0.4" });
        response.end(text);
      });
    } else {
      response.writeHead(404, { "content-type": "application/json" });
      response.end('{"error":"not found","code":"unknown_path","message":"there is /metrics and /healthz"}');
    }
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) =>
      reject(
        new VarveError(
          "port_taken",
          `metrics cannot be served on ${host}:${port}: ${error.message}.`,
          "Give them another port in VARVE_METRICS, as `port` or `host:port`; without the variable there are none.",
          error,
        ),
      ),
    );
    server.listen(port, host.replaceAll(/^\[|\]$/g, ""), resolve);
  });
  const address = server.address() as AddressInfo;
  return {
    port: address.port,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}
