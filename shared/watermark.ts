/** The watermark W, as the shards allow it: every change up to W is in. What holds it back, and where. */
import type { Position } from "./position.ts";
import { BOOTSTRAP_STREAM, endedMs } from "./position.ts";

/** How long a stream keeps its records: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html */
export const STREAM_RETENTION_MS = 86_400_000;

/** Shards that were read to the end, and that others should follow; but none is known. */
export function childlessShards(
  shards: ReadonlyMap<string, Position>,
): readonly (readonly [string, Position])[] {
  const parents = new Set([...shards.values()].map(({ parent }) => parent));
  const streamed = [...shards.values()].filter(({ stream }) => stream !== BOOTSTRAP_STREAM);
  const newest = streamed.reduce((last, { stream }) => (stream > last ? stream : last), "");
  // A stream that was switched off has ended for good; one that is switched on again has another, later name.
  return [...shards].filter(([shard, { done, stream }]) => done && stream === newest && !parents.has(shard));
}

/** Where a shard stands that is not done: what its parent has is in, and it begins after that. */
export const standsAtMs = ({ at, parent }: Position, shards: ReadonlyMap<string, Position>): number =>
  Math.max(at, shards.get(parent ?? "")?.at ?? at);

/**
 * Shards that hold the watermark back, and where: those being read, and those whose children are not known yet,
 * for as long as the stream keeps what the children would hold. While a parent is read it holds for its children.
 */
export function holdingShards(
  shards: ReadonlyMap<string, Position>,
  discoveredMs: number,
): readonly (readonly [shard: string, atMs: number])[] {
  const holding: [string, number][] = [];
  for (const [shard, position] of shards) {
    if (position.done || shards.get(position.parent ?? "")?.done === false) continue;
    holding.push([shard, standsAtMs(position, shards)]);
  }
  for (const [shard, position] of childlessShards(shards)) {
    if (endedMs(position) + STREAM_RETENTION_MS > discoveredMs) holding.push([shard, position.at]);
  }
  return holding;
}

/** The highest watermark that these positions allow. */
export function watermarkOf(shards: ReadonlyMap<string, Position>, discoveredMs: number): number {
  const holding = holdingShards(shards, discoveredMs);
  return holding.reduce((least, [, atMs]) => Math.min(least, atMs), discoveredMs);
}
