/**
 * One batch into PostgreSQL's tables, within a transaction.
 *
 * - Events are copied straight into their table. Where some are there already, its primary key says so: then the
 *   batch comes by temporary tables, and only what is new goes on.
 * - Objects come by temporary tables, and are upserted.
 */
import { createHash } from "node:crypto";
import type { DuckDBConnection } from "@duckdb/node-api";
import type pg from "pg";
import { quoteName } from "./names.ts";
import type { Exports } from "./postgres-copy.ts";
import { copyIn } from "./postgres-copy.ts";
import type { ColumnType, Ddl, TableName } from "./schema.ts";
import { DISCARD_COLUMNS, DISCARDS, EVENT_TABLES, tableKey, tableSql } from "./schema.ts";
import type { Staged, StagedDelete, StagedTable } from "./warehouse.ts";

const IDS_PER_DELETE = 10_000;

export const PG_TYPE: Readonly<Record<ColumnType, string>> = {
  string: "text",
  bigint: "bigint",
  double: "double precision",
  boolean: "boolean",
  timestamptz: "timestamp with time zone",
};

/** What one connection knows from batch to batch. */
export type Session = {
  readonly client: pg.Client;
  /** Its temporary tables: their columns by the table whose rows they take. */
  readonly stages: Map<string, string>;
  /** The last batch had events that were there already; the next may, too. */
  mayRepeat: boolean;
};

/** @param exports of `staged`: its tables, then its discards */
export async function write(session: Session, staged: Staged, exports: Exports): Promise<void> {
  const { client } = session;
  for (const ddl of staged.ddl) await client.query(ddlSql(ddl));
  for (const { source, kind, name, given } of staged.names) {
    await client.query("INSERT INTO public._varve_names VALUES ($1, $2, $3, $4)", [
      source,
      kind,
      name,
      given,
    ]);
  }
  for (const gone of staged.deletes) await remove(client, staged.scratch, gone);
  const fresh: Fresh = new Map();
  for (const [index, table] of staged.tables.entries()) {
    const path = await exports.path(index);
    if (table.kind === "object") await upsert(session, table, path);
    else if (session.mayRepeat || fresh.size > 0 || !(await copyOnce(client, table, path))) {
      await insertOnce(session, table, path, fresh, index);
    }
  }
  session.mayRepeat = fresh.size > 0;
  for (const [index, schema] of [...staged.discards.keys()].entries()) {
    const path = await exports.path(staged.tables.length + index);
    await copyIn(client, tableSql({ schema, table: DISCARDS }), DISCARD_COLUMNS.keys(), path);
  }
}

const UNIQUE_VIOLATION = "23505";

/** False when some of the events are there already: then nothing was written. */
async function copyOnce(client: pg.Client, table: StagedTable, path: string): Promise<boolean> {
  await client.query("SAVEPOINT once");
  try {
    await copyIn(client, tableSql(table.name), table.columns.keys(), path);
    await client.query("RELEASE SAVEPOINT once");
    return true;
  } catch (error) {
    if ((error as { readonly code?: unknown } | null)?.code !== UNIQUE_VIOLATION) throw error;
    await client.query("ROLLBACK TO SAVEPOINT once");
    return false;
  }
}

/** By table of all events of a kind that had some already: the temporary table of the ids that it had not. */
type Fresh = Map<string, string>;

const ON_CONFLICT = " ON CONFLICT (id) DO NOTHING";
const namesOf = ({ columns }: StagedTable): string => [...columns.keys()].map(quoteName).join(", ");
const insertSql = (table: StagedTable, stage: string): string =>
  `INSERT INTO ${tableSql(table.name)} (${namesOf(table)}) SELECT ${namesOf(table)} FROM ${stage}`;

async function insertOnce(
  session: Session,
  table: StagedTable,
  path: string,
  fresh: Fresh,
  index: number,
): Promise<void> {
  const { client } = session;
  const stage = await stageTable(session, table);
  const rows = await copyIn(client, stage, table.columns.keys(), path);
  if (table.base === null) {
    const ids = `fresh_${index}`;
    await client.query(`CREATE TEMP TABLE ${ids} (id text) ON COMMIT DROP`);
    const { rowCount } = await client.query(
      `WITH inserted AS (${insertSql(table, stage)}${ON_CONFLICT} RETURNING id) INSERT INTO ${ids} SELECT id FROM inserted`,
    );
    if (rowCount !== rows) fresh.set(tableKey(table.name), ids);
  } else {
    const ids = fresh.get(tableKey(table.base));
    const only = ids === undefined ? "" : ` WHERE id IN (SELECT id FROM ${ids})`;
    await client.query(insertSql(table, stage) + only + ON_CONFLICT);
  }
  await client.query(`TRUNCATE ${stage}`);
}

async function upsert(session: Session, table: StagedTable, path: string): Promise<void> {
  const { client } = session;
  const stage = await stageTable(session, table);
  await copyIn(client, stage, table.columns.keys(), path);
  const set = [...table.columns.keys()]
    .filter((name) => name !== "id")
    .map((name) => `${quoteName(name)} = excluded.${quoteName(name)}`);
  await client.query(`${insertSql(table, stage)} ON CONFLICT (id) DO UPDATE SET ${set.join(", ")}`);
  await client.query(`TRUNCATE ${stage}`);
}

/** A temporary table like `table`; it lasts as long as the session, so that many small batches leave no traces. */
async function stageTable({ client, stages }: Session, { name, columns }: StagedTable): Promise<string> {
  const key = tableKey(name);
  const stage = `varve_stage_${hashOf(key)}`;
  const shape = [...columns].map(([column, type]) => `${quoteName(column)} ${PG_TYPE[type]}`).join(", ");
  if (stages.get(key) === shape) return stage;
  await client.query(`DROP TABLE IF EXISTS ${stage}; CREATE TEMP TABLE ${stage} (${shape})`);
  stages.set(key, shape);
  return stage;
}

const hashOf = (text: string): string => createHash("sha256").update(text).digest("hex").slice(0, 16);

async function remove(client: pg.Client, scratch: DuckDBConnection, gone: StagedDelete): Promise<void> {
  const found = await scratch.runAndReadAll(gone.ids);
  const ids = found.getRows().map(([id]) => String(id));
  for (let start = 0; start < ids.length; start += IDS_PER_DELETE) {
    const some = ids.slice(start, start + IDS_PER_DELETE);
    if (gone.kind === "object") await deleteIds(client, gone.name, some);
    else await deleteEvents(client, gone.schema, some);
  }
}

const deleteIds = (client: pg.Client, name: TableName, ids: readonly string[]): Promise<unknown> =>
  client.query(`DELETE FROM ${tableSql(name)} WHERE id = ANY($1)`, [ids]);

async function deleteEvents(client: pg.Client, schema: string, ids: readonly string[]): Promise<void> {
  const existing = await client.query<{ table: string }>(
    "SELECT tablename AS table FROM pg_tables WHERE schemaname = $1",
    [schema],
  );
  const tables = new Set(existing.rows.map(({ table }) => table));
  const from = new Set<string>(EVENT_TABLES.filter((table) => tables.has(table)));
  if (from.has("tracks")) {
    const name = tableSql({ schema, table: "tracks" });
    const events = await client.query<{ event: string }>(
      `SELECT DISTINCT event FROM ${name} WHERE id = ANY($1)`,
      [ids],
    );
    for (const { event } of events.rows) if (tables.has(event)) from.add(event);
  }
  for (const table of from) await deleteIds(client, { schema, table }, ids);
}

function ddlSql(ddl: Ddl): string {
  switch (ddl.kind) {
    case "schema":
      return `CREATE SCHEMA IF NOT EXISTS ${quoteName(ddl.schema)}`;
    case "table": {
      const columns = [...ddl.columns].map(
        ([name, type]) => `${quoteName(name)} ${type === "other" ? "text" : PG_TYPE[type]}`,
      );
      if (ddl.keyed) columns.push(`CONSTRAINT "pk|${hashOf(ddl.name.table)}" PRIMARY KEY (id)`);
      return `CREATE TABLE IF NOT EXISTS ${tableSql(ddl.name)} (${columns.join(", ")})`;
    }
    case "column":
      return `ALTER TABLE ${tableSql(ddl.name)} ADD COLUMN ${quoteName(ddl.column)} ${PG_TYPE[ddl.type]}`;
  }
}
