/**
 * The values of a group's images as texts, a column a path: table `t_<n>`, from which every table of the warehouse
 * takes its cells.
 *
 * - Images are parsed once for it, into a struct (json_transform), which costs half of what a list of pointers does.
 *   What a struct cannot hold comes by pointer.
 * - `text`: the value's own text. `json`: its JSON, whose first character tells its type; null is no value.
 * - Where a type is named, the value as that; what does not fit stands beside it as JSON.
 */
import { sqlText } from "../../shared/duckdb.ts";
import { quoteName } from "./names.ts";
import type { Path } from "./pointer.ts";
import { pointerList } from "./pointer.ts";
import type { NarrowType } from "./value-sql.ts";
import { valueSql, unquotedSql } from "./value-sql.ts";

export type Mode = "text" | "json" | Typed;
export type Typed = { readonly type: NarrowType; readonly standard: boolean };
export type WantedText = {
  readonly pointer: string;
  readonly path: Path;
  readonly mode: Mode;
  /** Objects there are no values. */
  readonly mixed: boolean;
};

/** DuckDB's planner takes time by the square of a struct's width. */
const STRUCT_LEAVES_MAX = 64;

/** The nth path's column. */
export const textColumn = (index: number): string => `l${index}`;
/** With a type: the JSON of what does not fit. */
export const unfitColumn = (index: number): string => `u${index}`;

/**
 * A query for the texts, in the order of `wanted`.
 * @param columns of the items, as SQL, to come along
 * @param items SQL: what stands after FROM
 */
export function textsSql(wanted: readonly WantedText[], columns: readonly string[], items: string): string {
  const fields = new Map<string, string>();
  const parsed: string[] = [];
  const inStructs = wanted.filter(({ mixed }) => !mixed);
  for (let start = 0; start < inStructs.length; start += STRUCT_LEAVES_MAX) {
    const name = `s${parsed.length}`;
    const structure = structureOf(treeOf(inStructs.slice(start, start + STRUCT_LEAVES_MAX)), name, fields);
    if (structure !== null) parsed.push(`json_transform(image, ${sqlText(structure)}) AS ${name}`);
  }
  const rest = wanted.filter(({ pointer }) => !fields.has(pointer));
  if (rest.length > 0)
    parsed.push(`json_extract(image, ${pointerList(rest.map(({ pointer }) => pointer))}) AS p`);
  const texts = wanted.map((each, index) => {
    const field = fields.get(each.pointer) ?? pointerField(each, rest.indexOf(each) + 1);
    return `${field} AS ${typeof each.mode === "object" ? jsonColumn(index) : textColumn(index)}`;
  });
  const sql = `SELECT ${[...columns, ...texts].join(", ")} FROM (SELECT ${["* EXCLUDE image", ...parsed].join(", ")} FROM ${items})`;
  return typedSql(wanted, sql);
}

const jsonColumn = (index: number): string => `j${index}`;

/** Each value is read once: what does not fit is told from the outcome. */
function typedSql(wanted: readonly WantedText[], texts: string): string {
  const typed = wanted.flatMap(({ mode }, index) =>
    typeof mode === "object" ? [{ ...mode, index, json: jsonColumn(index) }] : [],
  );
  if (typed.length === 0) return texts;
  const readings = typed.map(
    ({ type, standard, json, index }) => `${valueSql(type, json, standard)} AS ${textColumn(index)}`,
  );
  const unfit = typed.map(
    ({ json, index }) => `CASE WHEN ${textColumn(index)} IS NULL THEN ${json} END AS ${unfitColumn(index)}`,
  );
  const jsons = typed.map(({ json }) => json).join(", ");
  return `SELECT * EXCLUDE (${jsons}), ${unfit.join(", ")} FROM (SELECT *, ${readings.join(", ")} FROM (${texts}))`;
}

function pointerField({ mode, mixed }: WantedText, position: number): string {
  const json = `p[${position}]::VARCHAR`;
  const isNone = mixed ? `${json} = 'null' OR starts_with(${json}, '{')` : `${json} = 'null'`;
  return `CASE WHEN ${isNone} THEN NULL ELSE ${mode === "text" ? unquotedSql(json) : json} END`;
}

type Tree = { readonly below: Map<string, Tree>; leaf: WantedText | null };

function treeOf(wanted: readonly WantedText[]): Tree {
  const root: Tree = { below: new Map(), leaf: null };
  for (const leaf of wanted) {
    let node = root;
    for (const key of leaf.path) {
      const next = node.below.get(key) ?? { below: new Map<string, Tree>(), leaf: null };
      node.below.set(key, next);
      node = next;
    }
    node.leaf = leaf;
  }
  return root;
}

/** Null when nothing is left. A struct's fields differ in more than case, have a name, and are values or structs. */
function structureOf(tree: Tree, sql: string, fieldOf: Map<string, string>): string | null {
  const folded = new Map<string, number>();
  for (const key of tree.below.keys()) {
    const lower = key.toLowerCase();
    folded.set(lower, (folded.get(lower) ?? 0) + 1);
  }
  const fields: string[] = [];
  for (const [key, child] of tree.below) {
    if (key === "" || folded.get(key.toLowerCase()) !== 1) continue;
    const field = `${sql}.${quoteName(key)}`;
    if (child.below.size > 0) {
      const structure = structureOf(child, field, fieldOf);
      if (structure !== null) fields.push(`${JSON.stringify(key)}:${structure}`);
    } else if (child.leaf !== null) {
      const { pointer, mode } = child.leaf;
      fieldOf.set(pointer, mode === "text" ? field : `${field}::VARCHAR`);
      fields.push(`${JSON.stringify(key)}:"${mode === "text" ? "VARCHAR" : "JSON"}"`);
    }
  }
  return fields.length === 0 ? null : `{${fields.join(",")}}`;
}
