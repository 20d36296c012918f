/**
 * Two lanes in threads against one: records a second by the clock, from canned GetRecords answers to commits on
 * S3. The stream and S3 are served by processes of their own, on the same cores: what they take, the threads lack.
 * So beside the clock's ratio stands that of the processor time: what two threads bring where cores are free.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { runCompactor } from "../compactor/compactor.ts";
import { NO_METRICS } from "../compactor/metrics.ts";
import { openStreams } from "../compactor/stream.ts";
import type { OpenedLane } from "../compactor/thread.ts";
import { openThreadLane, streamsConfigOf } from "../compactor/thread.ts";
import { openS3Store } from "../shared/aws/s3.ts";
import { systemClock } from "../shared/clock.ts";
import { parseCompactorConfig, s3ConfigOf } from "../shared/config.ts";
import type { CompactorConfig } from "../shared/config.ts";
import { startChild } from "./child.ts";
import type { BenchRow } from "./report.ts";
import { median } from "./report.ts";

const PAGES = 30;
const SHARDS = 8;
const RECORDS = PAGES * 1000 * SHARDS;
const ROUNDS = 3;

export async function benchThreads(progress: (what: string) => void): Promise<BenchRow[]> {
  const dir = await mkdtemp(join(tmpdir(), "varve-bench-"));
  progress(`making ${PAGES} pages of 1,000 records, served by ${SHARDS} shards`);
  const streams = await startChild(join(import.meta.dirname, "canned-server.ts"), [
    String(PAGES),
    String(SHARDS),
  ]);
  const s3 = await startChild(join(import.meta.dirname, "s3-server.ts"), [
    dir,
    "changelog",
    "bench",
    "bench-secret",
  ]);
  process.env["AWS_ACCESS_KEY_ID"] = "bench";
  process.env["AWS_SECRET_ACCESS_KEY"] = "bench";
  const seconds: Record<1 | 2, number[]> = { 1: [], 2: [] };
  const cpuUs: Record<1 | 2, number[]> = { 1: [], 2: [] };
  try {
    // Round 0 warms up.
    for (let round = 0; round <= ROUNDS; round += 1) {
      for (const threads of [1, 2] as const) {
        progress(`round ${round} of ${ROUNDS}: ${threads} threads`);
        const config = parseCompactorConfig({
          VARVE_CHANGELOG: `s3://changelog/bench/${round}-${threads}`,
          S3_ENDPOINT: (s3.ready as { endpoint: string }).endpoint,
          S3_REGION: "auto",
          S3_ACCESS_KEY_ID: "bench",
          S3_SECRET_ACCESS_KEY: "bench-secret",
          DYNAMODB_TABLE: "bench",
          DYNAMODB_ENDPOINT: (streams.ready as { endpoint: string }).endpoint,
          VARVE_FLUSH: "2s",
        });
        const began = process.cpuUsage();
        const took = await compact(config, threads);
        const { user, system } = process.cpuUsage(began);
        if (round === 0) continue;
        seconds[threads].push(took);
        cpuUs[threads].push(user + system);
      }
    }
  } finally {
    await Promise.all([streams.stop(), s3.stop()]);
    await rm(dir, { recursive: true, force: true });
  }
  const rate = (threads: 1 | 2): number => RECORDS / median(seconds[threads]);
  const cores = availableParallelism();
  return [
    { name: `one thread, ${cores} cores`, value: rate(1), unit: "records/s", limit: null, ratio: null },
    {
      name: `two threads, ${cores} cores`,
      value: rate(2),
      unit: "records/s",
      limit: 1.7,
      ratio: rate(2) / rate(1),
    },
    {
      name: "two threads, by the processor time they take",
      value: (2e6 * RECORDS) / median(cpuUs[2]),
      unit: "records/s",
      limit: 1.7,
      ratio: (2 * median(cpuUs[1])) / median(cpuUs[2]),
    },
  ];
}

/** Seconds from the first commit, when the threads stand ready, to the last. */
async function compact(config: CompactorConfig, threads: number): Promise<number> {
  const store = openS3Store(s3ConfigOf(config));
  const done = new AbortController();
  let [records, beganMs, tookMs] = [0, 0, 0];
  const log = {
    info: (what: string, fields: Record<string, unknown>) => {
      if (what !== "committed") return;
      if (beganMs === 0) beganMs = performance.now();
      records += Number(fields["records"]);
      if (records < RECORDS) return;
      tookMs = performance.now() - beganMs;
      done.abort();
    },
    warn: (what: string, fields: Record<string, unknown>) => console.error(what, fields),
  };
  const lanes: OpenedLane[] = [];
  await runCompactor(
    {
      store,
      log,
      clock: systemClock,
      metrics: NO_METRICS,
      streams: openStreams(streamsConfigOf(config)),
      openLanes: async (_, stopping) => {
        for (let lane = 0; lane < threads; lane += 1)
          lanes.push(openThreadLane(config, threads, log, NO_METRICS, stopping));
        await Promise.all(lanes.map(({ lane }) => lane.assign(new Map())));
        return lanes.map(({ lane }) => lane);
      },
      merger: null,
      upkeep: { run: async () => {} },
      configuration: {},
      flushMs: config.VARVE_FLUSH,
      heartbeatMs: 60_000,
    },
    done.signal,
  );
  await Promise.all(lanes.map(({ close }) => close()));
  store.close();
  return tookMs / 1000;
}
