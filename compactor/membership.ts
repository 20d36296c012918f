/**
 * Which workers are alive, and which of them a shard belongs to.
 *
 * A worker shows that it lives by putting `workers/<id>.json` anew every few seconds. Others take it for alive
 * while they see its time of writing change, by their own clocks: so no clock need agree with another. Ownership
 * is by rendezvous hashing and only saves work: two workers that read the same shard are settled by the commit.
 */
import type { Clock } from "../shared/clock.ts";
import { WORKERS_DIR, workerKey } from "../shared/keys.ts";
import type { ObjectStore } from "../shared/store.ts";

export const HEARTBEAT_MS = 8_000;
const DEAD_AFTER_MS = 20_000;

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

type Seen = { readonly modifiedMs: number; readonly changedAtMs: number };

export type Membership = {
  /** Puts this worker's sign of life, and looks for the others'. */
  readonly beat: (signal: AbortSignal) => Promise<void>;
  readonly leave: (signal: AbortSignal) => Promise<void>;
  /** Live workers, this one included. */
  readonly workers: () => readonly string[];
  readonly owns: (name: string) => boolean;
};

export function openMembership(store: ObjectStore, clock: Clock, id: string): Membership {
  const seen = new Map<string, Seen>();
  let live: readonly string[] = [id];
  return {
    beat: async (signal) => {
      const nowMs = clock.nowMs();
      const body = new TextEncoder().encode(JSON.stringify({ beatMs: nowMs }));
      await store.put(workerKey(id), body, { kind: "always" }, signal);
      const listed = new Set<string>();
      for await (const { key, modifiedMs } of store.list(WORKERS_DIR, undefined, signal)) {
        listed.add(key);
        if (seen.get(key)?.modifiedMs !== modifiedMs) seen.set(key, { modifiedMs, changedAtMs: nowMs });
        else if (nowMs - (seen.get(key)?.changedAtMs ?? nowMs) > DEAD_AFTER_MS * 10)
          await store.delete(key, signal);
      }
      for (const key of seen.keys()) if (!listed.has(key)) seen.delete(key);
      const others = [...seen]
        .filter(([key, { changedAtMs }]) => key !== workerKey(id) && nowMs - changedAtMs <= DEAD_AFTER_MS)
        .map(([key]) => key.slice(WORKERS_DIR.length, -".json".length));
      live = [id, ...others];
    },
    leave: (signal) => store.delete(workerKey(id), signal),
    workers: () => live,
    owns: (name) => ownerOf(name, live) === id,
  };
}
