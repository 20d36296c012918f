/**
 * What a group's images hold: finds the paths, lays their values down as texts (table `t_<n>`), and looks up the
 * first value of those that have no column yet.
 */
import type { DuckDBConnection } from "@duckdb/node-api";
import type { First, Leaf, TablePlan } from "./columns.ts";
import { columnOf, modesOf, planTable } from "./columns.ts";
import type { Group, Target } from "./groups.ts";
import { eventTableSql, inRoutes } from "./groups.ts";
import type { FoundPaths, PathMemo, Paths, Room } from "./paths.ts";
import { countEach } from "./count.ts";
import { addObject, findPaths, startPaths } from "./paths.ts";
import { pointerList } from "./pointer.ts";
import type { Catalog } from "./schema.ts";
import { tableKey } from "./schema.ts";
import type { WantedText } from "./texts.ts";
import { textColumn, textsSql, unfitColumn } from "./texts.ts";

export type Leaves = {
  /** The table of texts. */
  readonly relation: string;
  /** Those that have a value. */
  readonly list: readonly Leaf[];
  /** As of `FoundPaths`. */
  readonly partial: string | null;
};

/** Rows, the earliest, in which most first values are. */
const EARLY_ROWS = 1000;
const ORD = "lpad(changed_ms::VARCHAR, 15, '0') || seq AS ord";

type Tables = { readonly catalog: Catalog; readonly columnsMax: number };

/** @param relation the name that the table of texts is to have */
export async function readLeaves(
  scratch: DuckDBConnection,
  group: Group,
  target: Target,
  tables: Tables,
  memo: PathMemo,
  relation: string,
): Promise<Leaves> {
  const items = `item WHERE ${inRoutes(group.routes)}`;
  const key = tableKey(target.name);
  const room: Room = { columnsMax: tables.columnsMax, columns: tables.catalog.get(key) ?? new Map() };
  const paths = memo.get(key) ?? (await startPaths(scratch, items, target, room));
  memo.set(key, paths);
  for (;;) {
    const found = await findPaths(scratch, items, paths, target, room);
    const leaves = await readTexts(scratch, group, items, paths, found, tables, relation);
    if (leaves !== null) return { relation, list: leaves, partial: found.partial };
  }
}

/** Null when an object turned up where none was known: its keys are paths, too. */
async function readTexts(
  scratch: DuckDBConnection,
  group: Group,
  items: string,
  paths: Paths,
  { mixed }: FoundPaths,
  tables: Tables,
  relation: string,
): Promise<readonly Leaf[] | null> {
  const all = [
    ...[...paths.leaves].map(([pointer, path]) => ({ pointer, path, mixed: false })),
    ...[...mixed].map(([pointer, path]) => ({ pointer, path, mixed: true })),
  ];
  const fresh = all.filter(({ path }) => group.targets.some((target) => isNew(path, target, tables.catalog)));
  const early = `(SELECT image, ${ORD} FROM ${items} ORDER BY changed_ms, seq LIMIT ${EARLY_ROWS})`;
  const freshTexts = fresh.map((each): WantedText => ({ ...each, mode: "json" }));
  const firsts =
    fresh.length === 0
      ? new Map<string, First>()
      : await firstsOf(scratch, `(${textsSql(freshTexts, ["ord"], early)})`, freshTexts);

  const leafOf = (each: WantedText, index: number): Leaf => ({
    ...each,
    value: textColumn(index),
    unfit: unfitColumn(index),
    first: firsts.get(each.pointer) ?? null,
  });
  const asJson = all.map((each): WantedText => ({ ...each, mode: "json" }));
  const modes = modesOf(planTables(group.targets, asJson.map(leafOf), tables));
  const wanted = asJson.map((each) => ({ ...each, mode: modes.get(each.pointer) ?? "json" }));
  const undecided = fresh.some(({ pointer }) => !firsts.has(pointer));
  const columns = [...columnsOf(group), ...(undecided ? [ORD] : [])];
  await scratch.run(`CREATE OR REPLACE TABLE ${relation} AS ${textsSql(wanted, columns, items)}`);

  const { present, objects } = await look(scratch, relation, wanted, items);
  const standard = new Set(group.targets.flatMap(standardPointers));
  const isFlat = (index: number): boolean => {
    const each = wanted[index];
    return each === undefined || standard.has(each.pointer) || !addObject(paths, each.path);
  };
  if (objects.filter((index) => !isFlat(index)).length > 0) return null;

  const late = wanted.flatMap((each, index) =>
    present[index] === true &&
    each.mode === "json" &&
    !firsts.has(each.pointer) &&
    fresh.some(({ pointer }) => pointer === each.pointer)
      ? [{ ...each, column: textColumn(index) }]
      : [],
  );
  if (late.length > 0)
    for (const [pointer, first] of await firstsOf(scratch, relation, late)) firsts.set(pointer, first);
  return wanted.map(leafOf).filter((_, index) => present[index] === true);
}

const planTables = (targets: readonly Target[], leaves: readonly Leaf[], tables: Tables): TablePlan[] =>
  targets.map((target) =>
    planTable(target, leaves, tables.catalog.get(tableKey(target.name)) ?? null, tables.columnsMax),
  );

const standardPointers = ({ standard }: Target): string[] =>
  standard.flatMap(({ from }) => (from.kind === "image" ? [from.pointer] : []));

/** True of a path that would make a column. */
function isNew(path: readonly string[], target: Target, catalog: Catalog): boolean {
  const name = columnOf(path, target);
  return name !== null && catalog.get(tableKey(target.name))?.has(name) !== true;
}

/** What the group's tables have from an item's own columns. */
function columnsOf(group: Group): string[] {
  const columns = new Set(
    group.targets.flatMap(({ standard }) =>
      standard.flatMap(({ from }) => (from.kind === "column" ? [from.column] : [])),
    ),
  );
  return [...columns.add("id").add("changed_at")].map((column) =>
    column === "event_table" ? `${eventTableSql(group)} AS event_table` : column,
  );
}

type Numbered = { readonly pointer: string; readonly column?: string };

/** @param relation with the column `ord` */
async function firstsOf(
  scratch: DuckDBConnection,
  relation: string,
  wanted: readonly Numbered[],
): Promise<Map<string, First>> {
  const selects = wanted.flatMap(({ column }, index) => {
    const text = column ?? textColumn(index);
    return [`min(ord) FILTER (${text} IS NOT NULL)`, `arg_min(${text}, ord) FILTER (${text} IS NOT NULL)`];
  });
  const found = await scratch.runAndReadAll(`SELECT ${selects.join(", ")} FROM ${relation}`);
  const line = (found.getRows()[0] ?? []) as readonly (string | null)[];
  const firsts = new Map<string, First>();
  for (const [index, { pointer }] of wanted.entries()) {
    const [ord, json] = [line[2 * index] ?? null, line[2 * index + 1] ?? null];
    if (ord !== null && json !== null) firsts.set(pointer, { ord, json });
  }
  return firsts;
}

/** Which paths have a value, and which hold an object. */
async function look(
  scratch: DuckDBConnection,
  relation: string,
  wanted: readonly WantedText[],
  items: string,
): Promise<{ readonly present: readonly boolean[]; readonly objects: readonly number[] }> {
  const counted = await countEach(
    scratch,
    relation,
    wanted.flatMap(({ mode }, index) => {
      const [text, unfit] = [textColumn(index), unfitColumn(index)];
      return typeof mode === "object"
        ? [`${text} IS NOT NULL OR ${unfit} IS NOT NULL`, `starts_with(${unfit}, '{')`]
        : [`${text} IS NOT NULL`, `starts_with(${text}, '{')`];
    }),
  );
  const present = wanted.map((_, index) => (counted[2 * index] ?? 0) > 0);
  const braced = wanted.flatMap((each, index) =>
    (counted[2 * index + 1] ?? 0) > 0 ? [{ ...each, index }] : [],
  );
  // A text may begin like an object.
  const doubtful = braced.filter(({ mode }) => mode === "text");
  const verified =
    doubtful.length === 0
      ? []
      : await countEach(
          scratch,
          `(SELECT json_type(image, ${pointerList(doubtful.map(({ pointer }) => pointer))}) AS ty FROM ${items})`,
          doubtful.map((_, index) => `ty[${index + 1}] = 'OBJECT'`),
        );
  const texts = new Set(doubtful.filter((_, index) => verified[index] === 0).map(({ index }) => index));
  return { present, objects: braced.map(({ index }) => index).filter((index) => !texts.has(index)) };
}
