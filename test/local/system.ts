/** `varve local` as a user starts it, for tests: a process, its output, and all it ever started. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, readdirSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { OWNER_VARIABLE } from "../../local/data-dir.ts";
import { Running } from "../../local/running.ts";

const PROJECT = join(import.meta.dirname, "..", "..");
const START_MS_MAX = 45_000;

export type Started = {
  readonly running: Running;
  readonly process: ChildProcess;
  readonly stderr: () => string;
  /** Objects on stdout after the first. */
  readonly events: readonly Readonly<Record<string, unknown>>[];
  readonly stop: () => Promise<number | null>;
};

const dataDirs: string[] = [];

export function newDataDir(): string {
  const dataDir = realpathSync(mkdtempSync(join(tmpdir(), "varve-local-")));
  dataDirs.push(dataDir);
  return dataDir;
}

export function removeDataDirs(): void {
  for (const dataDir of dataDirs.splice(0)) rmSync(dataDir, { recursive: true, force: true });
}

export function spawnVarve(args: readonly string[]): ChildProcess {
  return spawn(process.execPath, [join(PROJECT, "cli", "main.ts"), ...args], {
    cwd: PROJECT,
    stdio: ["ignore", "pipe", "pipe"],
  });
}

export type Ended = { readonly code: number | null; readonly stdout: string; readonly stderr: string };

/** Runs a command to its end. */
export async function varve(...args: readonly string[]): Promise<Ended> {
  return collect(spawnVarve(args));
}

export async function runScript(script: string, ...args: readonly string[]): Promise<Ended> {
  return collect(
    spawn(process.execPath, [join(PROJECT, script), ...args], {
      cwd: PROJECT,
      stdio: ["ignore", "pipe", "pipe"],
    }),
  );
}

async function collect(child: ChildProcess): Promise<Ended> {
  const texts = { stdout: "", stderr: "" };
  child.stdout?.on("data", (chunk: Buffer) => (texts.stdout += chunk.toString()));
  child.stderr?.on("data", (chunk: Buffer) => (texts.stderr += chunk.toString()));
  await once(child, "close");
  return { code: child.exitCode, ...texts };
}

/** Starts the system on free ports and waits for its first line. */
export async function startLocal(dataDir: string, ...more: readonly string[]): Promise<Started> {
  const child = spawnVarve(["local", "--port", "0", "--data", dataDir, "--json", ...more]);
  let stderr = "";
  child.stderr?.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  const events: Record<string, unknown>[] = [];
  const { promise: first, resolve, reject } = Promise.withResolvers<Running>();
  let isFirst = true;
  if (child.stdout !== null) {
    createInterface({ input: child.stdout }).on("line", (line) => {
      if (isFirst) resolve(Running.parse(JSON.parse(line)));
      else events.push(JSON.parse(line) as Record<string, unknown>);
      isFirst = false;
    });
  }
  child.once("exit", (code) => reject(new Error(`ended with ${String(code)}: ${stderr}`)));
  const tooLong = setTimeout(() => reject(new Error(`not ready: ${stderr}`)), START_MS_MAX);
  try {
    return {
      running: await first,
      process: child,
      stderr: () => stderr,
      events,
      stop: () => end(child, "SIGTERM"),
    };
  } finally {
    clearTimeout(tooLong);
  }
}

/** Ends the process unless it has ended; its exit code. */
export async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) {
    child.kill(signal);
    await once(child, "exit");
  }
  return child.exitCode;
}

/** Every live process that a supervisor of this directory has started, directly or not: pid and command. */
export function processesOf(dataDir: string): ReadonlyMap<number, string> {
  const found = new Map<number, string>();
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    const environment = readProc(entry, "environ").split("\0");
    if (!environment.includes(`${OWNER_VARIABLE}=${dataDir}`)) continue;
    found.set(Number(entry), readProc(entry, "cmdline").replaceAll("\0", " "));
  }
  return found;
}

/** The pids of the workerd that serves this address. */
export function workerdOf(dataDir: string, address: string): readonly number[] {
  const { host } = new URL(address);
  return [...processesOf(dataDir)]
    .filter(([, command]) => command.includes(`--socket-addr=entry=${host}`))
    .map(([pid]) => pid);
}

function readProc(pid: string, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, "utf8");
  } catch {
    return "";
  }
}

/** Waits until `holds`; throws after `msMax`. */
export async function eventually(
  what: string,
  holds: () => boolean | Promise<boolean>,
  msMax = 40_000,
): Promise<void> {
  const untilMs = Date.now() + msMax;
  while (!(await holds())) {
    if (Date.now() > untilMs) throw new Error(`not within ${msMax} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
