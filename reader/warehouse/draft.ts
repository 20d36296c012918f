/** What a batch will make of the warehouse, as far as it is staged: names, changes of tables, rows, discards. */
import type { NameEntry, NameKind, Registry } from "./registry.ts";
import { addName, findName, newName } from "./registry.ts";
import type { Catalog, ColumnType, Columns, Ddl, TableKind, TableName } from "./schema.ts";
import { applyDdl, DISCARD_COLUMNS, DISCARDS, tableKey } from "./schema.ts";
import type { Part, StagedTable, WarehouseState } from "./warehouse.ts";

export type Draft = {
  registry: Registry;
  /** The warehouse's, with what `ddl` makes of it. */
  catalog: Catalog;
  readonly names: NameEntry[];
  readonly ddl: Ddl[];
  readonly tables: Map<string, StagedTable>;
  /** By schema: selects with the columns of the discards table. */
  readonly discards: Map<string, string[]>;
  discarded: number;
};

export const newDraft = ({ registry, catalog }: WarehouseState): Draft => ({
  registry,
  catalog,
  names: [],
  ddl: [],
  tables: new Map(),
  discards: new Map(),
  discarded: 0,
});

/** The name that is registered, or now is. */
export function nameOf(draft: Draft, source: string, kind: NameKind, name: string): string {
  const standing = findName(draft.registry, source, kind, name);
  if (standing !== null) return standing.given;
  const entry = newName(draft.registry, source, kind, name);
  draft.registry = addName(draft.registry, entry);
  draft.names.push(entry);
  if (kind === "source") {
    addDdl(draft, { kind: "schema", schema: entry.given });
    const discards = { schema: entry.given, table: DISCARDS };
    addDdl(draft, { kind: "table", name: discards, columns: DISCARD_COLUMNS, keyed: false });
  }
  return entry.given;
}

/** Columns that the table does not have yet; with the table, if there is none. */
export function addColumns(draft: Draft, name: TableName, added: Columns): void {
  if (!draft.catalog.has(tableKey(name))) {
    addDdl(draft, { kind: "table", name, columns: added, keyed: true });
    return;
  }
  for (const [column, type] of added) {
    if (type !== "other") addDdl(draft, { kind: "column", name, column, type });
  }
}

function addDdl(draft: Draft, ddl: Ddl): void {
  draft.ddl.push(ddl);
  draft.catalog = applyDdl(draft.catalog, [ddl]);
}

/** Rows for a table, and the columns that they need. */
export function addPart(
  draft: Draft,
  table: { readonly name: TableName; readonly kind: TableKind; readonly base: TableName | null },
  columns: ReadonlyMap<string, ColumnType>,
  part: Part,
): void {
  const key = tableKey(table.name);
  const standing = draft.tables.get(key);
  draft.tables.set(key, {
    name: table.name,
    kind: table.kind,
    base: table.base,
    columns: new Map([...(standing?.columns ?? []), ...columns]),
    parts: [...(standing?.parts ?? []), part],
  });
}

/** @param select of the discards table's columns */
export function addDiscards(draft: Draft, schema: string, count: number, select: string): void {
  if (count === 0) return;
  draft.discarded += count;
  draft.discards.set(schema, [...(draft.discards.get(schema) ?? []), select]);
}
