/**
 * PostgreSQL as a warehouse: staged tables go over as COPY text into temporary tables of the session, and from there
 * into the warehouse's, all in one transaction with the cursor.
 *
 * - `id` is every table's primary key. Its constraint's name holds a `|`, which no table's can, since PostgreSQL
 *   keeps indexes and tables in one namespace.
 * - Transactions of two syncs are taken one after the other (an advisory lock); the second finds the cursor moved.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import type { DuckDBConnection } from "@duckdb/node-api";
import pg from "pg";
import { from as copyFrom } from "pg-copy-streams";
import { sqlText } from "../../shared/duckdb.ts";
import { VarveError } from "../../shared/errors.ts";
import { DUCKDB_TYPE } from "./cells.ts";
import { quoteName } from "./names.ts";
import type { NameEntry } from "./registry.ts";
import { registryOf } from "./registry.ts";
import type { ColumnType, Ddl, TableName } from "./schema.ts";
import { DISCARD_COLUMNS, DISCARDS, EVENT_TABLES, tableKey, tableSql } from "./schema.ts";
import type { Cursor, Staged, StagedDelete, StagedTable, Warehouse, WarehouseState } from "./warehouse.ts";
import { partSelect } from "./warehouse.ts";

/** A row must fit a page of 8 KB, in which each long value takes 18 bytes: PostgreSQL's limit of 1,600 is for integers. */
const COLUMNS_MAX = 400;
const CONNECT_MS_MAX = 10_000;
const IDS_PER_DELETE = 10_000;
/** Any number, the same in every sync. */
const LOCK = 0x76617276;

const PG_TYPE: Readonly<Record<ColumnType, string>> = {
  string: "text",
  bigint: "bigint",
  double: "double precision",
  boolean: "boolean",
  timestamptz: "timestamp with time zone",
};
const TYPE_OF: ReadonlyMap<string, ColumnType> = new Map(
  Object.entries(PG_TYPE).map(([type, sql]) => [sql, type as ColumnType]),
);

const SETUP = `
  CREATE TABLE IF NOT EXISTS public._varve_sync
    (changelog text PRIMARY KEY, version bigint, watermark_ms bigint, rows bigint, synced_at timestamptz);
  CREATE TABLE IF NOT EXISTS public._varve_names
    (source text, kind text, name text, given text, PRIMARY KEY (source, kind, name))`;

export async function openPostgresWarehouse(url: string): Promise<Warehouse> {
  const address = shownUrl(url);
  const client = new pg.Client({
    connectionString: url,
    connectionTimeoutMillis: CONNECT_MS_MAX,
    application_name: "varve sync",
    keepAlive: true,
  });
  // A connection that breaks between two queries says so here; the next query says it again.
  client.on("error", () => undefined);
  const run = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      throw error instanceof VarveError ? error : failure(address, error);
    }
  };
  const dir = await mkdtemp(join(tmpdir(), "varve-copy-"));
  try {
    await run(async () => {
      await client.connect();
      await client.query(
        "SET TimeZone = 'UTC'; SET client_min_messages = warning; SET DateStyle = 'ISO, YMD'",
      );
      await inTransaction(client, () => client.query(SETUP));
    });
  } catch (error) {
    await rm(dir, { recursive: true, force: true });
    throw error;
  }
  const stages = new Map<string, string>();
  return {
    address,
    columnsMax: COLUMNS_MAX,
    load: () => run(() => loadState(client)),
    apply: (staged, from, to) =>
      run(async () => {
        const files = staged === null ? NO_FILES : await exportFiles(staged, dir);
        try {
          return await inTransaction(client, async () => {
            const standing = await readCursor(client);
            if (standing?.version !== from?.version || standing?.watermarkMs !== from?.watermarkMs)
              return "moved";
            if (staged !== null) await write(client, staged, files, stages);
            await writeCursor(client, to);
            return "applied";
          });
        } catch (error) {
          // The temporary tables that it made are gone with the transaction.
          stages.clear();
          throw error;
        } finally {
          for (const path of [...files.tables.values(), ...files.discards.values()]) {
            await rm(path, { force: true });
          }
        }
      }),
    close: async () => {
      await client.end().catch(() => undefined);
      await rm(dir, { recursive: true, force: true });
    },
  };
}

async function inTransaction<T>(client: pg.Client, work: () => Promise<T>): Promise<T> {
  await client.query("BEGIN");
  try {
    await client.query("SELECT pg_advisory_xact_lock($1)", [LOCK]);
    const result = await work();
    await client.query("COMMIT");
    return result;
  } catch (error) {
    await client.query("ROLLBACK").catch(() => undefined);
    throw error;
  }
}

function shownUrl(url: string): string {
  try {
    const { protocol, host, pathname } = new URL(url);
    return `${protocol}//${host}${pathname}`;
  } catch {
    throw new VarveError(
      "bad_address",
      "that is not an address of a PostgreSQL database.",
      "Give one such as postgres://user:password@host:5432/database.",
    );
  }
}

function failure(address: string, error: unknown): VarveError {
  const why = error instanceof Error ? error.message || error.name : String(error);
  const code = (error as { readonly code?: unknown } | null)?.code;
  const refusedBySql =
    typeof code === "string" && /^[0-9A-Z]{5}$/.test(code) && !/^(?:08|28|3D|57)/.test(code);
  return refusedBySql
    ? new VarveError(
        "warehouse_refused",
        `${address} refused a statement: ${why} (${code}).`,
        "Nothing of the batch was written. Its role needs CREATE on the database and on the schema public; a table of Varve's that was altered by hand must be mended or dropped.",
        error,
      )
    : new VarveError(
        "warehouse_unreachable",
        `${address} cannot be reached: ${why}`,
        "Check the address, the database's name, the user and the password, and that the server is up. Then run it again: it goes on from its cursor.",
        error,
      );
}

async function readCursor(client: pg.Client): Promise<Cursor | null> {
  const { rows } = await client.query<Record<"changelog" | "version" | "watermark_ms" | "rows", string>>(
    "SELECT changelog, version, watermark_ms, rows FROM public._varve_sync",
  );
  const [first] = rows;
  if (first === undefined) return null;
  return {
    changelog: first.changelog,
    version: Number(first.version),
    watermarkMs: Number(first.watermark_ms),
    rows: Number(first.rows),
  };
}

async function writeCursor(client: pg.Client, to: Cursor): Promise<void> {
  await client.query(
    `INSERT INTO public._varve_sync VALUES ($1, $2, $3, $4, now()) ON CONFLICT (changelog) DO UPDATE
     SET version = excluded.version, watermark_ms = excluded.watermark_ms, rows = excluded.rows, synced_at = now()`,
    [to.changelog, to.version, to.watermarkMs, to.rows],
  );
}

async function loadState(client: pg.Client): Promise<WarehouseState> {
  const names = await client.query<NameEntry>("SELECT source, kind, name, given FROM public._varve_names");
  const found = await client.query<Record<"schema" | "table" | "column" | "type", string>>(
    `SELECT n.nspname AS schema, c.relname AS table, a.attname AS column, format_type(a.atttypid, a.atttypmod) AS type
     FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped AND n.nspname = ANY($1)
     ORDER BY a.attrelid, a.attnum`,
    [names.rows.filter(({ kind }) => kind === "source").map(({ given }) => given)],
  );
  const catalog = new Map<string, Map<string, ColumnType | "other">>();
  for (const { column, type, ...name } of found.rows) {
    const columns = catalog.get(tableKey(name)) ?? new Map<string, ColumnType | "other">();
    columns.set(column, TYPE_OF.get(type) ?? "other");
    catalog.set(tableKey(name), columns);
  }
  return { cursor: await readCursor(client), registry: registryOf(names.rows), catalog };
}

type Files = { readonly tables: ReadonlyMap<string, string>; readonly discards: ReadonlyMap<string, string> };
const NO_FILES: Files = { tables: new Map(), discards: new Map() };

/** COPY's text format: `\N` is null, and a backslash guards what would end a field or a line. */
const COPY_TEXT =
  String.raw`FORMAT csv, HEADER false, DELIMITER '\t', QUOTE '', ESCAPE '', NULLSTR '\N'`.replace(
    String.raw`\t`,
    "\t",
  );
/** PostgreSQL's text holds no NUL. */
const escaped = (sql: string): string =>
  String.raw`replace(replace(replace(replace(replace(${sql}, '\', '\\'), chr(9), '\t'), chr(10), '\n'), chr(13), '\r'), chr(0), chr(65533))`;

const copyCell = (sql: string | null, type: ColumnType): string => {
  if (sql === null) return `NULL::${DUCKDB_TYPE[type]}`;
  return type === "string" ? escaped(sql) : sql;
};

async function exportFiles(staged: Staged, dir: string): Promise<Files> {
  const files = { tables: new Map<string, string>(), discards: new Map<string, string>() };
  const copy = async (selects: readonly string[], name: string): Promise<string> => {
    const path = join(dir, name);
    await staged.scratch.run(`COPY (${selects.join(" UNION ALL ")}) TO ${sqlText(path)} (${COPY_TEXT})`);
    return path;
  };
  for (const [index, { name, columns, parts }] of staged.tables.entries()) {
    const selects = parts.map((part) => partSelect(columns, part, copyCell));
    files.tables.set(tableKey(name), await copy(selects, `table-${index}`));
  }
  for (const [index, [schema, selects]] of [...staged.discards].entries()) {
    if (selects.length === 0) continue;
    const columns = [...DISCARD_COLUMNS].map(([name, type]) => (type === "string" ? escaped(name) : name));
    const rows = `SELECT ${columns.join(", ")} FROM (${selects.join(" UNION ALL ")})`;
    files.discards.set(schema, await copy([rows], `discards-${index}`));
  }
  return files;
}

async function write(
  client: pg.Client,
  staged: Staged,
  files: Files,
  stages: Map<string, string>,
): Promise<void> {
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
  /** Tables of all events of a kind that had some of the batch's already; `fresh_<n>` holds the ids they had not. */
  const repeated = new Map<string, string>();
  for (const [index, table] of staged.tables.entries()) {
    const path = files.tables.get(tableKey(table.name));
    if (path === undefined) continue;
    const stage = await stageTable(client, table, stages);
    const rows = await copyIn(client, `COPY ${stage} (${namesOf(table)}) FROM STDIN`, path);
    if (table.kind === "object") await client.query(upsertSql(table, stage));
    else if (table.base === null) {
      const fresh = await insertOnce(client, table, stage, rows, `fresh_${index}`);
      if (fresh !== null) repeated.set(tableKey(table.name), fresh);
    } else {
      const fresh = repeated.get(tableKey(table.base));
      const only = fresh === undefined ? "" : ` WHERE id IN (SELECT id FROM ${fresh})`;
      await client.query(insertSql(table, stage) + only + ON_CONFLICT);
    }
    await client.query(`TRUNCATE ${stage}`);
  }
  for (const [schema, path] of files.discards) {
    const name = tableSql({ schema, table: DISCARDS });
    await copyIn(client, `COPY ${name} (${[...DISCARD_COLUMNS.keys()].join(", ")}) FROM STDIN`, path);
  }
}

const ON_CONFLICT = " ON CONFLICT (id) DO NOTHING";
const namesOf = ({ columns }: StagedTable): string => [...columns.keys()].map(quoteName).join(", ");
const insertSql = (table: StagedTable, stage: string): string =>
  `INSERT INTO ${tableSql(table.name)} (${namesOf(table)}) SELECT ${namesOf(table)} FROM ${stage}`;

/** The name of a temporary table where some were there already: it holds the ids of those that were not. */
async function insertOnce(
  client: pg.Client,
  table: StagedTable,
  stage: string,
  rows: number,
  fresh: string,
): Promise<string | null> {
  await client.query("SAVEPOINT once");
  const { rowCount } = await client.query(insertSql(table, stage) + ON_CONFLICT);
  if (rowCount === rows) {
    await client.query("RELEASE SAVEPOINT once");
    return null;
  }
  await client.query("ROLLBACK TO SAVEPOINT once");
  await client.query(`CREATE TEMP TABLE ${fresh} (id text) ON COMMIT DROP`);
  await client.query(
    `WITH inserted AS (${insertSql(table, stage)}${ON_CONFLICT} RETURNING id) INSERT INTO ${fresh} SELECT id FROM inserted`,
  );
  return fresh;
}

function upsertSql(table: StagedTable, stage: string): string {
  const set = [...table.columns.keys()]
    .filter((name) => name !== "id")
    .map((name) => `${quoteName(name)} = excluded.${quoteName(name)}`);
  return `${insertSql(table, stage)} ON CONFLICT (id) DO UPDATE SET ${set.join(", ")}`;
}

/** A temporary table like `table`; it lasts as long as the session, so that many small batches leave no traces. */
async function stageTable(
  client: pg.Client,
  { name, columns }: StagedTable,
  stages: Map<string, string>,
): Promise<string> {
  const key = tableKey(name);
  const stage = `varve_stage_${hashOf(key)}`;
  const shape = [...columns].map(([column, type]) => `${quoteName(column)} ${PG_TYPE[type]}`).join(", ");
  if (stages.get(key) === shape) return stage;
  await client.query(`DROP TABLE IF EXISTS ${stage}; CREATE TEMP TABLE ${stage} (${shape})`);
  stages.set(key, shape);
  return stage;
}

const hashOf = (text: string): string => createHash("sha256").update(text).digest("hex").slice(0, 16);

/** How many rows it brought. */
async function copyIn(client: pg.Client, sql: string, path: string): Promise<number> {
  const copy = client.query(copyFrom(sql));
  await pipeline(createReadStream(path), copy);
  return copy.rowCount ?? 0;
}

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
