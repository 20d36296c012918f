/**
 * From what is in the images to a table's columns. Pure.
 *
 * - Nested objects flatten, their keys joined by `_`; arrays are their JSON text; null makes no column.
 * - A column appears with its first value and keeps that value's type. What does not fit is not forced:
 *   the cell stays null and the value goes to the discards.
 * - Where two properties come to one column, the first by path wins, and the other goes to the discards.
 */
import { flatName, safeName } from "./names.ts";
import type { Path } from "./pointer.ts";
import type { ColumnType, Columns, Root, StandardColumn } from "./schema.ts";
import type { Mode } from "./texts.ts";

/** What a group of rows has at a path. */
export type Leaf = {
  readonly pointer: string;
  readonly path: Path;
  /** SQL over the group's texts. */
  readonly value: string;
  readonly unfit: string;
  readonly mode: Mode;
  /** Null when it is not known, which is so only of columns that are there. */
  readonly first: First | null;
};

/** A path's first value. */
export type First = {
  /** Orders the rows as they happened. */
  readonly ord: string;
  readonly json: string;
};

/** Where a cell comes from: a column of the item, or a path of its image. */
export type Source =
  | { readonly kind: "column"; readonly column: string }
  | ({ readonly kind: "path" } & Pick<Leaf, "pointer" | "value" | "unfit" | "mode">);

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

/** What a table has of its own, and from where properties come to it. */
export type TableShape = { readonly standard: readonly StandardColumn[]; readonly roots: readonly Root[] };

/** Names that a property cannot have, because they are the table's own; `name` and `category` may be repeated. */
const MERGED = new Set(["name", "category"]);

/** The column of a property; null when the path is in none of the roots. */
export function columnOf(path: Path, { standard, roots }: TableShape): string | null {
  for (const { keys, prefix } of roots) {
    if (path.length <= keys.length || keys.some((key, index) => path[index] !== key)) continue;
    return safeName(flatName(prefix, path.slice(keys.length)), ownNames(standard));
  }
  return null;
}

const OWN_NAMES = new WeakMap<readonly StandardColumn[], ReadonlySet<string>>();

/** Its own columns' names, as far as a property may not have them. */
function ownNames(standard: readonly StandardColumn[]): ReadonlySet<string> {
  const names =
    OWN_NAMES.get(standard) ?? new Set(standard.map(({ name }) => name).filter((name) => !MERGED.has(name)));
  OWN_NAMES.set(standard, names);
  return names;
}

/** A column to be, and which of the values decides its type. */
type Wanted = { readonly name: string; readonly sources: Source[]; first: First | null };

/** @param columns the table's, null when there is no such table yet */
export function planTable(
  shape: TableShape,
  leaves: readonly Leaf[],
  columns: Columns | null,
  columnsMax: number,
): TablePlan {
  const plans: ColumnPlan[] = [];
  const wanted = wantedColumns(shape, leaves);
  const added = new Map<string, ColumnType>();
  const overflow: { name: string; source: Source }[] = [];
  for (const { name, type } of shape.standard) {
    if (columns === null || !columns.has(name)) added.set(name, type);
    const sources = wanted.get(name)?.sources ?? [];
    plans.push({ name, type: columns?.get(name) ?? type, standard: true, sources });
    wanted.delete(name);
  }
  const byFirst = [...wanted.values()].toSorted((a, b) => compare(a.first?.ord ?? "", b.first?.ord ?? ""));
  let count = (columns?.size ?? 0) + added.size;
  for (const { name, sources, first } of byFirst) {
    let type = columns?.get(name);
    if (type === undefined) {
      if (first === null) continue;
      if (count >= columnsMax) {
        overflow.push(...sources.map((source) => ({ name, source })));
        continue;
      }
      count += 1;
      type = columnType(first.json);
      added.set(name, type);
    }
    plans.push({ name, type, standard: false, sources });
  }
  return { columns: plans, added, overflow };
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

function wantedColumns(shape: TableShape, leaves: readonly Leaf[]): Map<string, Wanted> {
  const wanted = new Map<string, Wanted>();
  const byPointer = new Map(leaves.map((leaf) => [leaf.pointer, leaf]));
  const pointers = new Set<string>();
  for (const { name, from } of shape.standard) {
    if (from.kind === "column") {
      wanted.set(name, { name, sources: [{ kind: "column", column: from.column }], first: null });
      continue;
    }
    pointers.add(from.pointer);
    const leaf = byPointer.get(from.pointer);
    wanted.set(name, { name, sources: leaf === undefined ? [] : [sourceOf(leaf)], first: null });
  }
  for (const leaf of leaves.toSorted((a, b) => compare(a.pointer, b.pointer))) {
    if (pointers.has(leaf.pointer)) continue;
    const name = columnOf(leaf.path, shape);
    if (name === null) continue;
    const column = wanted.get(name) ?? { name, sources: [], first: null };
    column.sources.push(sourceOf(leaf));
    const { first } = leaf;
    if (first !== null && (column.first === null || first.ord < column.first.ord)) column.first = first;
    wanted.set(name, column);
  }
  return wanted;
}

const sourceOf = ({ pointer, value, unfit, mode }: Leaf): Source => ({
  kind: "path",
  pointer,
  value,
  unfit,
  mode,
});

/** How each path is best laid down: as its columns are, if they are all alike. */
export function modesOf(plans: readonly TablePlan[]): ReadonlyMap<string, Mode> {
  const modes = new Map<string, Mode>();
  const see = (source: Source, mode: Mode): void => {
    if (source.kind !== "path") return;
    const standing = modes.get(source.pointer) ?? mode;
    modes.set(source.pointer, sameMode(standing, mode) ? mode : "json");
  };
  for (const { columns, overflow } of plans) {
    for (const column of columns) for (const source of column.sources) see(source, modeOf(column));
    for (const { source } of overflow) see(source, "json");
  }
  return modes;
}

function modeOf({ type, standard, sources }: ColumnPlan): Mode {
  if (type === "string") return "text";
  return type === "other" || sources.length > 1 ? "json" : { type, standard };
}

const sameMode = (a: Mode, b: Mode): boolean =>
  typeof a === "object" && typeof b === "object" ? a.type === b.type && a.standard === b.standard : a === b;

/** False when values have been laid down otherwise than these columns need them. */
export const suits = ({ columns, overflow }: TablePlan): boolean =>
  columns.every((column) =>
    column.sources.every(
      (source) => source.kind === "column" || source.mode === "json" || sameMode(source.mode, modeOf(column)),
    ),
  ) && overflow.every(({ source }) => source.kind === "column" || typeof source.mode === "string");

const BIGINT_MAX = 2n ** 63n - 1n;
const TIMESTAMP = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d(?::?\d\d)?)?$/;

/** A date with a time of day, ISO 8601. One without a zone is UTC. */
export const isTimestamp = (text: string): boolean =>
  TIMESTAMP.test(text) && !Number.isNaN(Date.parse(text.slice(0, 19)));

/** The type that a first value gives. */
export function columnType(json: string): ColumnType {
  switch (json[0]) {
    case '"':
      return isTimestamp(String(JSON.parse(json))) ? "timestamptz" : "string";
    case "[":
    case "{":
      return "string";
    case "t":
    case "f":
      return "boolean";
    default:
      if (/[.eE]/.test(json)) return "double";
      return BigInt(json) > BIGINT_MAX || BigInt(json) < -BIGINT_MAX - 1n ? "string" : "bigint";
  }
}
