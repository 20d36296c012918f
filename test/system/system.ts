/** `varve local` as its own process, the way a person starts it, for tests of the whole. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openChangelog } from "../../reader/changelog.ts";
import type { ChangeRow } from "../../reader/scan.ts";
import type { Report } from "../../reader/verify.ts";
import { verify } from "../../reader/verify.ts";
import { openTable } from "../../cli/table.ts";
import type { Environment } from "../../cli/target.ts";
import { openTargetStore, targetEnvironment } from "../../cli/target.ts";
import type { Running } from "../../local/running.ts";
import { eventually, startLocal } from "../local/system.ts";

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
  const { running, events, stop } = await startLocal(dataDir, ...options);
  const startsOf = (part: PartName) =>
    events.filter(({ event, part: started }) => event === "started" && started === part);
  const pidOf = (part: PartName): number =>
    Number(startsOf(part).at(-1)?.["pid"] ?? running.processes[part] ?? raise(`${part} has no process`));
  return {
    running,
    pidOf,
    stop,
    kill: async (part) => {
      const starts = startsOf(part).length;
      process.kill(-pidOf(part), "SIGKILL");
      await eventually(`${part} is started again`, () => startsOf(part).length > starts);
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

export const allRows = (dataDir: string): Promise<ChangeRow[]> => rowsOf(targetEnvironment({}, dataDir));

/** Every row up to the watermark. */
export async function rowsOf(environment: Environment): Promise<ChangeRow[]> {
  const store = openTargetStore(environment);
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
