/** A token bucket a source: events a second, with a burst of ten seconds' worth. In each isolate. */
const BURST_S = 10;
const BUCKETS_MAX = 5_000;

export type Take =
  | { readonly kind: "taken" }
  /** Milliseconds until as many tokens are there. */
  | { readonly kind: "empty"; readonly waitMs: number };

export type RateLimiter = {
  readonly take: (source: string, perSecond: number, events: number, nowMs: number) => Take;
};

const TAKEN: Take = { kind: "taken" };

export function createRateLimiter(): RateLimiter {
  const buckets = new Map<string, { tokens: number; atMs: number }>();

  function take(source: string, perSecond: number, events: number, nowMs: number): Take {
    const size = perSecond * BURST_S;
    let bucket = buckets.get(source);
    if (bucket === undefined) {
      const oldest = buckets.keys().next();
      if (buckets.size >= BUCKETS_MAX && !oldest.done) buckets.delete(oldest.value);
      bucket = { tokens: size, atMs: nowMs };
      buckets.set(source, bucket);
    }
    const earned = ((nowMs - bucket.atMs) * perSecond) / 1000;
    bucket.tokens = Math.min(size, bucket.tokens + Math.max(0, earned));
    bucket.atMs = nowMs;
    // A batch larger than the bucket needs a full one, or it could never pass.
    const needed = Math.min(events, size);
    if (bucket.tokens < needed) {
      return { kind: "empty", waitMs: ((needed - bucket.tokens) * 1000) / perSecond };
    }
    bucket.tokens -= needed;
    return TAKEN;
  }
  return { take };
}
