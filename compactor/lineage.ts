/**
 * The shard graph: which shards are new, which may be read now, and which can be forgotten.
 *
 * Laws
 * - A parent is finished before its children are read.
 * - A child whose parent is in no listing is believed only when several listings in a row say so: a listing may
 *   lag, and a child read before its parent would put a key's changes in the wrong order.
 * - A shard is forgotten only two generations on: while it is named as a parent, or may still be listed, a
 *   listing could bring it back and have it read twice.
 */
import type { Position } from "../shared/position.ts";
import type { Gap, Snapshot } from "../shared/snapshot.ts";
import type { ListedShard, StreamDescription } from "./stream.ts";

/** Listings that must agree before a parent that is not listed counts as trimmed. */
const ORPHAN_SIGHTINGS = 3;
/** Streams keep records, and list shards, for 24 hours. */
const FORGET_AFTER_MS = 48 * 3_600_000;

export type Discovery = {
  /** When the listing began. */
  readonly beganMs: number;
  readonly streams: readonly StreamDescription[];
};

/** What a discovery changes in the log. */
export type Lineage = {
  readonly positions: ReadonlyMap<string, Position>;
  readonly forgotten: readonly string[];
  readonly gaps: readonly Gap[];
};

/**
 * @param sightings how often in a row each orphan was listed; counted on here
 */
export function lineageOf(snapshot: Snapshot, discovery: Discovery, sightings: Map<string, number>): Lineage {
  const positions = new Map<string, Position>();
  const gaps: Gap[] = [];
  const listed = new Map<string, ListedShard>();
  for (const { shards } of discovery.streams) for (const shard of shards) listed.set(shard.id, shard);
  for (const orphan of sightings.keys()) if (!listed.has(orphan)) sightings.delete(orphan);
  const parents = new Set([...snapshot.shards.values()].map(({ parent }) => parent));
  const knownStreams = new Set([...snapshot.shards.values()].map(({ stream }) => stream));

  for (const { arn, shards, disabled } of discovery.streams) {
    for (const { id, parent } of shards) {
      if (snapshot.shards.has(id) || parents.has(id)) continue;
      const isOrphan =
        parent !== null && !snapshot.shards.has(parent) && !listed.has(parent) && !parents.has(parent);
      if (isOrphan && snapshot.shards.size > 0 && sighted(sightings, id) < ORPHAN_SIGHTINGS) continue;
      const parentAt = parent === null ? 0 : (snapshot.shards.get(parent)?.at ?? 0);
      const at = Math.max(parentAt, snapshot.log.watermarkMs);
      positions.set(id, { from: null, seq: null, at, parent, done: false, stream: arn });
    }
    if (!disabled && !knownStreams.has(arn) && knownStreams.size > 0 && shards.length > 0) {
      gaps.push({
        shard: arn,
        after: null,
        reason:
          "the table's stream was switched off and on again: changes made while it was off are in no stream",
        detectedMs: discovery.beganMs,
      });
    }
  }

  const closed = new Set(discovery.streams.filter(({ disabled }) => disabled).map(({ arn }) => arn));
  const children = new Set([...listed.values()].map(({ parent }) => parent));
  for (const [id, position] of snapshot.shards) {
    if (
      position.done &&
      position.last !== true &&
      closed.has(position.stream) &&
      !children.has(id) &&
      !parents.has(id)
    ) {
      positions.set(id, { ...position, from: position.seq, last: true });
    }
  }
  return { positions, forgotten: forgettable(snapshot, listed, discovery.beganMs), gaps };
}

const sighted = (sightings: Map<string, number>, shard: string): number => {
  const times = (sightings.get(shard) ?? 0) + 1;
  sightings.set(shard, times);
  return times;
};

function forgettable(snapshot: Snapshot, listed: ReadonlyMap<string, unknown>, nowMs: number): string[] {
  const childrenOf = Map.groupBy([...snapshot.shards.values()], ({ parent }) => parent);
  return [...snapshot.shards]
    .filter(([id, { done, last, at, parent }]) => {
      if (!done || listed.has(id) || nowMs - at < FORGET_AFTER_MS) return false;
      if (parent !== null && snapshot.shards.has(parent)) return false;
      const children = childrenOf.get(id) ?? [];
      return last === true || (children.length > 0 && children.every((child) => child.done));
    })
    .map(([id]) => id);
}

/** Shards with something left to read whose parent is finished, or so old that it is no longer known. */
export function readableShards(shards: ReadonlyMap<string, Position>): ReadonlyMap<string, Position> {
  const readable = new Map<string, Position>();
  for (const [shard, position] of shards) {
    if (position.done) continue;
    const parent = position.parent === null ? undefined : shards.get(position.parent);
    if (parent !== undefined && !parent.done) continue;
    readable.set(shard, { ...position, at: Math.max(position.at, parent?.at ?? 0) });
  }
  return readable;
}

/** The streams that must be listed besides the table's own: those with shards that still hold the watermark. */
export function olderStreams(shards: ReadonlyMap<string, Position>): readonly string[] {
  const open = [...shards.values()].filter(({ last }) => last !== true);
  return [...new Set(open.map(({ stream }) => stream))];
}
