/**
 * Shards as a drawing: who follows whom, and how far each has been read. Pure.
 *
 * - A first child goes on along its parent's line; each further child has a line of its own below.
 * - A shard begins where its parent's watermark ended.
 */
import type { Position } from "../../shared/position.ts";
import { BOOTSTRAP_STREAM } from "../../shared/position.ts";
import { standsAtMs } from "../../shared/watermark.ts";
import type { Lineage, LineageShard } from "../state.ts";

const SHARDS_MAX = 240;

export function lineageOf(shards: ReadonlyMap<string, Position>, shardsMax = SHARDS_MAX): Lineage {
  const drawn = chosen(shards, shardsMax);
  const children = Map.groupBy(drawn.keys(), (id) => {
    const parent = drawn.get(id)?.parent ?? null;
    return parent !== null && drawn.has(parent) ? parent : null;
  });
  const order = (ids: readonly string[]): string[] =>
    ids.toSorted((a, b) => (drawn.get(a)?.at ?? 0) - (drawn.get(b)?.at ?? 0) || (a < b ? -1 : a > b ? 1 : 0));

  const placed: LineageShard[] = [];
  let lines = 0;
  const place = (root: string, rootLine: number): void => {
    // A line of descent may be long: the first children are walked, the others are put by.
    const waiting: { readonly id: string; readonly line: number | null }[] = [{ id: root, line: rootLine }];
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      const { id } = next;
      const position = drawn.get(id);
      if (position === undefined) continue;
      const line = next.line ?? (lines += 1) - 1;
      const parent = position.parent === null ? undefined : drawn.get(position.parent);
      placed.push({
        id,
        parent: position.parent,
        parentDrawn: parent !== undefined,
        startMs: parent?.at ?? null,
        atMs: position.done ? position.at : standsAtMs(position, shards),
        done: position.done,
        waiting: !position.done && shards.get(position.parent ?? "")?.done === false,
        scan: position.stream === BOOTSTRAP_STREAM,
        line,
      });
      const [first, ...others] = order(children.get(id) ?? []);
      for (const other of others.toReversed()) waiting.push({ id: other, line: null });
      if (first !== undefined) waiting.push({ id: first, line });
    }
  };
  for (const root of order(children.get(null) ?? [])) place(root, (lines += 1) - 1);

  const open = [...shards.values()].filter(({ done }) => !done).length;
  return { shards: placed, lines, open, done: shards.size - open, hidden: shards.size - placed.length };
}

/** All, or those that are open, the furthest behind first, each with its forebears. */
function chosen(shards: ReadonlyMap<string, Position>, shardsMax: number): ReadonlyMap<string, Position> {
  if (shards.size <= shardsMax) return shards;
  const open = [...shards].filter(([, { done }]) => !done).toSorted(([, a], [, b]) => a.at - b.at);
  const newest = [...shards].filter(([, { done }]) => done).toSorted(([, a], [, b]) => b.at - a.at);
  const kept = new Map<string, Position>();
  for (const [id] of [...open, ...newest]) {
    const line: [string, Position][] = [];
    for (let at: string | null = id; at !== null && !kept.has(at);) {
      const position = shards.get(at);
      if (position === undefined) break;
      line.push([at, position]);
      at = position.parent;
    }
    if (kept.size + line.length > shardsMax) {
      if (kept.size < shardsMax) kept.set(...(line[0] as [string, Position]));
      continue;
    }
    for (const [one, position] of line) kept.set(one, position);
  }
  return kept;
}
