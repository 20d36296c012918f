/**
 * A worker in a workerd of its own, so that its CPU can be read from the process. Not through Miniflare,
 * whose emulation runs each request and each subrequest through a worker of its own as well, which would be
 * counted as ours.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../local/ports.ts";
import type { WorkerModule } from "../local/worker-bundle.ts";
import { cpuMsOf } from "./processor.ts";

/** The `workerd` package says where its binary is, and has no types. */
const { default: workerdPath } = createRequire(import.meta.url)("workerd") as { readonly default: string };

export type WorkerHost = {
  readonly url: string;
  /** User and system time of the whole process so far. */
  readonly cpuMs: () => number;
  /** Memory in use, bytes. */
  readonly memoryBytes: () => number;
  /** What it wrote to stderr: the worker's log, and the runtime's own complaints. */
  readonly errors: () => string;
  readonly stop: () => Promise<void>;
};

const ERRORS_MAX = 1_000_000;

function residentBytes(pid: number): number {
  const match = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(match?.[1] ?? 0) * 1024;
}

export type WorkerOptions = {
  /** The first is the main one; or its code alone. */
  readonly modules: readonly WorkerModule[] | string;
  readonly bindings?: Readonly<Record<string, string>>;
  /** KV namespaces, each with what it holds. */
  readonly kv?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** V8's own, such as `--max-heap-size`. */
  readonly v8Flags?: readonly string[];
};

function modulesOf(modules: WorkerOptions["modules"]): readonly WorkerModule[] {
  if (typeof modules !== "string") return modules;
  return [{ name: "worker.js", kind: "esm", contents: Uint8Array.from(new TextEncoder().encode(modules)) }];
}

const quote = (text: string): string => JSON.stringify(text);

/** Workers KV as a service: what a `kvNamespace` binding asks over HTTP. */
const kvScript = (
  values: Readonly<Record<string, string>>,
): string => `const values = ${JSON.stringify(values)};
export default {
  fetch(request) {
    const value = values[decodeURIComponent(new URL(request.url).pathname.slice(1))];
    return value === undefined ? new Response(null, { status: 404 }) : new Response(value);
  },
};`;

function configText(options: WorkerOptions, modules: readonly WorkerModule[]): string {
  const text = Object.entries(options.bindings ?? {}).map(
    ([name, value]) => `(name = ${quote(name)}, text = ${quote(value)})`,
  );
  const names = Object.keys(options.kv ?? {});
  const kv = names.map((name) => `(name = ${quote(name)}, kvNamespace = ${quote(`kv-${name}`)})`);
  const services = names.map(
    (name) =>
      `(name = ${quote(`kv-${name}`)}, worker = (modules = [(name = "kv", esModule = embed ${quote(`kv-${name}.js`)})], compatibilityDate = "2026-10-01"))`,
  );
  const parts = modules.map(
    ({ name, kind }) =>
      `(name = ${quote(name)}, ${kind === "esm" ? "esModule" : "wasm"} = embed ${quote(name)})`,
  );
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  v8Flags = [${(options.v8Flags ?? []).map(quote).join(", ")}],
  services = [
    (name = "main", worker = (
      modules = [${parts.join(", ")}],
      compatibilityDate = "2026-10-01",
      bindings = [${[...text, ...kv].join(", ")}],
      globalOutbound = "loopback")),
    (name = "loopback", network = (allow = ["local"])),
    ${services.join(",\n    ")}
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")]
);`;
}

async function answers(url: string): Promise<boolean> {
  try {
    await (await fetch(url)).arrayBuffer();
    return true;
  } catch {
    return false;
  }
}

/** What is to be taken away when this process ends before it has stopped its workers. */
const running = new Set<() => void>();
process.once("exit", () => {
  for (const end of running) end();
});

export async function startWorker(options: WorkerOptions): Promise<WorkerHost> {
  const folder = mkdtempSync(join(tmpdir(), "varve-bench-"));
  const removeFolder = (): void => rmSync(folder, { recursive: true, force: true });
  running.add(removeFolder);
  const modules = modulesOf(options.modules);
  for (const { name, contents } of modules) writeFileSync(join(folder, name), contents);
  for (const [name, values] of Object.entries(options.kv ?? {})) {
    writeFileSync(join(folder, `kv-${name}.js`), kvScript(values));
  }
  const config = join(folder, "config.capnp");
  writeFileSync(config, configText(options, modules));
  const port = await freePort();
  const child = spawn(workerdPath, ["serve", config, "--socket-addr", `http=127.0.0.1:${port}`], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let errors = "";
  child.stderr.on("data", (chunk: Buffer) => {
    errors = (errors + chunk.toString()).slice(-ERRORS_MAX);
  });
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const kill = (): boolean => child.kill("SIGKILL");
  running.add(kill);
  const stop = async (): Promise<void> => {
    kill();
    await exited;
    removeFolder();
    running.delete(kill);
    running.delete(removeFolder);
  };
  const url = `http://127.0.0.1:${port}`;
  for (let attempt = 0; !(await answers(`${url}/healthz`)); attempt++) {
    if (attempt > 100 || child.exitCode !== null) {
      await stop();
      throw new Error(`workerd did not start: ${errors}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const pid = child.pid ?? 0;
  return {
    url,
    cpuMs: () => cpuMsOf(pid),
    memoryBytes: () => residentBytes(pid),
    errors: () => errors,
    stop,
  };
}
