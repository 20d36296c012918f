/** A warehouse, as the sync sees it: what stands in it, and one transaction at a time. */
import type { DuckDBConnection } from "@duckdb/node-api";
import type { NameEntry, Registry } from "./registry.ts";
import type { Catalog, ColumnType, Ddl, TableKind, TableName } from "./schema.ts";

/** How far the warehouse is; it stands in `_varve_sync`, and changes in the transaction that carries the rows. */
export type Cursor = {
  /** The changelog's id: that of its Delta table. */
  readonly changelog: string;
  /** Every commit up to here is in. -1: none. */
  readonly version: number;
  /** Every change up to here is in, ms. */
  readonly watermarkMs: number;
  /** Rows that the changelog had committed by `version`. */
  readonly rows: number;
};

export type WarehouseState = {
  /** Null: nothing was ever synced here. */
  readonly cursor: Cursor | null;
  readonly registry: Registry;
  readonly catalog: Catalog;
};

/** Columns of a staged table as SQL over a relation in the scratch database. */
export type Part = { readonly relation: string; readonly cells: ReadonlyMap<string, string> };

export type StagedTable = {
  readonly name: TableName;
  readonly kind: TableKind;
  /** The table of all events of its kind: an id that is there already is in this one too. */
  readonly base: TableName | null;
  readonly columns: ReadonlyMap<string, ColumnType>;
  readonly parts: readonly Part[];
};

/** Ids (column `id`) whose rows go. */
export type StagedDelete =
  | { readonly kind: "object"; readonly name: TableName; readonly ids: string }
  /** From every table of events of the schema. */
  | { readonly kind: "event"; readonly schema: string; readonly ids: string };

export type RowCounts = {
  readonly events: number;
  readonly objects: number;
  readonly deleted: number;
  /** Values, not rows. */
  readonly discarded: number;
  /** Rows of the changelog that are not of a warehouse: rejected events, other tables' items. */
  readonly passed: number;
};

/** A batch in the scratch database, ready to be written in one transaction. */
export type Staged = {
  readonly scratch: DuckDBConnection;
  readonly names: readonly NameEntry[];
  readonly ddl: readonly Ddl[];
  readonly deletes: readonly StagedDelete[];
  readonly tables: readonly StagedTable[];
  /** Selects with the columns of the discards table, by schema. */
  readonly discards: ReadonlyMap<string, readonly string[]>;
  readonly counts: RowCounts;
};

/** `moved`: another sync has changed the cursor meanwhile; nothing was written. */
export type ApplyOutcome = "applied" | "moved";

export type Warehouse = {
  /** For people: `shop.duckdb`, `postgres://host/database`. */
  readonly address: string;
  readonly columnsMax: number;
  readonly load: () => Promise<WarehouseState>;
  /** Writes `staged` (null: nothing but the cursor) and `to`, if the cursor still is `from`. All or nothing. */
  readonly apply: (staged: Staged | null, from: Cursor | null, to: Cursor) => Promise<ApplyOutcome>;
  readonly close: () => Promise<void>;
};

/** Every column of `columns` out of each part, in their order; what a part lacks is null. */
export function partSelect(
  columns: ReadonlyMap<string, ColumnType>,
  part: Part,
  cell: (sql: string | null, type: ColumnType, name: string) => string,
): string {
  const cells = [...columns].map(([name, type]) => cell(part.cells.get(name) ?? null, type, name));
  return `SELECT ${cells.join(", ")} FROM ${part.relation}`;
}
