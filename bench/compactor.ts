/**
 * The compactor's CPU time a record, from GetRecords answers to committed Parquet on S3, against two yardsticks
 * measured in the same run: fetch + JSON.parse of the same answers, and the SDK's GetRecords of them.
 *
 * Processor time of the reading process alone, because machines are shared; the stream and S3 are served by
 * processes of their own. The three take turns, and the median of their rounds stands.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Child } from "./child.ts";
import { startChild } from "./child.ts";
import type { BenchRow } from "./report.ts";
import { median } from "./report.ts";

const CONTESTANTS = ["fetch", "sdk", "compactor"] as const;
export type ContestantName = (typeof CONTESTANTS)[number];

export type Contest = {
  readonly name: ContestantName;
  readonly streams: string;
  readonly s3: string;
  readonly bucket: string;
  readonly s3Credentials: { readonly accessKeyId: string; readonly secretAccessKey: string };
  readonly flushBytes: number;
};
export type Round = { readonly records: number; readonly cpuUs: number };

const PAGES = 100;
const ROUNDS = 5;
const FLUSH_BYTES = 64 * 1024 ** 2;
/** The SDK takes so long that a part of the stream must do. */
const RECORDS_MAX: Readonly<Record<ContestantName, number>> = {
  fetch: 100_000,
  sdk: 30_000,
  compactor: 100_000,
};

export async function benchCompactor(progress: (what: string) => void): Promise<BenchRow[]> {
  const dir = await mkdtemp(join(tmpdir(), "varve-bench-"));
  const children: Child[] = [];
  const start = async (
    file: string,
    args: readonly string[],
    env?: Record<string, string>,
  ): Promise<Child> => {
    const child = await startChild(join(import.meta.dirname, file), args, env);
    children.push(child);
    return child;
  };
  try {
    progress(`making ${PAGES} pages of 1,000 records`);
    const s3Credentials = { accessKeyId: "bench", secretAccessKey: "bench-secret" };
    const bucket = "changelog";
    const streams = await start("canned-server.ts", [String(PAGES)]);
    const s3 = await start("s3-server.ts", [dir, bucket, ...Object.values(s3Credentials)]);
    const contestants = new Map<ContestantName, Child>();
    for (const name of CONTESTANTS) {
      const contest: Contest = {
        name,
        streams: (streams.ready as { endpoint: string }).endpoint,
        s3: (s3.ready as { endpoint: string }).endpoint,
        bucket,
        s3Credentials,
        flushBytes: FLUSH_BYTES,
      };
      contestants.set(
        name,
        await start("contestant.ts", [JSON.stringify(contest)], { ...CREDENTIALS, TMPDIR: dir }),
      );
    }
    return rowsOf(await contend(contestants, progress));
  } finally {
    await Promise.all(children.map((child) => child.stop()));
    await rm(dir, { recursive: true, force: true });
  }
}

const CREDENTIALS = { AWS_ACCESS_KEY_ID: "bench", AWS_SECRET_ACCESS_KEY: "bench", AWS_PROFILE: "" };

/** Microseconds of processor time a record, by contestant. */
type Costs = Readonly<Record<ContestantName, readonly number[]>>;

async function contend(
  contestants: ReadonlyMap<ContestantName, Child>,
  progress: (what: string) => void,
): Promise<Costs> {
  const costs: Record<ContestantName, number[]> = { fetch: [], sdk: [], compactor: [] };
  // Round 0 warms up: compiled code, open connections, the compactor's memory.
  for (let round = 0; round <= ROUNDS; round += 1) {
    for (const [name, child] of contestants) {
      progress(`round ${round} of ${ROUNDS}: ${name}`);
      const { records, cpuUs } = (await child.ask({ recordsMax: RECORDS_MAX[name] })) as Round;
      if (records !== RECORDS_MAX[name])
        throw new Error(`${name} read ${records} records of ${RECORDS_MAX[name]}`);
      if (round > 0) costs[name].push(cpuUs / records);
    }
  }
  return costs;
}

function rowsOf(costs: Costs): BenchRow[] {
  const perCore = (name: ContestantName): number => 1e6 / median(costs[name]);
  const [fetched, bySdk, compacted] = [perCore("fetch"), perCore("sdk"), perCore("compactor")];
  const unit = "records/s/core";
  return [
    { name: "fetch + JSON.parse of GetRecords", value: fetched, unit, limit: null, ratio: null },
    { name: "SDK's GetRecords", value: bySdk, unit, limit: null, ratio: bySdk / fetched },
    {
      name: "compactor, against fetch + JSON.parse",
      value: compacted,
      unit,
      limit: 0.6,
      ratio: compacted / fetched,
    },
    {
      name: "compactor, against the SDK's GetRecords",
      value: compacted,
      unit,
      limit: 3,
      ratio: compacted / bySdk,
    },
  ];
}
