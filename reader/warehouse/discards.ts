/** What finds no place goes to the discards table of its source: a value, or an image whole. */
import type { DuckDBConnection } from "@duckdb/node-api";
import { sqlText } from "../../shared/duckdb.ts";
import type { Discard } from "./cells.ts";
import { countEach } from "./count.ts";
import type { Draft } from "./draft.ts";
import { addDiscards } from "./draft.ts";
import type { Group } from "./groups.ts";
import { inRoutes } from "./groups.ts";
import type { TableName } from "./schema.ts";

export type MayDiscard = Discard & {
  readonly table: TableName;
  /** SQL over the relation. */
  readonly receivedAt: string;
};

/** @param relation a group's texts */
export async function discardValues(
  scratch: DuckDBConnection,
  draft: Draft,
  relation: string,
  discards: readonly MayDiscard[],
): Promise<void> {
  const counts = await countEach(
    scratch,
    relation,
    discards.map(({ condition }) => condition),
  );
  for (const [index, { column, table, condition, value, reason, receivedAt }] of discards.entries()) {
    addDiscards(
      draft,
      table.schema,
      counts[index] ?? 0,
      `SELECT ${receivedAt} AS received_at, ${sqlText(table.table)} AS table_name, id, ${sqlText(column)} AS column_name,
         ${value} AS column_value, ${reason} AS reason FROM ${relation} WHERE ${condition}`,
    );
  }
}

/** Images that hold what has no place, once a row. */
export async function discardWhole(
  scratch: DuckDBConnection,
  draft: Draft,
  group: Group,
  table: TableName,
  {
    image,
    condition,
    reason,
  }: { readonly image: "image" | "broken"; readonly condition: string; readonly reason: string },
): Promise<void> {
  const relation = `whole_${group.routes[0]}_${draft.discarded}`;
  await scratch.run(
    `CREATE OR REPLACE TABLE ${relation} AS SELECT id, ${image} AS whole, changed_at FROM item
     WHERE ${inRoutes(group.routes)} AND ${image} IS NOT NULL AND (${condition})`,
  );
  const [count] = await countEach(scratch, relation, ["true"]);
  addDiscards(
    draft,
    table.schema,
    count ?? 0,
    `SELECT changed_at AS received_at, ${sqlText(table.table)} AS table_name, id, '*' AS column_name,
       whole AS column_value, ${sqlText(reason)} AS reason FROM ${relation}`,
  );
}
