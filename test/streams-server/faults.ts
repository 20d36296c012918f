/** Which calls go wrong, and how: by order, by chance, and by rate. */
import type { Random } from "../fakes/random.ts";
import type { FaultKind } from "./wire.ts";

export type FaultRule = {
  readonly kind: FaultKind;
  readonly operation?: string | undefined;
  readonly shard?: string | undefined;
  readonly times?: number | undefined;
  readonly rate?: number | undefined;
  readonly ms?: number | undefined;
};
export type Fault = { readonly kind: FaultKind; readonly ms: number };

export type Faults = {
  readonly add: (rule: FaultRule) => void;
  readonly limit: (operation: string, perSecond: number) => void;
  readonly calm: () => void;
  readonly next: (operation: string, shard: string | null) => Fault | null;
};

const SLOW_MS = 500;

export function openFaults(random: Random, nowMs: () => number): Faults {
  let rules: { readonly rule: FaultRule; left: number }[] = [];
  const limits = new Map<string, { readonly perSecond: number; calls: number[] }>();
  const isPast = (operation: string): boolean => {
    const limit = limits.get(operation);
    if (limit === undefined) return false;
    const now = nowMs();
    limit.calls = limit.calls.filter((ms) => now - ms < 1000);
    if (limit.calls.length >= limit.perSecond) return true;
    limit.calls.push(now);
    return false;
  };
  return {
    add: (rule) => rules.push({ rule, left: rule.times ?? (rule.rate === undefined ? 1 : Infinity) }),
    limit: (operation, perSecond) => limits.set(operation, { perSecond, calls: [] }),
    calm: () => {
      rules = [];
      limits.clear();
    },
    next: (operation, shard) => {
      if (isPast(operation)) return { kind: "throttled", ms: 0 };
      const met = rules.find(
        ({ rule, left }) =>
          left > 0 &&
          (rule.operation === undefined || rule.operation === operation) &&
          (rule.shard === undefined || rule.shard === shard) &&
          (rule.rate === undefined || random.chance(rule.rate)),
      );
      if (met === undefined) return null;
      met.left -= 1;
      return { kind: met.rule.kind, ms: met.rule.ms ?? SLOW_MS };
    },
  };
}
