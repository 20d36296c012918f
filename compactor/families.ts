/** What many rows share: each kind of row once, so that a row is known by a number. */
import type { Row } from "../shared/row.ts";

export type Family = Pick<Row, "shard" | "op" | "kind" | "source" | "collection" | "event">;

export type Families = {
  /** The number of the row's family. */
  readonly of: (row: Row) => number;
  /** By number. */
  readonly all: readonly Family[];
};

/** Keyed by value after value: text that holds them all would have to be made and hashed for each row. */
type Branch<Leaf> = Map<string | null, Leaf>;

export function openFamilies(): Families {
  const all: Family[] = [];
  const kins: Branch<Branch<Branch<Branch<Branch<Branch<number>>>>>> = new Map();
  let last: Row | null = null;
  let alike: Branch<Branch<Branch<number>>> = new Map();
  return {
    all,
    of: (row) => {
      const { shard, op, kind, source, collection, event } = row;
      // These seldom differ from one row to the next.
      if (last?.shard !== shard || last.op !== op || last.kind !== kind)
        alike = branch(branch(branch(kins, shard), op), kind);
      last = row;
      const named = branch(branch(alike, source), collection);
      let family = named.get(event);
      if (family === undefined) {
        family = all.push({ shard, op, kind, source, collection, event }) - 1;
        named.set(event, family);
      }
      return family;
    },
  };
}

function branch<Leaf>(from: Branch<Branch<Leaf>>, value: string | null): Branch<Leaf> {
  let next = from.get(value);
  if (next === undefined) from.set(value, (next = new Map()));
  return next;
}
