/** Time and randomness are arguments below the entry points, so that a run can be replayed. */
export type Clock = {
  /** UTC, ms since the epoch. */
  readonly nowMs: () => number;
  /** Resolves after `ms`, or at once when `signal` aborts. */
  readonly sleep: (ms: number, signal?: AbortSignal) => Promise<void>;
  /** A name never used before, `[0-9a-f-]`. */
  readonly uuid: () => string;
  /** [0, 1). */
  readonly random: () => number;
};

/** Whether `ms` have passed since `sinceMs`. Of a clock that was set back since then nobody knows: it is taken that they have. */
export const hasPassed = (nowMs: number, sinceMs: number, ms: number): boolean =>
  nowMs - sinceMs >= ms || nowMs < sinceMs;

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const done = () => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      signal?.addEventListener("abort", done, { once: true });
    }),
  uuid: () => crypto.randomUUID(),
  random: () => Math.random(),
};

/** The promise's value; rejects when it takes longer than `ms`. What it stands for is not called off. */
export async function within<T>(promise: Promise<T>, ms: number, clock: Clock): Promise<T> {
  const settled = new AbortController();
  const late = clock.sleep(ms, settled.signal).then((): never => {
    throw new Error(`no answer within ${ms} ms`);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    settled.abort();
  }
}
