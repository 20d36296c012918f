/** How long a compactor goes on trying: without end while it runs, for a drain time once it is told to stop. */
import type { Clock } from "../shared/clock.ts";
import { errorFields, VarveError } from "../shared/errors.ts";

export type CompactorLog = {
  readonly info: (what: string, fields: Record<string, unknown>) => void;
  readonly warn: (what: string, fields: Record<string, unknown>) => void;
};

const RETRY_MAX_MS = 4_000;
/** How long a stopping compactor goes on trying to commit what it has read. */
const DRAIN_MS = 15_000;
/** Errors that trying again may mend. Any other of ours says what is wrong and stays so. */
const PASSING = new Set(["store_unreadable", "log_not_made", "table_unreachable"]);

export const isPassing = (error: unknown): boolean =>
  !(error instanceof VarveError) || PASSING.has(error.code);

export type Patience = {
  /** Aborts once the drain time after the stop has passed. */
  readonly giveUp: AbortSignal;
  /** Does `work` until it succeeds. Null when patience ran out. Throws what trying again cannot mend. */
  readonly persist: <T>(what: string, work: () => Promise<T>) => Promise<T | null>;
  /** Once nothing is left to be done. */
  readonly close: () => void;
};

export function openPatience(clock: Clock, log: CompactorLog, stopping: AbortSignal): Patience {
  const drained = new AbortController();
  const closed = new AbortController();
  const drain = async (): Promise<void> => {
    await clock.sleep(DRAIN_MS, closed.signal);
    drained.abort();
  };
  if (stopping.aborted) void drain();
  else stopping.addEventListener("abort", () => void drain(), { once: true });
  const giveUp = drained.signal;
  return {
    giveUp,
    close: () => closed.abort(),
    persist: async (what, work) => {
      for (let faults = 1; ; faults += 1) {
        try {
          return await work();
        } catch (error) {
          if (giveUp.aborted) return null;
          if (!isPassing(error)) throw error;
          const ms = Math.min(RETRY_MAX_MS, 200 * 2 ** Math.min(faults, 8)) * (0.5 + clock.random() / 2);
          log.warn(`${what} failed; trying again in ${Math.round(ms)} ms`, errorFields(error));
          await clock.sleep(ms, giveUp);
        }
      }
    },
  };
}
