/** The shard graph: which shards are new, and which may be read now. A parent is finished before its children. */
import type { Position } from "../shared/position.ts";
import type { Snapshot } from "../shared/snapshot.ts";
import type { StreamDescription } from "./stream.ts";

/** Positions for the listed shards that the log does not know. They hold the watermark from the commit that names them. */
export function newShards(
  snapshot: Snapshot,
  { arn, shards }: StreamDescription,
): ReadonlyMap<string, Position> {
  const found = new Map<string, Position>();
  for (const { id, parent } of shards) {
    if (snapshot.shards.has(id)) continue;
    const parentAt = parent === null ? 0 : (snapshot.shards.get(parent)?.at ?? 0);
    const at = Math.max(parentAt, snapshot.log.watermarkMs);
    found.set(id, { from: null, seq: null, at, parent, done: false, stream: arn });
  }
  return found;
}

/** Shards with something left to read whose parent is finished, or so old that it is no longer known. */
export function readableShards(shards: ReadonlyMap<string, Position>): readonly string[] {
  return [...shards]
    .filter(([, { done, parent }]) => !done && (parent === null || (shards.get(parent)?.done ?? true)))
    .map(([shard]) => shard);
}
