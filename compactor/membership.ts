/**
 * Which workers are alive, and which of them a shard belongs to.
 *
 * A worker shows that it lives by putting `workers/<id>.json` anew every few seconds. Others take it for alive
 * while the store's time for it is little older than for their own of the same listing: so no clock need agree
 * with another, and a worker that has just started knows at once who is dead. Ownership is by rendezvous hashing
 * and only saves work: two workers that read the same shard are settled by the commit.
 */
import type { Clock } from "../shared/clock.ts";
import { WORKERS_DIR, workerKey } from "../shared/keys.ts";
import type { ListedObject, ObjectStore } from "../shared/store.ts";

export const HEARTBEAT_MS = 8_000;
/** Two heartbeats, so that the shards of a worker that dies have another within half a minute. */
const DEAD_AFTER_MS = 2 * HEARTBEAT_MS + 1_000;
const FORGET_AFTER_MS = 10 * DEAD_AFTER_MS;

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
  /** Live workers, this one included. */
  readonly workers: () => readonly string[];
  readonly owns: (name: string) => boolean;
};

export function openMembership(store: ObjectStore, clock: Clock, id: string): Membership {
  let live: readonly string[] = [id];
  return {
    beat: async (signal) => {
      const body = new TextEncoder().encode(JSON.stringify({ beatMs: clock.nowMs() }));
      await store.put(workerKey(id), body, { kind: "always" }, signal);
      const listed = await Array.fromAsync(store.list(WORKERS_DIR, undefined, signal));
      const mine = listed.find(({ key }) => key === workerKey(id));
      if (mine === undefined) return;
      const silentMs = ({ modifiedMs }: ListedObject): number => mine.modifiedMs - modifiedMs;
      live = listed
        .filter((worker) => silentMs(worker) <= DEAD_AFTER_MS)
        .map(({ key }) => key.slice(WORKERS_DIR.length, -".json".length));
      for (const worker of listed)
        if (silentMs(worker) > FORGET_AFTER_MS) await store.delete(worker.key, signal);
    },
    leave: (signal) => store.delete(workerKey(id), signal),
    workers: () => live,
    owns: (name) => ownerOf(name, live) === id,
  };
}
