/**
 * A circuit breaker for one region, so that a dead one does not add its time-out to each request. Pure but
 * for its own state; each isolate learns for itself.
 *
 * closed -> open after `failuresMax` failures in a row -> one probe at a time once `openMs` have passed
 * -> closed on a success, open again for twice as long on a failure.
 */
export type BreakerLimits = {
  readonly failuresMax: number;
  readonly openMs: number;
  readonly openMaxMs: number;
  /** A probe that has told nothing for this long is forgotten. */
  readonly probeMs: number;
};

export const BREAKER_LIMITS: BreakerLimits = {
  failuresMax: 3,
  openMs: 1_000,
  openMaxMs: 30_000,
  probeMs: 15_000,
};

/** Where writes have nowhere else to go, nothing is won by leaving the region alone for long. */
export const ONLY_REGION_LIMITS: BreakerLimits = { ...BREAKER_LIMITS, openMs: 500, openMaxMs: 1_000 };

export type Breaker = {
  /** Whether to call now. In a half-open state only the first who asks may. */
  readonly allows: (nowMs: number) => boolean;
  readonly succeeded: () => void;
  /** @param sinceMs when the call that failed began */
  readonly failed: (nowMs: number, sinceMs: number) => void;
};

export function createBreaker(limits: BreakerLimits): Breaker {
  let failures = 0;
  let openings = 0;
  let openedMs = Number.NEGATIVE_INFINITY;
  let openUntilMs: number | null = null;
  let probingUntilMs = 0;

  return {
    allows(nowMs) {
      if (openUntilMs === null) return true;
      if (nowMs < openUntilMs || nowMs < probingUntilMs) return false;
      probingUntilMs = nowMs + limits.probeMs;
      return true;
    },
    succeeded() {
      failures = 0;
      openings = 0;
      openUntilMs = null;
      probingUntilMs = 0;
    },
    failed(nowMs, sinceMs) {
      // What began before it opened says no more than what opened it.
      if (openUntilMs !== null && sinceMs < openedMs) return;
      failures += 1;
      probingUntilMs = 0;
      if (failures < limits.failuresMax) return;
      openedMs = nowMs;
      openUntilMs = nowMs + Math.min(limits.openMaxMs, limits.openMs * 2 ** openings);
      openings += 1;
    },
  };
}
