/**
 * The paths of a group's images: of values (leaves) and of objects, which flatten. They are remembered from batch to
 * batch, so that one like the batch before costs no search.
 */
import type { DuckDBConnection } from "@duckdb/node-api";
import { sqlText } from "../../shared/duckdb.ts";
import { columnOf } from "./columns.ts";
import { countEach } from "./count.ts";
import type { Target } from "./groups.ts";
import type { Path } from "./pointer.ts";
import { childOf, pointerList, pointerOf } from "./pointer.ts";
import type { Columns } from "./schema.ts";

/** By pointer. No path is in both: an object's path has a value only in the batches where `mixed` says so. */
export type Paths = {
  readonly leaves: Map<string, Path>;
  readonly objects: Map<string, Path>;
};
/** By table. */
export type PathMemo = Map<string, Paths>;

export type FoundPaths = {
  /** Objects that are something else in some rows of this batch. */
  readonly mixed: ReadonlyMap<string, Path>;
  /** Null when every path is known; otherwise SQL that is true of items with others. */
  readonly partial: string | null;
};

/** Objects that flatten, in one group; one beyond that is text. */
const OBJECTS_MAX = 500;
/** New keys taken up from one look at a group. */
const KEYS_MAX = 5000;
/** Rows that are looked into for paths, before all are. */
const SAMPLE_ROWS = 32;

/** @param items SQL: the group's */
export async function startPaths(
  scratch: DuckDBConnection,
  items: string,
  target: Target,
  room: Room,
): Promise<Paths> {
  const { standard, roots } = target;
  const paths: Paths = {
    leaves: new Map(),
    objects: new Map(roots.map(({ keys }) => [pointerOf(keys), keys])),
  };
  for (const { from } of standard) {
    if (from.kind === "image") paths.leaves.set(from.pointer, from.pointer.slice(1).split("/"));
  }
  const walk = (value: unknown, path: Path): void => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      if (!paths.objects.has(pointerOf(path))) addLeaf(paths, path, target, room);
    } else if (addObject(paths, path)) {
      for (const [key, below] of Object.entries(value)) walk(below, [...path, key]);
    }
  };
  const sample = await scratch.runAndReadAll(
    `SELECT image FROM ${items} AND image IS NOT NULL LIMIT ${SAMPLE_ROWS}`,
  );
  for (const [image] of sample.getRows()) {
    for (const { keys } of roots) walk(at(JSON.parse(String(image)), keys), keys);
  }
  return paths;
}

/** How many columns a table may have, and which it has. */
export type Room = { readonly columnsMax: number; readonly columns: Columns };

/** Looks at the keys of each object in every row, and takes up those that are not known. */
export async function findPaths(
  scratch: DuckDBConnection,
  items: string,
  paths: Paths,
  target: Target,
  room: Room,
): Promise<FoundPaths> {
  const objects = [...paths.objects];
  const known = objects.map(([pointer, path]) => childKeys(pointer, path, paths));
  const isKnown = known.flatMap((keys, index) =>
    keys.length === 0 ? [] : [`pos = ${index + 1} AND key IN (${keys.map(sqlText).join(", ")})`],
  );
  // An object without keys may be no object at all.
  const found = await scratch.runAndReadAll(
    `WITH shape AS MATERIALIZED (
       SELECT k, count(*) AS n FROM (SELECT json_keys(image, ${pointerList(paths.objects.keys())}) AS k FROM ${items}) GROUP BY k),
     held AS (SELECT pos, n, k[pos] AS keys FROM shape, range(1, ${objects.length + 1}) AS r(pos))
     SELECT pos::INTEGER, key FROM (
       SELECT pos, n, unnest(keys) AS key FROM held UNION ALL SELECT pos, n, NULL FROM held WHERE keys = [])
     WHERE key IS NULL OR NOT (${isKnown.length === 0 ? "false" : isKnown.map((each) => `(${each})`).join(" OR ")})
     GROUP BY ALL ORDER BY sum(n) DESC, key LIMIT ${KEYS_MAX}`,
  );
  const before = paths.leaves.size;
  const lines = found.getRows() as [number, string | null][];
  let full = false;
  const bare: [string, Path][] = [];
  for (const [position, key] of lines) {
    const [pointer, path] = objects[position - 1] ?? [];
    if (pointer === undefined || path === undefined) continue;
    if (key !== null) full = !addLeaf(paths, [...path, key], target, room) || full;
    else if (columnOf(path, target) !== null) bare.push([pointer, path]);
  }
  const isCut = full || lines.length === KEYS_MAX;
  if (isCut && paths.leaves.size > before) return findPaths(scratch, items, paths, target, room);
  return {
    mixed: await mixedOf(scratch, items, bare),
    partial: full
      ? objects.map(([pointer], index) => hasOthers(pointer, known[index] ?? [])).join(" OR ")
      : null,
  };
}

const hasOthers = (pointer: string, keys: readonly string[]): string =>
  `NOT list_has_all([${keys.map(sqlText).join(", ")}]::VARCHAR[], coalesce(json_keys(image, ${sqlText(pointer)}), []))`;

async function mixedOf(
  scratch: DuckDBConnection,
  items: string,
  bare: readonly [string, Path][],
): Promise<ReadonlyMap<string, Path>> {
  if (bare.length === 0) return new Map();
  const counted = await countEach(
    scratch,
    `(SELECT json_type(image, ${pointerList(bare.map(([pointer]) => pointer))}) AS ty FROM ${items})`,
    bare.map((_, index) => `ty[${index + 1}] NOT IN ('OBJECT', 'NULL')`),
  );
  return new Map(bare.filter((_, index) => (counted[index] ?? 0) > 0));
}

/** True when there is room for it, or it needs none. */
function addLeaf({ leaves }: Paths, path: Path, target: Target, room: Room): boolean {
  const name = columnOf(path, target);
  if (name === null) return true;
  const fits = leaves.size < room.columnsMax || room.columns.has(name);
  if (fits) leaves.set(pointerOf(path), path);
  return fits;
}

/** False when there are too many: its path is then one of values. */
export function addObject({ leaves, objects }: Paths, path: Path): boolean {
  const pointer = pointerOf(path);
  if (objects.has(pointer)) return true;
  if (objects.size >= OBJECTS_MAX) return false;
  objects.set(pointer, path);
  leaves.delete(pointer);
  return true;
}

function childKeys(pointer: string, path: Path, { leaves, objects }: Paths): string[] {
  const keys: string[] = [];
  for (const [below, child] of [...leaves, ...objects]) {
    const key = childOf(pointer, path, below, child);
    if (key !== null) keys.push(key);
  }
  return keys;
}

function at(value: unknown, keys: Path): unknown {
  let found = value;
  for (const key of keys) {
    if (typeof found !== "object" || found === null) return undefined;
    found = (found as Record<string, unknown>)[key];
  }
  return found;
}
