/** The latest row of one key: newest files first, until no older one can hold a later row. */
import { VarveError } from "../shared/errors.ts";
import { parsePk } from "../shared/item.ts";
import type { DataFile } from "../shared/snapshot.ts";
import type { ObjectStore } from "../shared/store.ts";
import type { Filter } from "./range.ts";
import { mayHold, statsOf } from "./range.ts";
import type { ChangeRow } from "./scan.ts";
import { COLUMNS, scan } from "./scan.ts";
import { openScratch } from "./scratch.ts";

/**
 * An item by what it is, such as `{ source: "shop", collection: "users", id: "u1" }`, or by its key: JSON text as in
 * a row (`{"pk":"o#shop#users#u1"}`, `{"tenant":"a","n":7}`), or a partition key of Varve's own table.
 */
export type KeyLike = string | { readonly source: string; readonly collection: string; readonly id: string };

/** Files read at first; twice as many each time after. */
const FIRST_FILES = 4;

/** What rows of the key have in common. Throws `bad_key`. */
function filterOfKey(key: KeyLike): Filter {
  if (typeof key !== "string") return { source: key.source, collection: key.collection, id: key.id };
  const json = keyJson(key);
  const pk = pkOf(json);
  const item = pk === null ? null : parsePk(pk);
  if (item === null) return { key: json };
  const { kind, source, collection, id } = item;
  return { key: json, kind, source, id, ...(collection === null ? {} : { collection }) };
}

const keyJson = (key: string): string => (key.startsWith("{") ? key : `{"pk":${JSON.stringify(key)}}`);

/** Then it is of another program's table, whose keys may only look like ours. */
const hasGenericRows = (file: DataFile): boolean => (statsOf(file).nullCount?.["kind"] ?? 0) > 0;

function pkOf(json: string): string | null {
  try {
    const parsed = JSON.parse(json) as { readonly pk?: unknown };
    return typeof parsed.pk === "string" ? parsed.pk : null;
  } catch (cause) {
    throw new VarveError(
      "bad_key",
      `${json} is not a key.`,
      'Give {"pk":"..."} as in a row\'s key column, or { source, collection, id }.',
      cause,
    );
  }
}

export async function latestRow(
  store: ObjectStore,
  files: readonly DataFile[],
  key: KeyLike,
  signal?: AbortSignal,
): Promise<ChangeRow | null> {
  const filter =
    files.some(hasGenericRows) && typeof key === "string" ? { key: keyJson(key) } : filterOfKey(key);
  const newestFirst = files
    .filter((file) => mayHold(file, filter))
    .toSorted((a, b) => b.maxChangedMs - a.maxChangedMs);
  if (newestFirst.length === 0) return null;
  const scratch = await openScratch(store);
  try {
    let latest: ChangeRow | null = null;
    for (let start = 0, count = FIRST_FILES; start < newestFirst.length; start += count, count *= 2) {
      const some = newestFirst.slice(start, start + count);
      if (latest !== null && latest.changedMs > (some[0]?.maxChangedMs ?? 0)) break;
      for await (const row of scan(scratch, some, { range: null, filter, columns: COLUMNS }, signal)) {
        if (latest === null || isAfter(row, latest)) latest = row;
      }
    }
    return latest;
  } finally {
    await scratch.close();
  }
}

const isAfter = (a: ChangeRow, b: ChangeRow): boolean =>
  a.changedMs > b.changedMs || (a.changedMs === b.changedMs && a.seq > b.seq);
