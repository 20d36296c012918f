/**
 * From what is in the images to a table's columns. Pure.
 *
 * - Nested objects flatten, their keys joined by `_`; arrays are their JSON text; null makes no column.
 * - A column appears with its first value and keeps that value's type. What does not fit is not forced:
 *   the cell stays null and the value goes to the discards.
 * - Where two properties come to one column, the first by path wins, and the other goes to the discards.
 */
import { flatName, safeName } from "./names.ts";
import type { ColumnType, Columns, Root, StandardColumn } from "./schema.ts";

/** As DuckDB's json_type has them. Whole numbers are UBIGINT, below zero BIGINT. */
export type JsonType = "BOOLEAN" | "BIGINT" | "UBIGINT" | "DOUBLE" | "VARCHAR" | "ARRAY" | "OBJECT";

/** A path into an image. */
export type Path = readonly string[];

/** RFC 6901. */
export const pointerOf = (path: Path): string =>
  path.map((key) => `/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");

/** What a group of rows has at a path: its types, and the order of the first row with each. */
export type Leaf = {
  readonly pointer: string;
  readonly path: Path;
  /** Its keys are paths of their own, so that an object here is no value. */
  readonly expanded: boolean;
  readonly types: ReadonlyMap<JsonType, number>;
  /** How many rows have a value here. */
  readonly present: number;
  /** The value's text and its JSON type, as SQL over an item. */
  readonly value: string;
  readonly json: string;
};

/** Where a cell comes from: a column of the item, or a path of its image. */
export type Source =
  | { readonly kind: "column"; readonly column: string }
  | {
      readonly kind: "path";
      readonly value: string;
      readonly json: string;
      readonly types: readonly JsonType[];
      readonly expanded: boolean;
      readonly present: number;
    };

export type ColumnPlan = {
  readonly name: string;
  readonly type: ColumnType | "other";
  /** A standard column: its times are read as SDKs send them. */
  readonly standard: boolean;
  readonly sources: readonly Source[];
};

export type TablePlan = {
  readonly columns: readonly ColumnPlan[];
  /** Not in the table yet. */
  readonly added: Columns;
  /** Paths for which the table has no room, with the name that their column would have. */
  readonly overflow: readonly { readonly name: string; readonly source: Source }[];
};

/** Names that a property cannot have, because they are the table's own; `name` and `category` may be repeated. */
const MERGED = new Set(["name", "category"]);

/** The column of a property; null when the path is in none of the roots. */
export function columnOf(path: Path, roots: readonly Root[], own: ReadonlySet<string>): string | null {
  for (const { keys, prefix } of roots) {
    if (path.length <= keys.length || keys.some((key, index) => path[index] !== key)) continue;
    return safeName(flatName(prefix, path.slice(keys.length)), own);
  }
  return null;
}

/** Its own columns' names, as far as a property may not have them. */
export const ownNames = (standard: readonly StandardColumn[]): ReadonlySet<string> =>
  new Set(standard.map(({ name }) => name).filter((name) => !MERGED.has(name)));

/** A column to be: which of the values decides its type. */
type Wanted = { readonly name: string; readonly sources: Source[]; first: First | null };
export type First = { readonly ord: number; readonly type: JsonType; readonly pointer: string };

/**
 * @param columns the table's, null when there is no such table yet
 * @param typeOfFirst the type that a first value gives
 */
export function planTable(
  standard: readonly StandardColumn[],
  roots: readonly Root[],
  leaves: readonly Leaf[],
  columns: Columns | null,
  columnsMax: number,
  typeOfFirst: (first: First) => ColumnType,
): TablePlan {
  const plans: ColumnPlan[] = [];
  const wanted = wantedColumns(standard, roots, leaves);
  const added = new Map<string, ColumnType>();
  const overflow: { name: string; source: Source }[] = [];
  for (const { name, type } of standard) {
    if (columns === null || !columns.has(name)) added.set(name, type);
    const sources = wanted.get(name)?.sources ?? [];
    plans.push({ name, type: columns?.get(name) ?? type, standard: true, sources });
    wanted.delete(name);
  }
  const byFirst = [...wanted.values()].toSorted((a, b) => (a.first?.ord ?? 0) - (b.first?.ord ?? 0));
  let count = (columns?.size ?? 0) + added.size;
  for (const { name, sources, first } of byFirst) {
    if (first === null) continue;
    let type = columns?.get(name);
    if (type === undefined) {
      if (count >= columnsMax) {
        overflow.push(...sources.map((source) => ({ name, source })));
        continue;
      }
      count += 1;
      type = typeOfFirst(first);
      added.set(name, type);
    }
    plans.push({ name, type, standard: false, sources });
  }
  return { columns: plans, added, overflow };
}

/** The values that decide the types of columns that are not there yet. */
export function firstValues(
  standard: readonly StandardColumn[],
  roots: readonly Root[],
  leaves: readonly Leaf[],
  columns: Columns | null,
): readonly First[] {
  return [...wantedColumns(standard, roots, leaves).values()].flatMap(({ name, first }) =>
    first === null || columns?.has(name) === true || !dependsOnValue(first.type) ? [] : [first],
  );
}

function wantedColumns(
  standard: readonly StandardColumn[],
  roots: readonly Root[],
  leaves: readonly Leaf[],
): Map<string, Wanted> {
  const wanted = new Map<string, Wanted>();
  const byPointer = new Map(leaves.map((leaf) => [leaf.pointer, leaf]));
  const own = ownNames(standard);
  const pointers = new Set<string>();
  for (const { name, from } of standard) {
    if (from.kind === "column") {
      wanted.set(name, { name, sources: [{ kind: "column", column: from.column }], first: null });
      continue;
    }
    pointers.add(from.pointer);
    const leaf = byPointer.get(from.pointer);
    const sources = leaf === undefined ? [] : [sourceOf(leaf)];
    wanted.set(name, { name, sources, first: null });
  }
  for (const leaf of leaves.toSorted((a, b) => (a.pointer < b.pointer ? -1 : 1))) {
    if (pointers.has(leaf.pointer)) continue;
    const name = columnOf(leaf.path, roots, own);
    const first = name === null ? null : firstOf(leaf);
    if (name === null || first === null) continue;
    const column = wanted.get(name) ?? { name, sources: [], first: null };
    column.sources.push(sourceOf(leaf));
    if (column.first === null || first.ord < column.first.ord) column.first = first;
    wanted.set(name, column);
  }
  return wanted;
}

const sourceOf = ({ value, json, types, expanded, present }: Leaf): Source => ({
  kind: "path",
  value,
  json,
  types: [...types.keys()],
  expanded,
  present,
});

/** Null when there is no value: nothing, null, or an object that flattens. */
function firstOf({ pointer, types, expanded }: Leaf): First | null {
  let first: First | null = null;
  for (const [type, ord] of types) {
    if (type === "OBJECT" && expanded) continue;
    if (first === null || ord < first.ord) first = { ord, type, pointer };
  }
  return first;
}

const dependsOnValue = (type: JsonType): boolean => type === "VARCHAR" || type === "UBIGINT";

const BIGINT_MAX = 2n ** 63n - 1n;
const TIMESTAMP = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d(?::?\d\d)?)?$/;

/** A date with a time of day, ISO 8601. One without a zone is UTC. */
export const isTimestamp = (text: string): boolean =>
  TIMESTAMP.test(text) && !Number.isNaN(Date.parse(text.slice(0, 19)));

/** @param text the value, where the type depends on it */
export function columnType(type: JsonType, text: string | null): ColumnType {
  switch (type) {
    case "BOOLEAN":
      return "boolean";
    case "BIGINT":
      return "bigint";
    case "UBIGINT":
      return text !== null && BigInt(text) > BIGINT_MAX ? "string" : "bigint";
    case "DOUBLE":
      return "double";
    case "VARCHAR":
      return text !== null && isTimestamp(text) ? "timestamptz" : "string";
    case "ARRAY":
    case "OBJECT":
      return "string";
  }
}
