/**
 * Virtual time. Nothing happens by itself: `run` takes the next sleeper, sets the clock to its hour, wakes it,
 * and lets all that follows from it come to rest before it takes the next.
 */
import type { Clock } from "../../shared/clock.ts";
import { randomOf } from "./random.ts";

type Sleeper = { readonly atMs: number; readonly order: number; readonly wake: () => void };

export type VirtualTime = {
  readonly nowMs: () => number;
  readonly sleep: (ms: number, signal?: AbortSignal) => Promise<void>;
  /** Until `done`, or until `limitMs` have passed: then it throws. */
  readonly run: (done: () => boolean, limitMs: number) => Promise<void>;
};

/** All that was started so far, up to its next sleep. Nothing here waits for the outside world. */
const atRest = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export function virtualTime(startMs: number): VirtualTime {
  let nowMs = startMs;
  let order = 0;
  /** Latest first. */
  const sleepers: Sleeper[] = [];

  const add = (sleeper: Sleeper): void => {
    let index = sleepers.length;
    while (index > 0 && (sleepers[index - 1] as Sleeper).atMs <= sleeper.atMs) index -= 1;
    sleepers.splice(index, 0, sleeper);
  };

  return {
    nowMs: () => Math.floor(nowMs),
    sleep: (ms, signal) =>
      new Promise((resolve) => {
        if (signal?.aborted) return resolve();
        const onAbort = () => {
          const index = sleepers.indexOf(sleeper);
          if (index >= 0) sleepers.splice(index, 1);
          resolve();
        };
        const wake = () => {
          signal?.removeEventListener("abort", onAbort);
          resolve();
        };
        const sleeper: Sleeper = { atMs: nowMs + Math.max(0, ms), order: (order += 1), wake };
        add(sleeper);
        signal?.addEventListener("abort", onAbort, { once: true });
      }),
    run: async (done, limitMs) => {
      const endMs = nowMs + limitMs;
      for (;;) {
        await atRest();
        if (done()) return;
        const next = sleepers.pop();
        if (next === undefined) throw new Error("everything sleeps for ever");
        if (next.atMs > endMs) throw new Error(`not done after ${limitMs} ms of virtual time`);
        nowMs = Math.max(nowMs, next.atMs);
        next.wake();
      }
    },
  };
}

/** A machine's clock over virtual time. */
export function virtualClock(time: VirtualTime, seed = 1, skewMs = 0): Clock {
  const random = randomOf(seed);
  return {
    nowMs: () => time.nowMs() + skewMs,
    sleep: time.sleep,
    uuid: random.uuid,
    random: random.next,
  };
}
