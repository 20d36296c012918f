/** `varve compactor` as processes of their own, over the stream server and Miniflare's R2 as processes too. */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { startChild } from "../../bench/child.ts";
import { openS3Store } from "../../shared/aws/s3.ts";
import { loadSnapshot, readCommits } from "../../shared/log.ts";
import { SHARD_DOMAIN } from "../../shared/position.ts";
import type { Snapshot } from "../../shared/snapshot.ts";
import type { ObjectStore } from "../../shared/store.ts";
import type { Truth } from "../sim/truth.ts";
import type { Command, ShardState, State } from "../streams-server/commands.ts";

const CLI = join(import.meta.dirname, "../../cli/main.ts");
const BUCKET = "changelog";
const KEYS = { accessKeyId: "local", secretAccessKey: "local-secret" };

export type LogLine = {
  readonly msg: string;
  readonly version?: number;
  readonly [field: string]: unknown;
};

export type Worker = {
  readonly name: string;
  readonly pid: number;
  readonly lines: readonly LogLine[];
  readonly signal: (signal: NodeJS.Signals) => void;
  /** The exit code; null after a signal. */
  readonly exited: Promise<number | null>;
  /** Resident memory at its highest so far, bytes. */
  readonly peakBytes: () => number;
};

export type Fleet = {
  readonly command: (...commands: readonly Command[]) => Promise<void>;
  readonly shards: (table: string) => Promise<readonly ShardState[]>;
  readonly calls: () => Promise<State["calls"]>;
  readonly changesOf: (table: string) => Promise<Truth["changes"]>;
  readonly start: (name: string, table: string, env?: Readonly<Record<string, string>>) => Worker;
  readonly storeOf: (table: string) => ObjectStore;
  readonly close: () => Promise<void>;
};

export async function openFleet(seed: number): Promise<Fleet> {
  const dir = mkdtempSync(join(tmpdir(), "varve-fleet-"));
  const streams = await startChild(join(import.meta.dirname, "../streams-server/main.ts"), [String(seed)]);
  const s3 = await startChild(join(import.meta.dirname, "../../bench/s3-server.ts"), [
    dir,
    BUCKET,
    ...Object.values(KEYS),
  ]);
  const { endpoint } = streams.ready as { readonly endpoint: string };
  const s3Endpoint = (s3.ready as { readonly endpoint: string }).endpoint;
  const workers = new Set<Worker>();
  const stores = new Map<string, ReturnType<typeof openS3Store>>();
  const get = async <T>(path: string): Promise<T> =>
    (await (await fetch(`${endpoint}/control${path}`)).json()) as T;

  return {
    command: async (...commands) => {
      const answer = await fetch(`${endpoint}/control`, { method: "POST", body: JSON.stringify(commands) });
      if (!answer.ok) throw new Error(`the stream server refused: ${await answer.text()}`);
    },
    shards: async (table) => {
      const { shards } = await get<State>("");
      return shards.filter(({ arn }) => arn.includes(`:table/${table}/`));
    },
    calls: async () => (await get<State>("")).calls,
    changesOf: async (table) => new Map(await get<[string, never][]>(`/truth/${table}`)),
    start: (name, table, env = {}) => {
      const worker = startWorker(name, {
        DYNAMODB_TABLE: table,
        DYNAMODB_ENDPOINT: endpoint,
        DYNAMODB_STREAMS_ENDPOINT: endpoint,
        VARVE_CHANGELOG: `s3://${BUCKET}/${table}`,
        S3_ENDPOINT: s3Endpoint,
        S3_REGION: "auto",
        S3_ACCESS_KEY_ID: KEYS.accessKeyId,
        S3_SECRET_ACCESS_KEY: KEYS.secretAccessKey,
        VARVE_THREADS: "1",
        VARVE_FLUSH: "1s",
        ...env,
      });
      workers.add(worker);
      return worker;
    },
    storeOf: (table) => {
      const store =
        stores.get(table) ??
        openS3Store({
          bucket: BUCKET,
          prefix: `${table}/`,
          region: "auto",
          endpoint: s3Endpoint,
          credentials: KEYS,
        });
      stores.set(table, store);
      return store;
    },
    close: async () => {
      for (const worker of workers) worker.signal("SIGKILL");
      await Promise.all([...workers].map(({ exited }) => exited));
      for (const store of stores.values()) store.close();
      await Promise.all([streams.stop(), s3.stop()]);
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

function startWorker(name: string, env: Readonly<Record<string, string>>): Worker {
  const child = spawn(process.execPath, [CLI, "compactor"], {
    env: {
      ...process.env,
      AWS_ACCESS_KEY_ID: "local",
      AWS_SECRET_ACCESS_KEY: "local",
      AWS_REGION: "us-east-1",
      ...env,
    },
    stdio: ["ignore", "ignore", "pipe"],
  });
  const lines: LogLine[] = [];
  createInterface({ input: child.stderr }).on("line", (line) => lines.push(parseLine(line)));
  const { pid } = child;
  if (pid === undefined) throw new Error(`${name} did not start`);
  let peak = 0;
  return {
    name,
    pid,
    lines,
    signal: (signal) => void child.kill(signal),
    exited: new Promise((resolve) => {
      child.on("exit", (code) => resolve(code));
    }),
    peakBytes: () => {
      try {
        const kilobytes = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
        peak = Math.max(peak, Number(kilobytes ?? 0) * 1024);
      } catch {
        // It has ended: what was read last stands.
      }
      return peak;
    },
  };
}

function parseLine(line: string): LogLine {
  try {
    return JSON.parse(line) as LogLine;
  } catch {
    return { msg: line };
  }
}

/** Which worker committed which shards, from a version on. */
export async function carriers(
  store: ObjectStore,
  workers: readonly Worker[],
  afterVersion: number,
): Promise<ReadonlyMap<string, ReadonlySet<string>>> {
  const byVersion = new Map<number, string>();
  for (const { name, lines } of workers) {
    for (const { msg, version } of lines) {
      if (msg === "committed" && version !== undefined) byVersion.set(version, name);
    }
  }
  const carried = new Map<string, Set<string>>(workers.map(({ name }) => [name, new Set()]));
  for await (const { version, actions } of readCommits(store, afterVersion)) {
    const shards = carried.get(byVersion.get(version) ?? "");
    for (const action of actions) {
      if (!("domainMetadata" in action)) continue;
      const { domain } = action.domainMetadata;
      if (domain.startsWith(SHARD_DOMAIN)) shards?.add(domain.slice(SHARD_DOMAIN.length));
    }
  }
  return carried;
}

export const versionOf = async (store: ObjectStore): Promise<number> =>
  (await loadSnapshot(store))?.version ?? -1;

export const openShards = (snapshot: Snapshot | null): readonly string[] =>
  [...(snapshot?.shards ?? [])].filter(([, { done }]) => !done).map(([shard]) => shard);
