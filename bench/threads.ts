/**
 * Two threads against one: records a second by the clock, from canned GetRecords answers to commits on S3, by the
 * command itself. The stream and S3 are served by processes of their own, on the same cores: what they take, the
 * compactors lack.
 *
 * A compactor of one thread uses more than one core where it can, for V8 collects garbage beside it. So it runs twice:
 * held to one core, which is a core against two, and beside it on all that two threads have. All run at once, and all
 * but one are stopped at any time, each in its turn for some seconds: other work on the machine slows a round's
 * turns alike, and no turn is spent on compiling.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Child } from "./child.ts";
import { startChild } from "./child.ts";
import { cpuMsOf, hold } from "./processor.ts";
import type { BenchRow } from "./report.ts";
import { median } from "./report.ts";

/** More than is read: some 9 million records. */
const PAGES = 90;
const SHARDS = 96;
const WARM_ROUNDS = 3;
const ROUNDS = 10;
const TURN_MS = 4_000;
/** Records by the clock, ms of the processor. */
type Turn = { readonly records: number; readonly ms: number; readonly cpuMs: number };
type Runner = { readonly turn: () => Promise<Turn>; readonly stop: () => Promise<void> };

const CONTESTS = {
  "one thread, on one core": { threads: 1, cores: 1 },
  "one thread, on two cores": { threads: 1, cores: 2 },
  "two threads, on two cores": { threads: 2, cores: 2 },
} as const;
type ContestName = keyof typeof CONTESTS;

/** Two minutes and a half. Loopback only. */
export async function benchThreads(progress: (what: string) => void): Promise<BenchRow[]> {
  const s3 = await startChild(join(import.meta.dirname, "log-s3-server.ts"), []);
  const runners = new Map<ContestName, Runner>();
  const turns: Record<ContestName, Turn>[] = [];
  try {
    for (const name of Object.keys(CONTESTS) as ContestName[]) runners.set(name, await start(name, s3));
    for (let round = 0; round < WARM_ROUNDS + ROUNDS; round += 1) {
      progress(round < WARM_ROUNDS ? "warming up" : `round ${round - WARM_ROUNDS + 1} of ${ROUNDS}`);
      const taken: [ContestName, Turn][] = [];
      for (const [name, { turn }] of runners) taken.push([name, await turn()]);
      if (round >= WARM_ROUNDS) turns.push(Object.fromEntries(taken) as Record<ContestName, Turn>);
    }
  } finally {
    await Promise.all([...runners.values()].map(({ stop }) => stop()));
    await s3.stop();
  }
  return rowsOf(turns);
}

/** `varve compactor` over a stream of its own, stopped but for its turns. */
async function start(name: ContestName, s3: Child): Promise<Runner> {
  const { threads, cores } = CONTESTS[name];
  const streams = await startChild(join(import.meta.dirname, "canned-server.ts"), [
    String(PAGES),
    String(SHARDS),
  ]);
  const compactor = spawn(process.execPath, [join(import.meta.dirname, "../cli/main.ts"), "compactor"], {
    env: {
      ...process.env,
      VARVE_CHANGELOG: `s3://changelog/bench/${name.replaceAll(/[ ,]+/g, "-")}`,
      S3_ENDPOINT: (s3.ready as { endpoint: string }).endpoint,
      S3_ACCESS_KEY_ID: "bench",
      S3_SECRET_ACCESS_KEY: "bench-secret",
      AWS_ACCESS_KEY_ID: "bench",
      AWS_SECRET_ACCESS_KEY: "bench",
      DYNAMODB_TABLE: "bench",
      DYNAMODB_ENDPOINT: (streams.ready as { endpoint: string }).endpoint,
      VARVE_THREADS: String(threads),
      VARVE_MERGE: "off",
    },
    stdio: ["ignore", "ignore", "ignore"],
  });
  const pid = compactor.pid ?? 0;
  hold(pid, cores);
  compactor.kill("SIGSTOP");
  const records = async (): Promise<number> =>
    ((await streams.ask({})) as { readonly records: number }).records;
  return {
    turn: async () => {
      const [beforeMs, before, cpuMs] = [performance.now(), await records(), cpuMsOf(pid)];
      compactor.kill("SIGCONT");
      await sleep(TURN_MS);
      compactor.kill("SIGSTOP");
      if (compactor.exitCode !== null) throw new Error(`the compactor ended with code ${compactor.exitCode}`);
      return {
        records: (await records()) - before,
        ms: performance.now() - beforeMs,
        cpuMs: cpuMsOf(pid) - cpuMs,
      };
    },
    stop: async () => {
      await kill(compactor);
      await streams.stop();
    },
  };
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGKILL");
  await once(child, "exit");
}

function rowsOf(turns: readonly Record<ContestName, Turn>[]): BenchRow[] {
  const pace = ({ records, ms }: Turn): number => (1000 * records) / ms;
  const perCore = ({ records, cpuMs }: Turn): number => (1000 * records) / cpuMs;
  const of = (name: ContestName, figure: (turn: Turn) => number): number[] =>
    turns.map((turn) => figure(turn[name]));
  const two = of("two threads, on two cores", pace);
  const against = (others: readonly number[], ours = two): number =>
    median(ours.map((value, round) => value / (others[round] ?? Number.NaN)));
  const row = (name: string, values: readonly number[], ratio: number | null = null): BenchRow => ({
    name,
    value: median(values),
    unit: "records/s",
    limit: ratio === null ? null : 1.7,
    ratio,
  });
  const [one, free] = [of("one thread, on one core", pace), of("one thread, on two cores", pace)];
  // Twice what a core's time brings: what two threads would do where the servers take none of it.
  const [alone, both] = [of("one thread, on one core", perCore), of("two threads, on two cores", perCore)];
  return [
    row("one thread, on one core", one),
    row("two threads, on two cores, against it", two, against(one)),
    row("one thread, on two cores", free),
    row("two threads, on two cores, against it", two, against(free)),
    row(
      "two threads, by processor time, against one on one core",
      both.map((value) => 2 * value),
      2 * against(alone, both),
    ),
  ];
}
