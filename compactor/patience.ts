/** How long a compactor goes on trying: without end while it runs, for a drain time once it is told to stop. */
import type { Clock } from "../shared/clock.ts";
import { describeError } from "../shared/errors.ts";

export type CompactorLog = {
  readonly info: (what: string, fields: Record<string, unknown>) => void;
  readonly warn: (what: string, fields: Record<string, unknown>) => void;
};

const RETRY_MAX_MS = 4_000;
/** How long a stopping compactor goes on trying to commit what it has read. */
const DRAIN_MS = 15_000;

export type Patience = {
  /** False once the drain time after the stop has passed. */
  readonly left: () => boolean;
  /** Does `work` until it succeeds. Null when patience ran out. */
  readonly persist: <T>(what: string, work: () => Promise<T>) => Promise<T | null>;
};

export function openPatience(clock: Clock, log: CompactorLog, signal: AbortSignal): Patience {
  let stoppedAtMs = signal.aborted ? clock.nowMs() : Number.POSITIVE_INFINITY;
  signal.addEventListener("abort", () => (stoppedAtMs = clock.nowMs()), { once: true });
  const left = (): boolean => clock.nowMs() < stoppedAtMs + DRAIN_MS;
  return {
    left,
    persist: async (what, work) => {
      for (let faults = 1; ; faults += 1) {
        try {
          return await work();
        } catch (error) {
          if (!left()) return null;
          const ms = Math.min(RETRY_MAX_MS, 200 * 2 ** Math.min(faults, 8)) * (0.5 + clock.random() / 2);
          log.warn(`${what} failed; trying again in ${Math.round(ms)} ms`, { why: describeError(error) });
          await clock.sleep(ms);
        }
      }
    },
  };
}
