/**
 * A DuckDB file as a warehouse, attached to the scratch database beside the staged tables.
 *
 * Its tables have no index: filling one costs several times what the rows do, and a scan of the ids finds those that
 * are there already at some 30 million a second.
 */
import { existsSync } from "node:fs";
import type { DuckDBConnection } from "@duckdb/node-api";
import { sqlText } from "../../shared/duckdb.ts";
import { VarveError } from "../../shared/errors.ts";
import { DUCKDB_TYPE } from "./cells.ts";
import { quoteName } from "./names.ts";
import type { NameEntry, NameKind } from "./registry.ts";
import { registryOf } from "./registry.ts";
import type { ColumnType, Columns, Ddl, TableName } from "./schema.ts";
import { COLUMN_TYPES, DISCARD_COLUMNS, DISCARDS, EVENT_TABLES, tableKey } from "./schema.ts";
import type { Cursor, Staged, StagedDelete, StagedTable, Warehouse, WarehouseState } from "./warehouse.ts";
import { partSelect } from "./warehouse.ts";

/** As in PostgreSQL, so that both have the same tables; and DuckDB plans many more slowly. */
const COLUMNS_MAX = 400;
const DB = "warehouse";
/** Each checkpoint writes a table's last row group anew: DuckDB's own 122,880 rows make that dear. */
const ROW_GROUP_ROWS = 30_720;
/** The first whose text compression needs a third of the CPU. A file that is there already stays as it is. */
const STORAGE_VERSION = "v1.3.0";

const SETUP = `
  CREATE TABLE IF NOT EXISTS ${DB}.main._varve_sync
    (changelog VARCHAR, version BIGINT, watermark_ms BIGINT, rows BIGINT, synced_at TIMESTAMPTZ);
  CREATE TABLE IF NOT EXISTS ${DB}.main._varve_names (source VARCHAR, kind VARCHAR, name VARCHAR, given VARCHAR)`;

/** @param scratch the connection that stages batches; the file is attached to it until `close` */
export async function openDuckDBWarehouse(scratch: DuckDBConnection, file: string): Promise<Warehouse> {
  try {
    const version = existsSync(file) ? "" : `, STORAGE_VERSION '${STORAGE_VERSION}'`;
    await scratch.run(
      `ATTACH ${sqlText(file)} AS ${DB} (TYPE duckdb, ROW_GROUP_SIZE ${ROW_GROUP_ROWS}${version})`,
    );
    await scratch.run(SETUP);
  } catch (error) {
    throw cannotOpen(file, error);
  }
  const known = { tables: new Set<string>() };
  const load = async (): Promise<WarehouseState> => {
    const state = await loadState(scratch);
    known.tables = new Set(state.catalog.keys());
    return state;
  };
  const apply: Warehouse["apply"] = async (staged, from, to) => {
    const repeated = staged === null ? new Set<string>() : await findRepeated(staged, known.tables);
    await scratch.run("BEGIN TRANSACTION");
    try {
      const standing = await readCursor(scratch);
      if (standing?.version !== from?.version || standing?.watermarkMs !== from?.watermarkMs) {
        await scratch.run("ROLLBACK");
        return "moved";
      }
      if (staged !== null) await write(staged, repeated);
      await scratch.run(cursorSql(to));
      await scratch.run("COMMIT");
    } catch (error) {
      await scratch.run("ROLLBACK").catch(() => undefined);
      throw error;
    }
    for (const change of staged?.ddl ?? []) {
      if (change.kind === "table") known.tables.add(tableKey(change.name));
    }
    return "applied";
  };
  return {
    address: file,
    columnsMax: COLUMNS_MAX,
    load,
    apply: (staged, from, to) =>
      apply(staged, from, to).catch((error: unknown) => {
        throw refused(file, error);
      }),
    close: async () => {
      await scratch.run(`DETACH ${DB}`);
    },
  };
}

const refused = (file: string, error: unknown): VarveError =>
  new VarveError(
    "warehouse_refused",
    `${file} refused a statement: ${error instanceof Error ? error.message.split("\n")[0] : String(error)}`,
    "Nothing of the batch was written. See that the disk has room; a table of Varve's that was altered by hand must be repaired or dropped. Then run it again: it goes on from its cursor.",
    error,
  );

function cannotOpen(file: string, error: unknown): VarveError {
  const why = error instanceof Error ? error.message : String(error);
  if (/could not set lock on file/i.test(why)) {
    return new VarveError(
      "warehouse_busy",
      `${file} is open in another program, which DuckDB allows only one of.`,
      "Close the other program (another `varve sync`, a DuckDB shell) and start again.",
      error,
    );
  }
  return new VarveError(
    "warehouse_unreachable",
    `${file} cannot be opened as a DuckDB file: ${why.split("\n")[0]}`,
    "Give the path of a DuckDB file, or one that does not exist yet, in a folder that exists.",
    error,
  );
}

const TYPE_OF: ReadonlyMap<string, ColumnType> = new Map([
  ...COLUMN_TYPES.map((type): [string, ColumnType] => [DUCKDB_TYPE[type], type]),
  ["TIMESTAMP WITH TIME ZONE", "timestamptz"],
]);

async function readCursor(scratch: DuckDBConnection): Promise<Cursor | null> {
  const rows = await scratch.runAndReadAll(
    `SELECT changelog, version::DOUBLE, watermark_ms::DOUBLE, rows::DOUBLE FROM ${DB}.main._varve_sync`,
  );
  const [first] = rows.getRows() as [string, number, number, number][];
  if (first === undefined) return null;
  const [changelog, version, watermarkMs, count] = first;
  return { changelog, version, watermarkMs, rows: count };
}

async function loadState(scratch: DuckDBConnection): Promise<WarehouseState> {
  const names = await scratch.runAndReadAll(`SELECT source, kind, name, given FROM ${DB}.main._varve_names`);
  const registry = registryOf(
    (names.getRows() as [string, NameKind, string, string][]).map(
      ([source, kind, name, given]): NameEntry => ({ source, kind, name, given }),
    ),
  );
  const found = await scratch.runAndReadAll(
    `SELECT schema_name, table_name, column_name, data_type FROM duckdb_columns()
     WHERE database_name = '${DB}' AND schema_name <> 'main' AND NOT internal ORDER BY ALL`,
  );
  const catalog = new Map<string, Map<string, Columns extends ReadonlyMap<string, infer T> ? T : never>>();
  for (const [schema, table, column, type] of found.getRows() as [string, string, string, string][]) {
    const key = tableKey({ schema, table });
    const columns = catalog.get(key) ?? new Map();
    columns.set(column, TYPE_OF.get(type) ?? "other");
    catalog.set(key, columns);
  }
  return { cursor: await readCursor(scratch), registry, catalog };
}

const nameSql = ({ schema, table }: TableName): string => `${DB}.${quoteName(schema)}.${quoteName(table)}`;

/** Finds events that the warehouse has already, and says of which tables. Table `repeated_<n>` holds their ids. */
async function findRepeated(staged: Staged, tables: ReadonlySet<string>): Promise<ReadonlySet<string>> {
  const { scratch } = staged;
  const found = new Set<string>();
  for (const [index, table] of staged.tables.entries()) {
    const key = tableKey(table.name);
    if (table.kind !== "event" || table.base !== null || !tables.has(key)) continue;
    const ids = table.parts.map(({ relation }) => `SELECT id FROM ${relation}`).join(" UNION ALL ");
    const gone = staged.deletes.find((each) => each.kind === "event" && each.schema === table.name.schema);
    await scratch.run(
      `CREATE OR REPLACE TABLE memory.main.repeated_${index} AS SELECT id FROM ${nameSql(table.name)} WHERE id IN (${ids})
       ${gone === undefined ? "" : `AND id NOT IN (${gone.ids})`}`,
    );
    const counted = await scratch.runAndReadAll(`SELECT count(*)::INTEGER FROM repeated_${index}`);
    if (Number(counted.getRows()[0]?.[0]) > 0) found.add(key);
  }
  return found;
}

async function write(staged: Staged, repeated: ReadonlySet<string>): Promise<void> {
  const { scratch } = staged;
  for (const ddl of staged.ddl) await scratch.run(ddlSql(ddl));
  for (const entry of staged.names) {
    await scratch.run(
      `INSERT INTO ${DB}.main._varve_names VALUES (${[entry.source, entry.kind, entry.name, entry.given].map(sqlText).join(", ")})`,
    );
  }
  for (const gone of staged.deletes) await remove(scratch, gone);
  const indexOf = new Map(staged.tables.map((table, index) => [tableKey(table.name), index]));
  for (const table of staged.tables) {
    if (table.kind === "object") {
      const ids = table.parts.map(({ relation }) => `SELECT id FROM ${relation}`).join(" UNION ALL ");
      await scratch.run(`DELETE FROM ${nameSql(table.name)} WHERE id IN (${ids})`);
    }
    const base = tableKey(table.base ?? table.name);
    const only = repeated.has(base) ? ` WHERE id NOT IN (FROM repeated_${indexOf.get(base)})` : "";
    await scratch.run(insertSql(table, only));
  }
  for (const [schema, selects] of staged.discards) {
    for (const select of selects) {
      await scratch.run(
        `INSERT INTO ${nameSql({ schema, table: DISCARDS })} (${[...DISCARD_COLUMNS.keys()].join(", ")}) ${select}`,
      );
    }
  }
}

function insertSql({ name, columns, parts }: StagedTable, only: string): string {
  const selects = parts.map(
    (part) => partSelect(columns, part, (sql, type) => sql ?? `NULL::${DUCKDB_TYPE[type]}`) + only,
  );
  const names = [...columns.keys()].map(quoteName).join(", ");
  return `INSERT INTO ${nameSql(name)} (${names}) ${selects.join(" UNION ALL ")}`;
}

async function remove(scratch: DuckDBConnection, gone: StagedDelete): Promise<void> {
  if (gone.kind === "object") {
    await scratch.run(`DELETE FROM ${nameSql(gone.name)} WHERE id IN (${gone.ids})`);
    return;
  }
  const found = await scratch.runAndReadAll(
    `SELECT table_name FROM duckdb_tables() WHERE database_name = '${DB}' AND schema_name = ${sqlText(gone.schema)}`,
  );
  const tables = new Set(found.getRows().map(([table]) => String(table)));
  const from = new Set<string>(EVENT_TABLES.filter((table) => tables.has(table)));
  if (from.has("tracks")) {
    const events = await scratch.runAndReadAll(
      `SELECT DISTINCT event FROM ${nameSql({ schema: gone.schema, table: "tracks" })} WHERE id IN (${gone.ids})`,
    );
    for (const [event] of events.getRows()) if (tables.has(String(event))) from.add(String(event));
  }
  for (const table of from) {
    await scratch.run(`DELETE FROM ${nameSql({ schema: gone.schema, table })} WHERE id IN (${gone.ids})`);
  }
}

function ddlSql(ddl: Ddl): string {
  switch (ddl.kind) {
    case "schema":
      return `CREATE SCHEMA IF NOT EXISTS ${DB}.${quoteName(ddl.schema)}`;
    case "table": {
      const columns = [...ddl.columns].map(
        ([name, type]) => `${quoteName(name)} ${type === "other" ? "VARCHAR" : DUCKDB_TYPE[type]}`,
      );
      return `CREATE TABLE IF NOT EXISTS ${nameSql(ddl.name)} (${columns.join(", ")})`;
    }
    case "column":
      return `ALTER TABLE ${nameSql(ddl.name)} ADD COLUMN ${quoteName(ddl.column)} ${DUCKDB_TYPE[ddl.type]}`;
  }
}

const cursorSql = ({ changelog, version, watermarkMs, rows }: Cursor): string => `
  DELETE FROM ${DB}.main._varve_sync;
  INSERT INTO ${DB}.main._varve_sync VALUES (${sqlText(changelog)}, ${version}, ${watermarkMs}, ${rows}, now())`;
