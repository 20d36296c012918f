/**
 * How the values of paths come out of images in DuckDB: in one pass as a struct (json_transform), which costs half of
 * what a list of pointers does. What a struct cannot hold comes by pointer. Pure.
 */
import { sqlText } from "../../shared/duckdb.ts";
import type { JsonType, Path } from "./columns.ts";
import { quoteName } from "./names.ts";

export type SeenLeaf = {
  readonly pointer: string;
  readonly path: Path;
  readonly expanded: boolean;
  readonly types: ReadonlyMap<JsonType, number>;
};

export type Extraction = {
  /** Columns to select from items: a struct, values by pointer, types by pointer. */
  readonly select: string;
  /** By pointer: the value's text, and its JSON type, as SQL over those columns. */
  readonly values: ReadonlyMap<string, { readonly value: string; readonly json: string }>;
};

/** DuckDB's planner takes time by the square of a struct's width. */
const STRUCT_LEAVES_MAX = 64;

type Tree = { readonly below: Map<string, Tree>; leaf: string | null };

/** @param leaves those without a value in these rows are left out */
export function planExtraction(leaves: readonly SeenLeaf[]): Extraction {
  const wanted = leaves.filter(({ types, expanded }) =>
    [...types.keys()].some((type) => !expanded || type !== "OBJECT"),
  );
  const inStruct = new Map<string, string>();
  const select: string[] = [];
  for (let start = 0; start < wanted.length; start += STRUCT_LEAVES_MAX) {
    const name = `s${select.length}`;
    const structure = structureOf(treeOf(wanted.slice(start, start + STRUCT_LEAVES_MAX)), name, inStruct);
    if (structure !== null) select.push(`json_transform(image, ${sqlText(structure)}) AS ${name}`);
  }
  const byPointer = wanted.map(({ pointer }) => pointer).filter((pointer) => !inStruct.has(pointer));
  const mixed = wanted.filter(({ types }) => types.size > 1).map(({ pointer }) => pointer);
  const values = new Map(
    wanted.map(({ pointer }) => [
      pointer,
      {
        value: inStruct.get(pointer) ?? `l[${byPointer.indexOf(pointer) + 1}]`,
        json: `ty[${mixed.indexOf(pointer) + 1}]`,
      },
    ]),
  );
  if (byPointer.length > 0) select.push(`json_extract_string(image, ${pointerList(byPointer)}) AS l`);
  if (mixed.length > 0) select.push(`json_type(image, ${pointerList(mixed)}) AS ty`);
  return { select: select.join(", "), values };
}

function treeOf(leaves: readonly SeenLeaf[]): Tree {
  const root: Tree = { below: new Map(), leaf: null };
  for (const { path, pointer } of leaves) {
    let node = root;
    for (const key of path) {
      const next = node.below.get(key) ?? { below: new Map<string, Tree>(), leaf: null };
      node.below.set(key, next);
      node = next;
    }
    node.leaf = pointer;
  }
  return root;
}

/** Null when nothing is left. A struct's fields differ in more than case, have a name, and are values or structs. */
function structureOf(tree: Tree, sql: string, inStruct: Map<string, string>): string | null {
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
      const structure = structureOf(child, field, inStruct);
      if (structure !== null) fields.push(`${JSON.stringify(key)}:${structure}`);
    } else if (child.leaf !== null) {
      inStruct.set(child.leaf, field);
      fields.push(`${JSON.stringify(key)}:"VARCHAR"`);
    }
  }
  return fields.length === 0 ? null : `{${fields.join(",")}}`;
}

export const pointerList = (pointers: readonly string[]): string => `[${pointers.map(sqlText).join(", ")}]`;
