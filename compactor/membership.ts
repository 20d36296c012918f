/**
 * Which workers are alive, and which of them a shard belongs to.
 *
 * A worker shows that it lives by putting `workers/<id>.json` anew every few seconds. Others take it for alive
 * while the store's time for it is little older than for their own of the same listing: so no clock need agree
 * with another, and a worker that has just started knows at once who is dead. Ownership is by rendezvous hashing
 * and only saves work: two workers that read the same shard are settled by the commit.
 *
 * A worker that cannot keep up with the log rests: it goes on showing that it lives, under another key, and owns
 * nothing, so that its shards are read by those who can. When nobody else is there, nobody rests.
 */
import type { Clock } from "../shared/clock.ts";
import { hasPassed } from "../shared/clock.ts";
import { WORKERS_DIR, parseWorkerKey, restingWorkerKey, workerKey } from "../shared/keys.ts";
import type { ListedObject, ObjectStore } from "../shared/store.ts";

export const HEARTBEAT_MS = 8_000;
/** Two heartbeats, so that the shards of a worker that dies have another within half a minute. */
const DEAD_AFTER_MS = 2 * HEARTBEAT_MS + 1_000;
const FORGET_AFTER_MS = 10 * DEAD_AFTER_MS;

/** Twice as long each time that a worker has to rest again soon after. */
const REST_FIRST_MS = 60_000;
const REST_MAX_MS = 3_600_000;

/** FNV-1a, 32 bits: spreads names evenly; not for adversaries. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1) {
    value = Math.imul(value ^ text.charCodeAt(index), 0x01000193);
  }
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  return (value ^ (value >>> 13)) >>> 0;
}

/** Which of `workers` a name belongs to. When one leaves, only its names move. */
export function ownerOf(name: string, workers: Iterable<string>): string | null {
  let owner: string | null = null;
  let best = -1;
  for (const worker of workers) {
    const score = hash(`${worker}|${name}`);
    if (score > best || (score === best && owner !== null && worker < owner)) [owner, best] = [worker, score];
  }
  return owner;
}

export type Membership = {
  /** Puts this worker's sign of life, and looks for the others'. */
  readonly beat: (signal: AbortSignal) => Promise<void>;
  readonly leave: (signal: AbortSignal) => Promise<void>;
  /** Gives all it owns to the others for a while. How long, in ms; 0 when there are no others, or it rests already. */
  readonly rest: (signal: AbortSignal) => Promise<number>;
  /** Live workers, this one included. */
  readonly workers: () => readonly string[];
  readonly owns: (name: string) => boolean;
};

export function openMembership(store: ObjectStore, clock: Clock, id: string): Membership {
  let live: readonly string[] = [id];
  let [restBeganMs, restMs] = [0, 0];
  const isResting = (): boolean => !hasPassed(clock.nowMs(), restBeganMs, restMs);
  const awakeKey = workerKey(id);
  const restingKey = restingWorkerKey(id);
  const beat = async (signal: AbortSignal): Promise<void> => {
    const [key, other] = isResting() ? [restingKey, awakeKey] : [awakeKey, restingKey];
    const body = new TextEncoder().encode(JSON.stringify({ beatMs: clock.nowMs() }));
    await store.put(key, body, { kind: "always" }, signal);
    const listed = await Array.fromAsync(store.list(WORKERS_DIR, undefined, signal));
    const mine = listed.find((worker) => worker.key === key);
    if (mine === undefined) return;
    const silentMs = ({ modifiedMs }: ListedObject): number => mine.modifiedMs - modifiedMs;
    live = listed
      .filter((worker) => worker.key !== other && silentMs(worker) <= DEAD_AFTER_MS)
      .flatMap((worker) => parseWorkerKey(worker.key) ?? []);
    if (live.length === 0) restBeganMs = 0;
    for (const worker of listed) {
      if (worker.key === other || silentMs(worker) > FORGET_AFTER_MS) await store.delete(worker.key, signal);
    }
  };
  return {
    beat,
    leave: async (signal) => {
      for (const key of [awakeKey, restingKey]) await store.delete(key, signal);
    },
    rest: async (signal) => {
      const others = live.filter((worker) => worker !== id);
      if (others.length === 0 || isResting()) return 0;
      const nowMs = clock.nowMs();
      const again = nowMs - restBeganMs - restMs < REST_MAX_MS;
      restMs = again && restMs > 0 ? Math.min(REST_MAX_MS, restMs * 2) : REST_FIRST_MS;
      restBeganMs = nowMs;
      live = others;
      await beat(signal);
      return restMs;
    },
    workers: () => live,
    owns: (name) => ownerOf(name, live) === id,
  };
}
