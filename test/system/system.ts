/** `varve local` as its own process, the way a person starts it, for tests of the whole. */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { openChangelog } from "../../reader/changelog.ts";
import type { ChangeRow } from "../../reader/scan.ts";
import type { Report } from "../../reader/verify.ts";
import { verify } from "../../reader/verify.ts";
import { openTable } from "../../cli/table.ts";
import { openTargetStore, targetEnvironment } from "../../cli/target.ts";
import { Running } from "../../local/running.ts";

const CLI = join(import.meta.dirname, "../../cli/main.ts");
const READY_MS_MAX = 60_000;
const STOP_MS_MAX = 40_000;
const DAY_MS = 86_400_000;

export type PartName = "dynamodb" | "s3" | "edge" | "compactor";

export type RunningSystem = {
  readonly running: Running;
  /** The part's process now; it changes when the part is started again. */
  readonly pidOf: (part: PartName) => number;
  /** kill -9 of one part, its own children included; resolves once it was started again. */
  readonly kill: (part: PartName) => Promise<void>;
  /** SIGTERM; resolves to the exit code. */
  readonly stop: () => Promise<number | null>;
};

export async function startSystem(dataDir: string, options: readonly string[] = []): Promise<RunningSystem> {
  const child = spawn(
    process.execPath,
    [CLI, "local", "--json", "--port", "0", "--data", dataDir, ...options],
    {
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  const complaints: string[] = [];
  createInterface({ input: child.stderr }).on("line", (line) => complaints.push(line));
  const exited = new Promise<number | null>((resolve) => {
    child.on("exit", (code) => resolve(code));
  });
  const lines = createInterface({ input: child.stdout });
  const pids = new Map<string, number>();
  const waiting = new Map<string, () => void>();
  const running = await new Promise<Running>((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      reject(new Error(`varve local was not ready in ${READY_MS_MAX} ms: ${complaints.join("\n")}`));
    }, READY_MS_MAX);
    void exited.then(() => reject(new Error(`varve local ended: ${complaints.join("\n")}`)));
    let first = true;
    lines.on("line", (line) => {
      const json: unknown = JSON.parse(line);
      if (first) {
        first = false;
        clearTimeout(timer);
        const parsed = Running.parse(json);
        for (const [part, pid] of Object.entries(parsed.processes)) pids.set(part, pid);
        resolve(parsed);
        return;
      }
      const event = json as { readonly event?: string; readonly part?: string; readonly pid?: number };
      if (event.event !== "started" || event.part === undefined || event.pid === undefined) return;
      pids.set(event.part, event.pid);
      waiting.get(event.part)?.();
    });
  });
  const pidOf = (part: PartName): number => pids.get(part) ?? raise(`${part} has no process`);
  return {
    running,
    pidOf,
    kill: async (part) => {
      const restarted = new Promise<void>((resolve) => {
        waiting.set(part, resolve);
      });
      process.kill(-pidOf(part), "SIGKILL");
      await restarted;
      waiting.delete(part);
    },
    stop: async () => {
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), STOP_MS_MAX);
      const code = await exited;
      clearTimeout(timer);
      return code;
    },
  };
}

function raise(what: string): never {
  throw new Error(what);
}

export function makeDataDir(): { readonly dir: string; readonly remove: () => void } {
  const dir = mkdtempSync(join(tmpdir(), "varve-test-"));
  return { dir, remove: () => rmSync(dir, { recursive: true, force: true }) };
}

/** Waits until every change made so far is committed: the watermark has passed this moment. */
export async function settle(dataDir: string): Promise<void> {
  const store = openTargetStore(targetEnvironment({}, dataDir));
  const nowMs = Date.now();
  try {
    for (let attempt = 0; attempt < 600; attempt += 1) {
      // A part that was just killed may not be back yet.
      const watermarkMs = await openChangelog(store)
        .then((changelog) => changelog.snapshot())
        .then(
          ({ log }) => log.watermarkMs,
          () => 0,
        );
      if (watermarkMs > nowMs) return;
      await pause(100);
    }
    raise(`the watermark did not pass ${nowMs} in a minute`);
  } finally {
    store.close();
  }
}

export async function allRows(dataDir: string): Promise<ChangeRow[]> {
  const store = openTargetStore(targetEnvironment({}, dataDir));
  try {
    const changelog = await openChangelog(store);
    const { rows } = await changelog.changesSince({ kind: "time", ms: 0 });
    return await Array.fromAsync(rows);
  } finally {
    store.close();
  }
}

export async function verifySystem(dataDir: string): Promise<Report> {
  const environment = targetEnvironment({}, dataDir);
  const store = openTargetStore(environment);
  const table = await openTable(environment);
  try {
    return await verify(store, {
      table,
      nowMs: Date.now,
      sleep: pause,
      dedupeMs: 7 * DAY_MS,
      settleMs: 60_000,
    });
  } finally {
    table.close();
    store.close();
  }
}

export const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms);
  });

export async function post(
  { endpoint, writeKey }: Running,
  path: string,
  body: unknown,
): Promise<{ readonly status: number; readonly json: unknown }> {
  const answer = await fetch(`${endpoint}${path}`, {
    method: "POST",
    headers: { authorization: `Basic ${btoa(`${writeKey}:`)}` },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
  return { status: answer.status, json: await answer.json() };
}
