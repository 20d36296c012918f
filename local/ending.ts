/**
 * What ends a run: the caller; the shell that npm started it in, the only one to which npm hands a
 * SIGTERM; and the removal of the data directory. The last must end it at once: another run may
 * hold a directory of the same name already.
 */
import { VarveError } from "../shared/errors.ts";
import type { DataDirLock } from "./data-dir.ts";

export type Ending = {
  readonly signal: AbortSignal;
  /** Looks at once whether the directory is still there. */
  readonly check: () => void;
  readonly isGone: () => boolean;
  readonly end: () => void;
};

const WATCH_MS = 500;
const GONE = "gone";

export function watchForEnd(lock: DataDirLock, signal: AbortSignal): Ending {
  const ending = new AbortController();
  const end = (): void => {
    ending.abort();
  };
  const check = (): void => {
    if (!lock.stands()) ending.abort(GONE);
  };
  const isNpmScript = process.env["npm_lifecycle_event"] !== undefined;
  const parent = process.ppid;
  const timer = setInterval(() => {
    check();
    if (isNpmScript && process.ppid !== parent) end();
  }, WATCH_MS);
  ending.signal.addEventListener("abort", () => {
    clearInterval(timer);
    signal.removeEventListener("abort", end);
  });
  signal.addEventListener("abort", end);
  if (signal.aborted) end();
  return { signal: ending.signal, check, isGone: () => ending.signal.reason === GONE, end };
}

export function dataDirGone(dataDir: string): VarveError {
  return new VarveError(
    "data_dir_gone",
    `The data directory ${dataDir} was removed while Varve ran on it.`,
    "Stop Varve before its data is removed; start it again for a new directory.",
  );
}

export function aborted(signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  if (signal.aborted) resolve();
  else {
    signal.addEventListener(
      "abort",
      () => {
        resolve();
      },
      { once: true },
    );
  }
  return promise;
}
