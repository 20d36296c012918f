/** Which sources and collections there are, for those who name one that is not. */
import type { DataFile } from "../shared/snapshot.ts";
import type { ObjectStore } from "../shared/store.ts";
import { statsOf } from "./range.ts";
import { openScratch } from "./scratch.ts";

export type Names = { readonly source: ReadonlySet<string>; readonly collection: ReadonlySet<string> };

/** Files that are opened for it: the newest. Most need not be, because their statistics say it. */
const FILES_READ_MAX = 64;

export async function namesIn(store: ObjectStore, files: readonly DataFile[]): Promise<Names> {
  const names = { source: new Set<string>(), collection: new Set<string>() };
  const unclear = files.filter((file) => {
    const { minValues = {}, maxValues = {} } = statsOf(file);
    const clear = (["source", "collection"] as const).map((column) => {
      const [min, max] = [minValues[column], maxValues[column]];
      if (typeof min === "string") names[column].add(min);
      if (typeof max === "string") names[column].add(max);
      return min === max;
    });
    return !clear.every(Boolean);
  });
  const newest = unclear.toSorted((a, b) => b.maxChangedMs - a.maxChangedMs).slice(0, FILES_READ_MAX);
  if (newest.length === 0) return names;
  const scratch = await openScratch(store);
  try {
    const need = { range: null, filter: {}, columns: new Set(["source", "collection"]) };
    const { relation } = await scratch.fetch(newest, undefined, need);
    const answer = await scratch.connection.runAndReadAll(
      `SELECT DISTINCT source, collection FROM ${relation}`,
    );
    for (const [source, collection] of answer.getRows() as (string | null)[][]) {
      if (typeof source === "string") names.source.add(source);
      if (typeof collection === "string") names.collection.add(collection);
    }
    return names;
  } finally {
    await scratch.close();
  }
}

const NEAR_MAX = 5;

/** The names most like `name`, best first. */
export function nearest(name: string, among: Iterable<string>): string[] {
  return [...among]
    .map((other) => ({ other, apart: editDistance(name.toLowerCase(), other.toLowerCase()) }))
    .toSorted((a, b) => a.apart - b.apart || (a.other < b.other ? -1 : 1))
    .slice(0, NEAR_MAX)
    .map(({ other }) => other);
}

/** Levenshtein: insertions, deletions and replacements of a letter. */
function editDistance(a: string, b: string): number {
  let above = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let row = 1; row <= a.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= b.length; column += 1) {
      const replaced = (above[column - 1] as number) + (a[row - 1] === b[column - 1] ? 0 : 1);
      current.push(Math.min(replaced, (above[column] as number) + 1, (current[column - 1] as number) + 1));
    }
    above = current;
  }
  return above[b.length] as number;
}
