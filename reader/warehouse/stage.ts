/**
 * A batch of data files into tables of the scratch database, ready for a warehouse: the last state of each object,
 * each event once, images cut into typed columns. Set-based: no row passes through JavaScript.
 *
 * - `ord` orders the batch's rows as they happened, (changed_ms, seq): along a key that is its order.
 * - An event deleted and sent again within the batch is deleted first, then inserted.
 */
import type { DuckDBConnection } from "@duckdb/node-api";
import { sqlText } from "../../shared/duckdb.ts";
import type { Discard } from "./cells.ts";
import { columnSql, overflowDiscards } from "./cells.ts";
import type { First, JsonType, Leaf, Path, TablePlan } from "./columns.ts";
import { columnOf, columnType, firstValues, ownNames, planTable, pointerOf } from "./columns.ts";
import { planExtraction, pointerList } from "./extract.ts";
import { snakeCase } from "./names.ts";
import type { NameEntry, NameKind, Registry } from "./registry.ts";
import { addName, findName, newName, tablesOf } from "./registry.ts";
import type { ColumnType, Ddl, EventTable, Root, StandardColumn, TableKind, TableName } from "./schema.ts";
import {
  applyDdl,
  DISCARD_COLUMNS,
  DISCARDS,
  EVENT_ROOTS,
  isEventTable,
  OBJECT_COLUMNS,
  OBJECT_ROOTS,
  STANDARD,
  tableKey,
  TRACK_ROOTS,
} from "./schema.ts";
import type { Part, RowCounts, Staged, StagedDelete, StagedTable, WarehouseState } from "./warehouse.ts";

export type StageLimits = { readonly columnsMax: number; readonly tablesMax: number };

/** Objects that flatten, in one group; one beyond that is discarded as a whole. */
const OBJECTS_MAX = 500;
/** New keys taken up from one look at a group. */
const KEYS_MAX = 5000;
/** Rows that are looked into for paths, before all are. */
const SAMPLE_ROWS = 32;

/** The paths known of each group, so that a batch like the one before costs no search. */
export type PathMemo = Map<string, Paths>;
type Paths = {
  readonly leaves: Map<string, Path>;
  readonly objects: Map<string, Path>;
};

/** Rows that go to the same tables. */
type Group = {
  readonly id: number;
  readonly source: string;
  readonly schema: string;
  readonly kind: TableKind;
  /** The event table, or null for an object. */
  readonly base: EventTable | null;
  /** The event's own table, or the collection's. Null: none, or no room for it. */
  readonly own: string | null;
  /** The event's or the collection's, in snake_case. */
  readonly name: string;
  /** What the column `event` says. */
  readonly event: string | null;
  readonly rows: number;
};

type Planner = {
  registry: Registry;
  readonly names: NameEntry[];
  state: WarehouseState;
  readonly ddl: Ddl[];
  readonly discards: Map<string, string[]>;
  readonly tables: Map<string, StagedTable>;
  discarded: number;
};

/**
 * @param paths Parquet files on this machine
 * @param where which of their rows, SQL
 */
export async function stage(
  scratch: DuckDBConnection,
  paths: readonly string[],
  where: string,
  state: WarehouseState,
  limits: StageLimits,
  memo: PathMemo,
  checked = false,
): Promise<Staged> {
  const files = `read_parquet([${paths.map(sqlText).join(", ")}], filename = true, file_row_number = true)`;
  const planner: Planner = {
    registry: state.registry,
    names: [],
    state,
    ddl: [],
    discards: new Map(),
    tables: new Map(),
    discarded: 0,
  };
  await keep(scratch, files, where);
  const { groups, deletes, counts } = await route(scratch, planner, limits);
  await scratch.run(itemSql(files, checked));
  try {
    for (const group of groups) await stageGroup(scratch, group, planner, limits, memo, checked);
  } catch (error) {
    // Whoever else writes to the table may put anything there. It is rare, and the check is a parse: so only now.
    const isJsonError =
      error instanceof SyntaxError || (error instanceof Error && /malformed json/i.test(error.message));
    if (checked || !isJsonError) throw error;
    memo.clear();
    return stage(scratch, paths, where, state, limits, memo, true);
  }
  return {
    scratch,
    names: planner.names,
    ddl: planner.ddl,
    deletes,
    tables: [...planner.tables.values()],
    discards: planner.discards,
    counts: { ...counts, discarded: planner.discarded },
  };
}

/** Frees what `stage` has made. */
export async function unstage(scratch: DuckDBConnection): Promise<void> {
  const tables = await scratch.runAndReadAll(
    "SELECT table_name FROM duckdb_tables() WHERE database_name = 'memory' AND schema_name = 'main'",
  );
  for (const [name] of tables.getRows()) await scratch.run(`DROP TABLE memory.main.${String(name)}`);
}

/** Tables `narrow` (every row) and `kept` (those that count). */
async function keep(scratch: DuckDBConnection, files: string, where: string): Promise<void> {
  await scratch.run(`CREATE OR REPLACE TABLE narrow AS
    SELECT filename, file_row_number AS n, changed_ms, seq, op, key, kind, source, collection, id,
      CASE WHEN kind = 'event' AND collection = 'tracks' THEN coalesce(event, '') END AS event
    FROM ${files} WHERE ${where}`);
  const counted = await scratch.runAndReadAll(
    "SELECT count(*) = count(DISTINCT key) AND count(*) FILTER (WHERE op = 'delete') = 0 FROM narrow",
  );
  // Most batches have each key once, and no deletes.
  const plain = counted.getRows()[0]?.[0] === true;
  await scratch.run(`CREATE OR REPLACE TABLE kept AS ${plain ? KEPT_ALL : KEPT}`);
}

const ROWS_OF_WAREHOUSES = "kind IN ('event', 'object') AND source IS NOT NULL AND id IS NOT NULL";
const ORDERED = `SELECT * EXCLUDE (changed_ms, seq), row_number() OVER (ORDER BY changed_ms, seq, key) AS ord
  FROM narrow WHERE ${ROWS_OF_WAREHOUSES}`;
const KEPT_ALL = ORDERED;
const KEPT = `SELECT * FROM (
    SELECT *, coalesce(max(CASE WHEN op = 'delete' THEN ord END) OVER (PARTITION BY key), 0) AS gone FROM (${ORDERED}))
  WHERE kind = 'object' OR (op <> 'delete' AND ord > gone)
  QUALIFY row_number() OVER (PARTITION BY key ORDER BY CASE WHEN kind = 'object' THEN -ord ELSE ord END) = 1`;

/** Table `item`: what is kept, whole, by group. `checked`: an image that is not JSON stands apart, as `broken`. */
const itemSql = (files: string, checked: boolean): string => `
  CREATE OR REPLACE TABLE item AS
  SELECT k.ord, k.g, p.id, p.user_id, p.anonymous_id, p.event, p.event_at, p.changed_at,
    ${checked ? "CASE WHEN json_valid(p.image) THEN p.image END AS image, CASE WHEN NOT json_valid(p.image) THEN p.image END AS broken" : "p.image"}
  FROM ${files} AS p JOIN (
    SELECT kept.filename, kept.n, kept.ord, route.g FROM kept JOIN route
    ON kept.kind = route.kind AND kept.source = route.source AND kept.collection = route.collection
      AND kept.event IS NOT DISTINCT FROM route.event
    WHERE kept.op <> 'delete') AS k
  ON p.filename = k.filename AND p.file_row_number = k.n`;

/** Table `route`: which rows are of which group. */
async function route(
  scratch: DuckDBConnection,
  planner: Planner,
  { tablesMax }: StageLimits,
): Promise<{
  readonly groups: readonly Group[];
  readonly deletes: readonly StagedDelete[];
  readonly counts: RowCounts;
}> {
  const rows = await scratch.runAndReadAll(
    `SELECT source, kind, collection, event, (op = 'delete') AS gone, count(*)::INTEGER FROM kept GROUP BY ALL ORDER BY min(ord)`,
  );
  await scratch.run(
    "CREATE OR REPLACE TABLE route (kind VARCHAR, source VARCHAR, collection VARCHAR, event VARCHAR, g INTEGER)",
  );
  const appender = await scratch.createAppender("route");
  const groups = new Map<string, Group>();
  const deletes: StagedDelete[] = [];
  let [events, objects, deleted] = [0, 0, 0];
  for (const values of rows.getRows()) {
    const [source, kind, collection, event, gone, count] = values as [
      string,
      "event" | "object",
      string | null,
      string | null,
      boolean,
      number,
    ];
    if (collection === null || (kind === "event" && !isEventTable(collection))) continue;
    const schema = nameOf(planner, source, "source", "");
    if (kind === "object" && gone) {
      deleted += count;
      const entry = findName(planner.registry, source, "collection", collection);
      if (entry !== null) {
        deletes.push({
          kind: "object",
          name: { schema, table: entry.given },
          ids: `SELECT id FROM kept WHERE kind = 'object' AND op = 'delete' AND source = ${sqlText(source)} AND collection = ${sqlText(collection)}`,
        });
      }
      continue;
    }
    const base = kind === "event" && isEventTable(collection) ? collection : null;
    if (base === null) objects += count;
    else events += count;
    const named = base === null || base === "tracks";
    const name = base === null ? collection : named ? snakeCase(event ?? "") : "";
    const nameKind = base === null ? "collection" : "event";
    const key = `${kind} ${source} ${base ?? ""} ${name}`;
    const standing = groups.get(key);
    const room =
      findName(planner.registry, source, nameKind, name) !== null ||
      tablesOf(planner.registry, source) < tablesMax;
    const own = standing?.own ?? (named && room ? nameOf(planner, source, nameKind, name) : null);
    const group: Group = {
      id: standing?.id ?? groups.size,
      source,
      schema,
      kind,
      base,
      own,
      name,
      event: base === "tracks" ? (own ?? name) : null,
      rows: (standing?.rows ?? 0) + count,
    };
    groups.set(key, group);
    appender.appendVarchar(kind);
    appender.appendVarchar(source);
    appender.appendVarchar(collection);
    if (event === null) appender.appendNull();
    else appender.appendVarchar(event);
    appender.appendInteger(group.id);
    appender.endRow();
  }
  appender.closeSync();
  const goneEvents = await scratch.runAndReadAll(
    `SELECT source, count(DISTINCT id)::INTEGER FROM narrow WHERE kind = 'event' AND op = 'delete' AND source IS NOT NULL AND id IS NOT NULL GROUP BY ALL`,
  );
  for (const [source, count] of goneEvents.getRows() as [string, number][]) {
    deleted += count;
    const entry = findName(planner.registry, source, "source", "");
    if (entry === null) continue;
    deletes.push({
      kind: "event",
      schema: entry.given,
      ids: `SELECT DISTINCT id FROM narrow WHERE kind = 'event' AND op = 'delete' AND source = ${sqlText(source)}`,
    });
  }
  const other = await scratch.runAndReadAll(
    "SELECT count(*)::INTEGER FROM narrow WHERE kind IS NULL OR kind NOT IN ('event', 'object')",
  );
  const passed = Number(other.getRows()[0]?.[0] ?? 0);
  return {
    groups: [...groups.values()],
    deletes,
    counts: { events, objects, deleted, discarded: 0, passed },
  };
}

/** The name that is registered, or now is. */
function nameOf(planner: Planner, source: string, kind: NameKind, name: string): string {
  const standing = findName(planner.registry, source, kind, name);
  if (standing !== null) return standing.given;
  const entry = newName(planner.registry, source, kind, name);
  planner.registry = addName(planner.registry, entry);
  planner.names.push(entry);
  if (kind === "source") {
    addDdl(planner, { kind: "schema", schema: entry.given });
    const name_ = { schema: entry.given, table: DISCARDS };
    addDdl(planner, { kind: "table", name: name_, columns: DISCARD_COLUMNS, keyed: false });
  }
  return entry.given;
}

function addDdl(planner: Planner, ddl: Ddl): void {
  planner.ddl.push(ddl);
  planner.state = { ...planner.state, catalog: applyDdl(planner.state.catalog, [ddl]) };
}

/** A table that a group's rows go to. */
type Target = {
  readonly name: TableName;
  readonly kind: TableKind;
  readonly base: TableName | null;
  readonly standard: readonly StandardColumn[];
  readonly roots: readonly Root[];
};

function targetsOf({ schema, kind, base, own }: Group): readonly Target[] {
  if (base === null) {
    if (own === null) return [];
    const name = { schema, table: own };
    return [{ name, kind, base: null, standard: OBJECT_COLUMNS, roots: OBJECT_ROOTS }];
  }
  const name = { schema, table: base };
  const standard = STANDARD[base];
  const all: Target = { name, kind, base: null, standard, roots: EVENT_ROOTS[base] };
  if (own === null) return [all];
  return [all, { name: { schema, table: own }, kind, base: name, standard, roots: TRACK_ROOTS }];
}

async function stageGroup(
  scratch: DuckDBConnection,
  group: Group,
  planner: Planner,
  limits: StageLimits,
  memo: PathMemo,
  checked: boolean,
): Promise<void> {
  const targets = targetsOf(group);
  const primary = targets.at(-1);
  if (primary === undefined || (group.base === "tracks" && group.own === null)) {
    await noTable(scratch, group, planner);
    if (primary === undefined) return;
  }
  if (checked)
    await discardWhole(scratch, group, primary.name, "broken", "true", "the image is not JSON", planner);
  const discovered = await discover(scratch, group, primary, planner, limits, memo);
  const texts = await textsOf(scratch, targets, discovered.list, planner);
  const relation = `x_${group.id}`;
  const cut: Cut = { cells: new Map([["id", "id"]]), discards: [] };
  for (const target of targets) {
    const plan = planOf(target, discovered.list, planner, limits, texts);
    stageTable(target, plan, relation, group, planner, cut);
  }
  const items = `(SELECT id, user_id, anonymous_id, event, event_at, changed_at,
      ${group.event === null ? "NULL" : sqlText(group.event)}::VARCHAR AS event_table
      ${discovered.select === "" ? "" : `, ${discovered.select}`}
    FROM item WHERE g = ${group.id})`;
  const cells = [...cut.cells].map(([sql, name]) => `${sql} AS ${name}`);
  await scratch.run(`CREATE OR REPLACE TABLE ${relation} AS SELECT ${cells.join(", ")} FROM ${items}`);
  const suspects = await findSuspects(scratch, cut, relation);
  if (suspects.length > 0) {
    const values = suspects.flatMap(({ condition, value, reason, receivedAt }, index) => [
      `CASE WHEN ${condition} THEN ${value} END AS d${index}`,
      `CASE WHEN ${condition} THEN ${reason} END AS r${index}`,
      `${receivedAt} AS t${index}`,
    ]);
    const unfit = `u_${group.id}`;
    await scratch.run(`CREATE OR REPLACE TABLE ${unfit} AS SELECT id, ${values.join(", ")} FROM ${items}`);
    await addDiscards(scratch, suspects, unfit, planner);
  }
  if (discovered.partial !== null) {
    await discardWhole(
      scratch,
      group,
      primary.name,
      "image",
      discovered.partial,
      "the table has no room for more columns",
      planner,
    );
  }
}

/** What is cut out of a group's items: each expression once, under a name of its own; `id` under its own name. */
type Cut = {
  readonly cells: Map<string, string>;
  readonly discards: MayDiscard[];
};

type MayDiscard = Discard & {
  readonly table: TableName;
  /** SQL over an item. */
  readonly receivedAt: string;
  /** Nothing is discarded when the cell has as many values as there are. Null: only the condition can tell. */
  readonly unless: { readonly cell: string; readonly present: number } | null;
};

/** What has to be looked at: columns with fewer values than there were. */
async function findSuspects(
  scratch: DuckDBConnection,
  { discards }: Cut,
  relation: string,
): Promise<readonly MayDiscard[]> {
  const cells = [...new Set(discards.flatMap(({ unless }) => (unless === null ? [] : [unless.cell])))];
  if (cells.length === 0) return discards;
  const counted = await scratch.runAndReadAll(
    `SELECT ${cells.map((cell) => `count(${cell})::INTEGER`).join(", ")} FROM ${relation}`,
  );
  const counts = new Map(counted.getRows()[0]?.map((value, index) => [cells[index], Number(value)]));
  return discards.filter(({ unless }) => unless === null || (counts.get(unless.cell) ?? 0) < unless.present);
}

function cellName({ cells }: Cut, sql: string): string {
  const name = cells.get(sql) ?? `c${cells.size}`;
  cells.set(sql, name);
  return name;
}

function planOf(
  target: Target,
  leaves: readonly Leaf[],
  planner: Planner,
  limits: StageLimits,
  texts: ReadonlyMap<string, string>,
): TablePlan {
  const standing = planner.state.catalog.get(tableKey(target.name)) ?? null;
  const plan = planTable(
    target.standard,
    target.roots,
    leaves,
    standing,
    limits.columnsMax,
    ({ type, pointer, ord }) => columnType(type, texts.get(`${ord} ${pointer}`) ?? null),
  );
  if (standing === null) {
    addDdl(planner, { kind: "table", name: target.name, columns: plan.added, keyed: true });
  } else {
    for (const [column, type] of plan.added) {
      if (type !== "other") addDdl(planner, { kind: "column", name: target.name, column, type });
    }
  }
  return plan;
}

/** The table's part out of `relation`, and what does not fit into it. */
function stageTable(
  target: Target,
  plan: TablePlan,
  relation: string,
  group: Group,
  planner: Planner,
  cut: Cut,
): void {
  const key = tableKey(target.name);
  const standing = planner.tables.get(key);
  const columns = new Map<string, ColumnType>(standing?.columns);
  const cells = new Map<string, string>();
  const discards: Omit<MayDiscard, "receivedAt">[] = overflowDiscards(plan.overflow).map((discard) => ({
    ...discard,
    table: target.name,
    unless: null,
  }));
  let receivedAt = "changed_at";
  for (const column of plan.columns) {
    const { sql, discards: unfit, present } = columnSql(column);
    const cell = column.type === "other" ? null : cellName(cut, sql);
    const unless = cell === null || present === null ? null : { cell, present };
    discards.push(...unfit.map((discard) => ({ ...discard, table: target.name, unless })));
    if (column.type === "other" || cell === null) continue;
    if (group.kind === "event" && column.name === "received_at") receivedAt = sql;
    columns.set(column.name, column.type);
    cells.set(column.name, cell);
  }
  if (target.kind === "object") {
    // An image is the object's whole state: a property that it lacks is gone.
    for (const [name, type] of planner.state.catalog.get(key) ?? []) {
      if (type !== "other") columns.set(name, type);
    }
  }
  const part: Part = { relation, cells };
  planner.tables.set(key, {
    name: target.name,
    kind: target.kind,
    base: target.base,
    columns,
    parts: [...(standing?.parts ?? []), part],
  });
  cut.discards.push(...discards.map((discard) => ({ ...discard, receivedAt })));
}

/** @param relation its columns `d<n>`, `r<n>` and `t<n>` are the values, reasons and times of the nth discard */
async function addDiscards(
  scratch: DuckDBConnection,
  discards: readonly { readonly column: string; readonly table: TableName }[],
  relation: string,
  planner: Planner,
): Promise<void> {
  const counted = await scratch.runAndReadAll(
    `SELECT ${discards.map((_, index) => `count(d${index})::INTEGER`).join(", ")} FROM ${relation}`,
  );
  const counts = counted.getRows()[0] as readonly number[];
  for (const [index, { column, table }] of discards.entries()) {
    const count = counts[index] ?? 0;
    if (count === 0) continue;
    planner.discarded += count;
    const selects = planner.discards.get(table.schema) ?? [];
    selects.push(
      `SELECT t${index} AS received_at, ${sqlText(table.table)} AS table_name, id, ${sqlText(column)} AS column_name, d${index} AS column_value, r${index} AS reason FROM ${relation} WHERE d${index} IS NOT NULL`,
    );
    planner.discards.set(table.schema, selects);
  }
}

/** Rows of an event or collection for which the source has no room. */
async function noTable(scratch: DuckDBConnection, group: Group, planner: Planner): Promise<void> {
  const name = { schema: group.schema, table: group.event ?? group.name };
  await discardWhole(
    scratch,
    group,
    name,
    "image",
    "true",
    "the source has no room for more tables",
    planner,
  );
}

/** Images that hold what has no place go to the discards whole, once a row. */
async function discardWhole(
  scratch: DuckDBConnection,
  group: Group,
  table: TableName,
  value: "image" | "broken",
  condition: string,
  reason: string,
  planner: Planner,
): Promise<void> {
  const relation = `whole_${group.id}_${planner.discarded}`;
  await scratch.run(
    `CREATE OR REPLACE TABLE ${relation} AS SELECT id, ${value} AS d0, ${sqlText(reason)} AS r0, changed_at AS t0
     FROM item WHERE g = ${group.id} AND (${condition})`,
  );
  await addDiscards(scratch, [{ column: "*", table }], relation, planner);
}

type Discovered = {
  readonly list: readonly Leaf[];
  /** What to select from items to have the leaves' values. */
  readonly select: string;
  /** Null when every path is known; otherwise SQL that is true of items with others. */
  readonly partial: string | null;
};

/**
 * Every path of the group's images, and the types there. Looks at all rows with the paths known so far; whatever
 * key is not among them is taken up, and it looks again.
 */
async function discover(
  scratch: DuckDBConnection,
  group: Group,
  target: Target,
  planner: Planner,
  { columnsMax }: StageLimits,
  memo: PathMemo,
): Promise<Discovered> {
  const { roots, standard } = target;
  const columns = planner.state.catalog.get(tableKey(target.name)) ?? new Map<string, ColumnType>();
  const own = ownNames(standard);
  const paths = memo.get(tableKey(target.name)) ?? startPaths(target);
  memo.set(tableKey(target.name), paths);
  const { leaves, objects } = paths;

  /** True when there was room. */
  const addLeaf = (path: Path): boolean => {
    const name = columnOf(path, roots, own);
    if (name === null) return true;
    const room = leaves.size < columnsMax || columns.has(name);
    if (room) leaves.set(pointerOf(path), path);
    return room;
  };
  const addObject = (path: Path): void => {
    if (objects.size < OBJECTS_MAX) objects.set(pointerOf(path), path);
  };
  const walk = (value: unknown, path: Path): void => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      if (path.length > 0) addLeaf(path);
      return;
    }
    addObject(path);
    for (const [key, below] of Object.entries(value)) walk(below, [...path, key]);
  };
  if (leaves.size <= standard.length) {
    const sample = await scratch.runAndReadAll(
      `SELECT image FROM item WHERE g = ${group.id} AND image IS NOT NULL LIMIT ${SAMPLE_ROWS}`,
    );
    for (const [image] of sample.getRows()) {
      for (const { keys } of roots) walk(at(JSON.parse(String(image)), keys), keys);
    }
  }

  for (;;) {
    const [leafList, objectList] = [[...leaves], [...objects]];
    await scratch.run(`CREATE OR REPLACE TABLE shape AS
      SELECT any_value(k) AS k, any_value(ty) AS ty, min(ord) AS ord, count(*) AS n FROM (
        SELECT ord, json_keys(image, ${pointerList(objectList.map(([pointer]) => pointer))}) AS k,
          json_type(image, ${pointerList(leafList.map(([pointer]) => pointer))}) AS ty FROM item WHERE g = ${group.id})
      GROUP BY hash(k, ty)`);
    const types = await scratch.runAndReadAll(
      `SELECT pos::INTEGER, type, min(ord)::DOUBLE, sum(n)::DOUBLE FROM (SELECT pos, ord, n, ty[pos] AS type FROM shape, range(1, ${leafList.length + 1}) AS r(pos))
       WHERE type IS NOT NULL AND type <> 'NULL' GROUP BY ALL`,
    );
    const seen = leafList.map(() => new Map<JsonType, number>());
    const counts = leafList.map(() => ({ values: 0, objects: 0 }));
    for (const [position, type, ord, n] of types.getRows() as [number, JsonType, number, number][]) {
      seen[position - 1]?.set(type, ord);
      const count = counts[position - 1];
      if (count !== undefined) count[type === "OBJECT" ? "objects" : "values"] += n;
    }
    let found = false;
    for (const [index, [pointer, path]] of leafList.entries()) {
      if (seen[index]?.has("OBJECT") !== true || objects.has(pointer)) continue;
      addObject(path);
      found ||= objects.has(pointer);
    }
    const known = objectList.map(([pointer, path]) => childKeys(pointer, path, leaves, objects));
    const unknown = await scratch.runAndReadAll(
      `SELECT pos::INTEGER, key FROM (SELECT pos, n, unnest(k[pos]) AS key FROM shape, range(1, ${objectList.length + 1}) AS r(pos))
       WHERE ${known.map((keys, index) => (keys.length === 0 ? "true" : `NOT (pos = ${index + 1} AND key IN (${keys.map(sqlText).join(", ")}))`)).join(" AND ")}
       GROUP BY ALL ORDER BY sum(n) DESC, key LIMIT ${KEYS_MAX}`,
    );
    let full = false;
    for (const [position, key] of unknown.getRows() as [number, string][]) {
      const parent = objectList[position - 1]?.[1];
      if (parent === undefined) continue;
      if (addLeaf([...parent, key])) found = true;
      else full = true;
    }
    if (found) continue;
    const found_ = leafList.map(([pointer, path], index) => ({
      pointer,
      path,
      expanded: objects.has(pointer),
      types: seen[index] ?? new Map<JsonType, number>(),
      present: (counts[index]?.values ?? 0) + (objects.has(pointer) ? 0 : (counts[index]?.objects ?? 0)),
    }));
    const { select, values } = planExtraction(found_);
    const list = found_.flatMap((leaf): Leaf[] => {
      const extracted = values.get(leaf.pointer);
      return extracted === undefined ? [] : [{ ...leaf, ...extracted }];
    });
    const partial = full
      ? objectList
          .map(
            ([pointer], index) =>
              `NOT list_has_all([${(known[index] ?? []).map(sqlText).join(", ")}]::VARCHAR[], coalesce(json_keys(image, ${sqlText(pointer)}), []))`,
          )
          .join(" OR ")
      : null;
    return { list, select, partial };
  }
}

function startPaths({ standard, roots }: Target): Paths {
  const leaves = new Map<string, Path>();
  for (const { from } of standard) {
    if (from.kind === "image") leaves.set(from.pointer, from.pointer.slice(1).split("/"));
  }
  // A list of no paths has no type in SQL; this one is a property like any other.
  if (leaves.size === 0) leaves.set("/id", ["id"]);
  return { leaves, objects: new Map(roots.map(({ keys }) => [pointerOf(keys), keys])) };
}

function childKeys(
  pointer: string,
  path: Path,
  leaves: ReadonlyMap<string, Path>,
  objects: ReadonlyMap<string, Path>,
): string[] {
  const keys = new Set<string>();
  for (const [below, child] of [...leaves, ...objects]) {
    const key = child[path.length];
    if (child.length === path.length + 1 && key !== undefined && below.startsWith(`${pointer}/`))
      keys.add(key);
  }
  return [...keys];
}

function at(value: unknown, keys: Path): unknown {
  let found = value;
  for (const key of keys) {
    if (typeof found !== "object" || found === null) return undefined;
    found = (found as Record<string, unknown>)[key];
  }
  return found;
}

/** The texts of first values, by `<ord> <pointer>`. */
async function textsOf(
  scratch: DuckDBConnection,
  targets: readonly Target[],
  leaves: readonly Leaf[],
  planner: Planner,
): Promise<ReadonlyMap<string, string>> {
  const firsts = new Map<string, First>();
  for (const { name, standard, roots } of targets) {
    const columns = planner.state.catalog.get(tableKey(name)) ?? null;
    for (const first of firstValues(standard, roots, leaves, columns)) {
      firsts.set(`${first.ord} ${first.pointer}`, first);
    }
  }
  if (firsts.size === 0) return new Map();
  const wanted = [...firsts.values()].map(({ ord, pointer }) => `(${ord}, ${sqlText(pointer)})`);
  const found = await scratch.runAndReadAll(
    `SELECT w.ord::VARCHAR, w.pointer, json_extract_string(item.image, w.pointer)
     FROM (VALUES ${wanted.join(", ")}) AS w(ord, pointer) JOIN item ON item.ord = w.ord`,
  );
  return new Map(
    (found.getRows() as [string, string, string][]).map(([ord, pointer, text]) => [
      `${ord} ${pointer}`,
      text,
    ]),
  );
}
