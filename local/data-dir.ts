/**
 * The data directory: who holds it, and what outlives a run.
 *
 * - local.lock    held by the one supervisor, as a lock of the operating system: it goes with
 *                 the process, however that ends
 * - state.json    write key and S3 credentials, made once
 * - local.json    how to reach the running system; there while it runs
 * - dynamodb.sqlite, s3/, kv/   what the parts keep
 */
import { randomBytes } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { z } from "zod";
import { VarveError, describeError } from "../shared/errors.ts";
import { readRunning } from "./running.ts";

const State = z.object({
  writeKey: z.string().min(1),
  s3AccessKeyId: z.string().min(1),
  s3SecretAccessKey: z.string().min(1),
});
export type State = z.infer<typeof State>;

/** What this process and its children make from here on is its owner's alone: keys, and everybody's events. */
export const keepPrivate = (): void => void process.umask(0o077);

/** The directory's one true path, made if need be. */
export function openDataDir(path: string): string {
  const dataDir = resolve(path);
  try {
    makeDirectory(dataDir);
    return realpathSync(dataDir);
  } catch (error) {
    throw unusable(dataDir, error);
  }
}

/** Step by step: Node's recursive mkdir never ends where one level is refused with ENOENT, as /proc does. */
function makeDirectory(path: string): void {
  if (existsSync(path)) return;
  makeDirectory(dirname(path));
  try {
    mkdirSync(path);
  } catch (error) {
    if (!existsSync(path)) throw error;
  }
}

const SQLITE_BUSY = 5;

export type DataDirLock = {
  /** False when the directory, and the lock with it, was removed. */
  readonly stands: () => boolean;
  readonly release: () => void;
};

export function lockDataDir(dataDir: string): DataDirLock {
  const path = join(dataDir, "local.lock");
  let lock: DatabaseSync | undefined;
  try {
    lock = new DatabaseSync(path);
    lock.exec("BEGIN EXCLUSIVE");
  } catch (error) {
    lock?.close();
    const isBusy = error instanceof Error && "errcode" in error && error.errcode === SQLITE_BUSY;
    throw isBusy ? alreadyRunning(dataDir, error) : unusable(dataDir, error);
  }
  const held = lock;
  const { ino } = statSync(path);
  return {
    stands: () => statSync(path, { throwIfNoEntry: false })?.ino === ino,
    release: () => {
      held.close();
    },
  };
}

function alreadyRunning(dataDir: string, cause: unknown): VarveError {
  const running = readRunning(dataDir);
  const who = running === undefined ? "" : ` (process ${running.pid}, ${running.endpoint})`;
  return new VarveError(
    "already_running",
    `Varve is already running on ${dataDir}${who}.`,
    "Use that one, stop it, or name another data directory: --data <directory>.",
    cause,
  );
}

function unusable(dataDir: string, cause: unknown): VarveError {
  return new VarveError(
    "data_dir_unusable",
    `The data directory ${dataDir} cannot be written: ${describeError(cause)}.`,
    "Name another one: --data <directory>.",
    cause,
  );
}

/** The variable every child carries, and hands on to its own children: whose they are. */
export const OWNER_VARIABLE = "VARVE_LOCAL_DATA";

/**
 * Kills what an earlier supervisor of this directory left behind. To be called with the lock
 * held: then nothing that carries the directory's mark has a supervisor. How many there were.
 */
export function killLeftovers(dataDir: string): number {
  const mark = `${OWNER_VARIABLE}=${dataDir}`;
  let left = 0;
  for (const entry of listProcesses()) {
    if (entry === process.pid || !readEnvironment(entry).includes(mark)) continue;
    try {
      process.kill(entry, "SIGKILL");
      left++;
    } catch {
      // It ended meanwhile.
    }
  }
  return left;
}

/** Only Linux shows its processes as files; elsewhere there is no bare binary to leave behind. */
function listProcesses(): readonly number[] {
  try {
    return readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name))
      .map(Number);
  } catch {
    return [];
  }
}

function readEnvironment(pid: number): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/environ`, "utf8").split("\0");
  } catch {
    return [];
  }
}

/** The state of an earlier run, or a new one. */
export function loadState(dataDir: string): State {
  const path = join(dataDir, "state.json");
  const text = readIfThere(path);
  if (text !== undefined) {
    const parsed = State.safeParse(parseJson(text));
    if (parsed.success) return parsed.data;
    throw new VarveError(
      "state_unreadable",
      `${path} is not what Varve wrote there.`,
      "Put the file back, or remove it to get a new write key.",
      parsed.error,
    );
  }
  const state: State = {
    writeKey: randomBytes(16).toString("hex"),
    s3AccessKeyId: "local",
    s3SecretAccessKey: randomBytes(16).toString("hex"),
  };
  writePrivately(path, `${JSON.stringify(state, null, 2)}\n`);
  return state;
}

/** Whole or not at all, and readable by its owner only. */
export function writePrivately(path: string, text: string): void {
  const draft = `${path}.new`;
  rmSync(draft, { force: true });
  writeFileSync(draft, text, { mode: 0o600, flush: true });
  renameSync(draft, path);
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
