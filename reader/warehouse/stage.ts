/**
 * A batch of data files into tables of the scratch database, ready for a warehouse: the last state of each object,
 * each event once, images cut into typed columns. Set-based: no row passes through JavaScript.
 */
import type { DuckDBConnection } from "@duckdb/node-api";
import { takeIn } from "./batch.ts";
import { columnSql, overflowDiscards } from "./cells.ts";
import type { Leaf, TablePlan } from "./columns.ts";
import { planTable, suits } from "./columns.ts";
import type { MayDiscard } from "./discards.ts";
import { discardValues, discardWhole } from "./discards.ts";
import type { Draft } from "./draft.ts";
import { addColumns, addPart, newDraft } from "./draft.ts";
import type { Group, Target } from "./groups.ts";
import { deletesOf, groupsOf } from "./groups.ts";
import type { Leaves } from "./leaves.ts";
import { readLeaves } from "./leaves.ts";
import type { PathMemo } from "./paths.ts";
import type { Catalog, ColumnType } from "./schema.ts";
import { tableKey } from "./schema.ts";
import type { Staged, WarehouseState } from "./warehouse.ts";

export type Connections = readonly [DuckDBConnection, ...DuckDBConnection[]];
export type StageLimits = { readonly columnsMax: number; readonly tablesMax: number };

/**
 * @param connections to one database: as many groups are read at a time
 * @param paths Parquet files on this machine
 * @param where which of their rows, SQL
 */
export async function stage(
  connections: Connections,
  paths: readonly string[],
  where: string,
  state: WarehouseState,
  limits: StageLimits,
  memo: PathMemo,
  checked = false,
): Promise<Staged> {
  const [scratch] = connections;
  const draft = newDraft(state);
  const batch = await takeIn(scratch, paths, where, checked);
  const groups = groupsOf(batch, draft, limits.tablesMax);
  try {
    const reads = new Map<Group, Leaves | null>();
    const waiting = [...groups];
    const read = async (connection: DuckDBConnection): Promise<void> => {
      for (let group = waiting.shift(); group !== undefined; group = waiting.shift()) {
        reads.set(group, await readGroup(connection, group, state.catalog, limits, memo));
      }
    };
    const settled = await Promise.allSettled(connections.map(read));
    for (const each of settled) if (each.status === "rejected") throw each.reason;
    for (const group of groups) {
      await stageGroup(scratch, group, reads.get(group) ?? null, draft, limits, memo, checked);
    }
  } catch (error) {
    // Whoever else writes to the table may put anything there. It is rare, and the check is a parse: so only now.
    const isJsonError =
      error instanceof SyntaxError || (error instanceof Error && /malformed json/i.test(error.message));
    if (checked || !isJsonError) throw error;
    memo.clear();
    return stage(connections, paths, where, state, limits, memo, true);
  }
  await scratch.run("DROP TABLE item; DROP TABLE history");
  const rowsOf = (kind: string): number =>
    groups.filter((group) => group.kind === kind).reduce((sum, { rows }) => sum + rows, 0);
  return {
    scratch,
    names: draft.names,
    ddl: draft.ddl,
    deletes: deletesOf(batch, draft),
    tables: [...draft.tables.values()],
    discards: draft.discards,
    counts: {
      events: rowsOf("event"),
      objects: rowsOf("object"),
      deleted: batch.gone.reduce((sum, { rows }) => sum + rows, 0),
      discarded: draft.discarded,
      passed: batch.passed,
    },
  };
}

/** Frees what `stage` has made. */
export async function unstage(scratch: DuckDBConnection): Promise<void> {
  const tables = await scratch.runAndReadAll(
    "SELECT table_name FROM duckdb_tables() WHERE database_name = 'memory' AND schema_name = 'main'",
  );
  for (const [name] of tables.getRows()) await scratch.run(`DROP TABLE memory.main.${String(name)}`);
}

/** Null when the group has no table. */
function readGroup(
  scratch: DuckDBConnection,
  group: Group,
  catalog: Catalog,
  { columnsMax }: StageLimits,
  memo: PathMemo,
): Promise<Leaves | null> {
  const primary = group.targets.at(-1);
  const relation = `t_${group.routes[0]}`;
  return primary === undefined
    ? Promise.resolve(null)
    : readLeaves(scratch, group, primary, { catalog, columnsMax }, memo, relation);
}

async function stageGroup(
  scratch: DuckDBConnection,
  group: Group,
  read: Leaves | null,
  draft: Draft,
  limits: StageLimits,
  memo: PathMemo,
  checked: boolean,
): Promise<void> {
  const { crowdedOut, targets } = group;
  if (crowdedOut !== null) {
    const reason = "the source has no room for more tables";
    await discardWhole(scratch, draft, group, crowdedOut, { image: "image", condition: "true", reason });
  }
  const primary = targets.at(-1);
  if (primary === undefined || read === null) return;
  if (checked) {
    const reason = "the image is not JSON";
    await discardWhole(scratch, draft, group, primary.name, { image: "broken", condition: "true", reason });
  }
  // Meanwhile a group before this one may have given a column that both have another type.
  const isStale = targets.some((target) => !suits(planOf(target, read.list, draft, limits)));
  const leaves = isStale ? await readGroup(scratch, group, draft.catalog, limits, memo) : read;
  if (leaves === null) return;
  const discards = targets.flatMap((target) =>
    stageTable(target, planOf(target, leaves.list, draft, limits), leaves.relation, draft),
  );
  await discardValues(scratch, draft, leaves.relation, discards);
  if (leaves.partial === null) return;
  const reason = "the table has no room for more columns";
  await discardWhole(scratch, draft, group, primary.name, {
    image: "image",
    condition: leaves.partial,
    reason,
  });
}

const planOf = (
  target: Target,
  leaves: readonly Leaf[],
  draft: Draft,
  { columnsMax }: StageLimits,
): TablePlan => planTable(target, leaves, draft.catalog.get(tableKey(target.name)) ?? null, columnsMax);

/** The table's part out of `relation`; gives what may not fit into it. */
function stageTable(target: Target, plan: TablePlan, relation: string, draft: Draft): readonly MayDiscard[] {
  const key = tableKey(target.name);
  addColumns(draft, target.name, plan.added);
  const columns = new Map<string, ColumnType>();
  const cells = new Map<string, string>();
  const discards = overflowDiscards(plan.overflow);
  for (const column of plan.columns) {
    const { sql, discards: unfit } = columnSql(column);
    discards.push(...unfit);
    if (column.type === "other") continue;
    columns.set(column.name, column.type);
    cells.set(column.name, sql);
  }
  if (target.kind === "object") {
    // An image is the object's whole state: a property that it lacks is gone.
    for (const [name, type] of draft.catalog.get(key) ?? []) if (type !== "other") columns.set(name, type);
  }
  addPart(draft, target, columns, { relation, cells });
  const receivedAt = receivedAtSql(target, plan, cells);
  return discards.map((discard) => ({ ...discard, table: target.name, receivedAt }));
}

const receivedAtSql = (
  { kind }: Target,
  { columns }: TablePlan,
  cells: ReadonlyMap<string, string>,
): string => {
  const column = columns.find(({ name }) => name === "received_at");
  const isRead =
    kind === "event" && column !== undefined && column.type === "timestamptz" && column.sources.length > 0;
  return isRead ? (cells.get("received_at") ?? "changed_at") : "changed_at";
};
