/** A worker in a workerd of its own, so that its CPU can be read from the process. */
import { readdirSync, readFileSync } from "node:fs";
import { build } from "esbuild";
import { convertV4MiniflareOptions, Miniflare } from "miniflare";

export type WorkerHost = {
  readonly url: string;
  /** User and system time of the whole process so far. */
  readonly cpuMs: () => number;
  /** Memory in use, bytes. */
  readonly memoryBytes: () => number;
  readonly kv: (namespace: string, key: string, value: string) => Promise<void>;
  readonly stop: () => Promise<void>;
};

export async function bundle(entry: string): Promise<string> {
  const built = await build({
    entryPoints: [entry],
    bundle: true,
    format: "esm",
    target: "es2024",
    conditions: ["workerd", "worker", "browser"],
    minify: false,
    write: false,
    external: ["node:*", "cloudflare:*"],
  });
  const [output] = built.outputFiles;
  if (output === undefined) throw new Error(`esbuild made nothing of ${entry}`);
  return output.text;
}

function childrenOf(parent: number): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
        const [, ppid] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
        return Number(ppid) === parent;
      } catch {
        return false;
      }
    });
}

/** Linux counts in hundredths of a second. */
const MS_PER_TICK = 10;

function cpuMsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * MS_PER_TICK;
}

function residentBytes(pid: number): number {
  const match = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(match?.[1] ?? 0) * 1024;
}

export type WorkerOptions = {
  readonly script: string;
  readonly bindings?: Readonly<Record<string, string>>;
  readonly kvNamespaces?: readonly string[];
};

export async function startWorker(options: WorkerOptions): Promise<WorkerHost> {
  const before = new Set(childrenOf(process.pid));
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      name: "measured",
      modules: true,
      script: options.script,
      compatibilityDate: "2026-10-01",
      bindings: { ...options.bindings },
      kvNamespaces: [...(options.kvNamespaces ?? [])],
      // Past Miniflare's own entry worker, whose work would be counted as ours.
      unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }],
    }),
  );
  await miniflare.ready;
  const url = (await miniflare.unsafeGetDirectURL("measured")).href.replace(/\/$/, "");
  const pid = childrenOf(process.pid).find(
    (child) => !before.has(child) && readFileSync(`/proc/${child}/comm`, "utf8").startsWith("workerd"),
  );
  if (pid === undefined) throw new Error("no workerd was started");
  return {
    url,
    cpuMs: () => cpuMsOf(pid),
    memoryBytes: () => residentBytes(pid),
    kv: async (namespace, key, value) => {
      const store = await miniflare.getKVNamespace(namespace);
      await store.put(key, value);
    },
    stop: () => miniflare.dispose(),
  };
}
