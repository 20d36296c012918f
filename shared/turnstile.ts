/** As Promise.all, but when one fails the others are waited for: none of them works on what is cleared away then. */
export async function allEnded<T>(work: readonly Promise<T>[]): Promise<T[]> {
  const ended = await Promise.allSettled(work);
  return ended.map((one) => {
    if (one.status === "rejected") throw one.reason;
    return one.value;
  });
}

/**
 * At most so many at a time; the others wait, in their order. One whose signal aborts waits no longer: its work is
 * begun out of turn, for the signal to end it.
 */
export function turnstile(most: number): <T>(work: () => Promise<T>, signal?: AbortSignal) => Promise<T> {
  let working = 0;
  const waiting = new Set<() => void>();
  const isAdmitted = (signal?: AbortSignal): Promise<boolean> =>
    new Promise((resolve) => {
      const settle = (admitted: boolean): void => {
        waiting.delete(admit);
        signal?.removeEventListener("abort", giveUp);
        resolve(admitted);
      };
      const admit = (): void => settle(true);
      const giveUp = (): void => settle(false);
      if (signal?.aborted) return giveUp();
      waiting.add(admit);
      signal?.addEventListener("abort", giveUp, { once: true });
    });
  return async (work, signal) => {
    const isFree = working < most;
    if (isFree) working += 1;
    const admitted = isFree || (await isAdmitted(signal));
    try {
      return await work();
    } finally {
      const [next] = waiting;
      if (admitted && next !== undefined) next();
      else if (admitted) working -= 1;
    }
  };
}
