/**
 * Two lanes in threads against one: records a second by the clock, from canned GetRecords answers to commits on
 * S3. The stream and S3 are served by processes of their own, on the same cores: what they take, the threads lack.
 * And a lane alone uses more than one core, for V8 collects garbage beside it.
 *
 * So beside the clock's ratio stand two others: a core a thread, this process held to one core and then to two, while
 * the servers run where they like; and the processor time, which says what two threads bring where cores are free.
 */
import { execFileSync } from "node:child_process";
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

const PAGES = 90;
const SHARDS = 8;
const RECORDS = PAGES * 1000 * SHARDS;
const ROUNDS = 3;
const CORES = availableParallelism();

type Contest = { readonly name: string; readonly threads: 1 | 2; readonly cores: number };
type Measured = { readonly seconds: number[]; readonly cpuUs: number[] };

const ONE: Contest = { name: `one thread, ${CORES} cores`, threads: 1, cores: CORES };
const TWO: Contest = { name: `two threads, ${CORES} cores`, threads: 2, cores: CORES };
const ONE_HELD: Contest = { name: "one thread, held to one core", threads: 1, cores: 1 };
const TWO_HELD: Contest = { name: "two threads, held to two cores", threads: 2, cores: 2 };

export async function benchThreads(progress: (what: string) => void): Promise<BenchRow[]> {
  const dir = await mkdtemp(join(tmpdir(), "varve-bench-"));
  progress(`making ${PAGES} pages of 1,000 records, served by ${SHARDS} shards`);
  const streams = await startChild(join(import.meta.dirname, "canned-server.ts"), [
    String(PAGES),
    String(SHARDS),
  ]);
  const s3 = await startChild(join(import.meta.dirname, "log-s3-server.ts"), []);
  process.env["AWS_ACCESS_KEY_ID"] = "bench";
  process.env["AWS_SECRET_ACCESS_KEY"] = "bench";
  const holds = CORES > 1 && hold(CORES);
  const contests = holds ? [ONE, TWO, ONE_HELD, TWO_HELD] : [ONE, TWO];
  const measured = new Map<Contest, Measured>(
    contests.map((contest) => [contest, { seconds: [], cpuUs: [] }]),
  );
  try {
    // Round 0 warms up.
    for (let round = 0; round <= ROUNDS; round += 1) {
      for (const [contest, { seconds, cpuUs }] of measured) {
        progress(`round ${round} of ${ROUNDS}: ${contest.name}`);
        const config = parseCompactorConfig({
          VARVE_CHANGELOG: `s3://changelog/bench/${round}-${contests.indexOf(contest)}`,
          S3_ENDPOINT: (s3.ready as { endpoint: string }).endpoint,
          S3_REGION: "auto",
          S3_ACCESS_KEY_ID: "bench",
          S3_SECRET_ACCESS_KEY: "bench-secret",
          DYNAMODB_TABLE: "bench",
          DYNAMODB_ENDPOINT: (streams.ready as { endpoint: string }).endpoint,
          VARVE_FLUSH: "2s",
        });
        if (holds) hold(contest.cores);
        const began = process.cpuUsage();
        const took = await compact(config, contest.threads);
        const { user, system } = process.cpuUsage(began);
        if (round === 0) continue;
        seconds.push(took);
        cpuUs.push(user + system);
      }
    }
  } finally {
    if (holds) hold(CORES);
    await Promise.all([streams.stop(), s3.stop()]);
    await rm(dir, { recursive: true, force: true });
  }
  return rowsOf(measured);
}

/** Holds all threads of this process, and those it will start, to the first so many cores. False where it cannot. */
function hold(cores: number): boolean {
  try {
    execFileSync("taskset", ["--all-tasks", "--pid", "--cpu-list", `0-${cores - 1}`, String(process.pid)], {
      stdio: "ignore",
    });
    return true;
  } catch {
    return false;
  }
}

function rowsOf(measured: ReadonlyMap<Contest, Measured>): BenchRow[] {
  const rows: BenchRow[] = [];
  const unit = "records/s";
  for (const [one, two] of [
    [ONE, TWO],
    [ONE_HELD, TWO_HELD],
  ] as const) {
    const [alone, both] = [measured.get(one), measured.get(two)];
    if (alone === undefined || both === undefined) continue;
    const [before, after] = [RECORDS / median(alone.seconds), RECORDS / median(both.seconds)];
    rows.push({ name: one.name, value: before, unit, limit: null, ratio: null });
    rows.push({ name: two.name, value: after, unit, limit: 1.7, ratio: after / before });
  }
  const cpuUs = (contest: Contest): number => median(measured.get(contest)?.cpuUs ?? []);
  rows.push({
    name: "two threads, by the processor time they take",
    value: (2e6 * RECORDS) / cpuUs(TWO),
    unit,
    limit: 1.7,
    ratio: (2 * cpuUs(ONE)) / cpuUs(TWO),
  });
  return rows;
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
