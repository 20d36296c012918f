/**
 * The shard graph: which shards are new, and which may be read now.
 *
 * Laws
 * - A shard is read after its parent, and after every shard of the table's earlier streams: so a key's changes
 *   come in their order.
 * - A shard is taken into the log after its parent, or when the parent is known to be gone. A list that leaves
 *   out a shard which is there is not a discovery.
 * - A shard that is listed again after one that follows it was read is not taken in: it is passed.
 * - A shard is forgotten only two generations on, and long after it could be listed: a listing that brought it
 *   back would have it read twice.
 */
import { VarveError } from "../shared/errors.ts";
import type { Position } from "../shared/position.ts";
import { BOOTSTRAP_STREAM, endedMs, lastChangedMs } from "../shared/position.ts";
import type { Gap, Snapshot } from "../shared/snapshot.ts";
import { STREAM_RETENTION_MS, childlessShards, standsAtMs } from "../shared/watermark.ts";
import type { ListedShard } from "./stream.ts";

/** The table's ARN, of a stream's. */
const tableOf = (stream: string): string => stream.split("/stream/")[0] ?? stream;

/** Throws when the log is another table's: its shards, which nobody here lists, would hold back these for ever. */
export function assertSameTable({ shards }: Snapshot, listed: readonly ListedShard[]): void {
  const known = [...shards.values()].find(({ stream }) => stream !== BOOTSTRAP_STREAM);
  if (known === undefined) return;
  const table = tableOf(known.stream);
  const other = listed.find(({ stream }) => tableOf(stream) !== table);
  if (other === undefined) return;
  throw new VarveError(
    "other_table",
    `the changelog is that of ${table}, and the stream is that of ${tableOf(other.stream)}.`,
    "Each table has a changelog of its own: check DYNAMODB_TABLE and VARVE_CHANGELOG.",
  );
}

/** Parents that are neither listed nor known to the log: gone, or left out of a list that is not whole. */
export function missingParents({ shards }: Snapshot, listed: readonly ListedShard[]): readonly ListedShard[] {
  const ids = new Set(listed.map(({ id }) => id));
  const missing = new Map<string, ListedShard>();
  for (const { id, parent, stream } of listed) {
    if (parent === null || ids.has(parent) || shards.has(parent) || shards.has(id)) continue;
    missing.set(parent, { id: parent, parent: null, stream });
  }
  return [...missing.values()];
}

/**
 * Listed shards that the log does not know, though it has read one that follows them: they were taken for gone then,
 * or have been forgotten since. To read them now would bring a key's changes out of their order.
 */
export function passedShards({ shards }: Snapshot, listed: readonly ListedShard[]): readonly ListedShard[] {
  const byId = new Map(listed.map((shard) => [shard.id, shard]));
  const passed = new Map<string, ListedShard>();
  for (const { seq, done, parent } of shards.values()) {
    if (seq === null && !done) continue;
    for (let above = byId.get(parent ?? ""); above !== undefined; above = byId.get(above.parent ?? "")) {
      if (shards.has(above.id) || passed.has(above.id)) break;
      passed.set(above.id, above);
    }
  }
  return [...passed.values()];
}

/**
 * Positions for the listed shards that the log does not know. They hold the watermark from the commit that
 * names them.
 * @param gone parents that no longer exist
 */
export function newShards(
  snapshot: Snapshot,
  listed: readonly ListedShard[],
  gone: ReadonlySet<string>,
): ReadonlyMap<string, Position> {
  const { shards, log } = snapshot;
  const over = new Set([...gone, ...passedShards(snapshot, listed).map(({ id }) => id)]);
  const byId = new Map(listed.map((shard) => [shard.id, shard]));
  const found = new Map<string, Position>();
  const isTaken = ({ id, parent, stream }: ListedShard): boolean => {
    if (shards.has(id) || found.has(id)) return true;
    if (parent !== null && !shards.has(parent) && !over.has(parent)) {
      const above = byId.get(parent);
      if (above === undefined || !isTaken(above)) return false;
    }
    found.set(id, { from: null, seq: null, at: log.watermarkMs, parent, done: false, stream });
    return true;
  };
  for (const shard of listed) if (!over.has(shard.id)) isTaken(shard);
  return found;
}

/** Streams that were switched on after the first one known: what was written while there was none is in none. */
export function switchGaps(
  { shards }: Snapshot,
  found: ReadonlyMap<string, Position>,
  nowMs: number,
): readonly Gap[] {
  const gaps: Gap[] = [];
  const streams = new Set([...shards.values()].map(({ stream }) => stream));
  streams.delete(BOOTSTRAP_STREAM);
  const oldest = [...found.values()].map(({ stream }) => stream).toSorted()[0];
  if (streams.size === 0 && oldest !== undefined) streams.add(oldest);
  for (const [shard, { stream }] of found) {
    if (streams.has(stream)) continue;
    streams.add(stream);
    const reason = "the stream was switched off and on: what was written between is not in it";
    gaps.push({ shard, after: null, reason, detectedMs: nowMs });
  }
  return gaps;
}

/** @param there passed shards that can still be opened */
export const passedGaps = (there: readonly string[], nowMs: number): readonly Gap[] =>
  there.map((shard) => {
    const reason =
      "it was listed after shards that follow it were read: what it holds may not have been read";
    return { shard, after: null, reason, detectedMs: nowMs };
  });

/** What a complete discovery shows to be missing: shards that should follow others. */
export function childlessGaps(
  { shards }: Snapshot,
  found: ReadonlyMap<string, Position>,
  nowMs: number,
): readonly Gap[] {
  const reason = "it ended, and no shard that follows it was listed while the stream kept it (24 hours)";
  return childlessShards(new Map([...shards, ...found]))
    .filter(([, position]) => endedMs(position) + STREAM_RETENTION_MS <= nowMs)
    .map(([shard, { seq }]) => ({ shard, after: seq, reason, detectedMs: nowMs }));
}

export type Start = {
  readonly position: Position;
  /** Others follow it: it takes no more records. */
  readonly closed: boolean;
};

/** Shards with something left to read that may be read now, with where to begin. */
export function readableShards(shards: ReadonlyMap<string, Position>): ReadonlyMap<string, Start> {
  const unread = [...shards].filter(([, { done, stream }]) => !done && stream !== BOOTSTRAP_STREAM);
  const oldest = unread.reduce<string | null>(
    (least, [, { stream }]) => (least === null || stream < least ? stream : least),
    null,
  );
  let floorMs = 0;
  for (const position of shards.values()) {
    if (oldest !== null && position.stream < oldest) floorMs = Math.max(floorMs, lastChangedMs(position) + 1);
  }
  const parents = new Set([...shards.values()].map(({ parent }) => parent));
  const readable = new Map<string, Start>();
  for (const [shard, position] of unread) {
    const parent = shards.get(position.parent ?? "");
    if (position.stream !== oldest || parent?.done === false) continue;
    const at = standsAtMs(position, shards);
    const changed = Math.max(
      lastChangedMs(position),
      parent === undefined ? 0 : lastChangedMs(parent) + 1,
      floorMs,
    );
    readable.set(shard, { position: { ...position, at, changed }, closed: parents.has(shard) });
  }
  return readable;
}

/** Streams list a shard for 24 hours; this is twice that. */
const FORGET_AFTER_MS = 2 * STREAM_RETENTION_MS;

/** Shards whose position says nothing any more: done long ago, their parents forgotten, their children done. */
export function forgettableShards(
  { shards }: Snapshot,
  listed: readonly ListedShard[],
  nowMs: number,
): readonly string[] {
  const ids = new Set(listed.map(({ id }) => id));
  const children = Map.groupBy(shards.values(), ({ parent }) => parent);
  const childless = new Set(childlessShards(shards).map(([shard]) => shard));
  return [...shards]
    .filter(
      ([id, position]) =>
        position.done &&
        !ids.has(id) &&
        nowMs - endedMs(position) > FORGET_AFTER_MS &&
        !shards.has(position.parent ?? ""),
    )
    .filter(([id]) => !childless.has(id) && (children.get(id) ?? []).every((child) => child.done))
    .map(([id]) => id);
}
