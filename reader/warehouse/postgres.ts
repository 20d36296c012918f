/**
 * PostgreSQL as a warehouse: staged tables go over by COPY, all in one transaction with the cursor.
 *
 * - `id` is every table's primary key. Its constraint's name holds a `|`, which no table's can, since PostgreSQL
 *   keeps indexes and tables in one namespace.
 * - Transactions of two syncs are taken one after the other (an advisory lock); the second finds the cursor moved.
 */
import pg from "pg";
import { VarveError } from "../../shared/errors.ts";
import { discardsSelect, exportFiles, tableSelect } from "./postgres-copy.ts";
import type { Session } from "./postgres-write.ts";
import { PG_TYPE, write } from "./postgres-write.ts";
import type { NameEntry } from "./registry.ts";
import { registryOf } from "./registry.ts";
import type { ColumnType } from "./schema.ts";
import { tableKey } from "./schema.ts";
import type { ApplyOutcome, Cursor, Staged, Warehouse, WarehouseState } from "./warehouse.ts";

/** A row must fit a page of 8 KB, in which each long value takes 18 bytes: PostgreSQL's limit of 1,600 is for integers. */
const COLUMNS_MAX = 400;
const CONNECT_MS_MAX = 10_000;
/** Any number, the same in every sync. */
const LOCK = 0x76617276;

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
    keepAliveInitialDelayMillis: CONNECT_MS_MAX,
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
  await run(async () => {
    await client.connect();
    await client.query("SET TimeZone = 'UTC'; SET client_min_messages = warning; SET DateStyle = 'ISO, YMD'");
    await inTransaction(client, () => client.query(SETUP));
  }).catch(async (error: unknown) => {
    await client.end().catch(() => undefined);
    throw error;
  });
  const session: Session = { client, stages: new Map(), mayRepeat: false };
  return {
    address,
    columnsMax: COLUMNS_MAX,
    load: () => run(() => loadState(client)),
    apply: (staged, from, to) =>
      run(async () => {
        try {
          return await apply(session, staged, from, to, false);
        } catch (error) {
          if (codeOf(error) !== NUL_REFUSED) throw error;
          return await apply(session, staged, from, to, true);
        }
      }),
    close: async () => {
      await client.end().catch(() => undefined);
    },
  };
}

/** https://www.postgresql.org/docs/current/errcodes-appendix.html: character_not_in_repertoire */
const NUL_REFUSED = "22021";
const codeOf = (error: unknown): unknown => (error as { readonly code?: unknown } | null)?.code;

async function apply(
  session: Session,
  staged: Staged | null,
  from: Cursor | null,
  to: Cursor,
  hasNul: boolean,
): Promise<ApplyOutcome> {
  const { client } = session;
  const exports =
    staged === null
      ? null
      : await exportFiles(staged.scratch, [
          ...staged.tables.map((table) => tableSelect(table, hasNul)),
          ...[...staged.discards.values()].map((selects) => discardsSelect(selects, hasNul)),
        ]);
  try {
    return await inTransaction(client, async () => {
      const standing = await readCursor(client);
      if (standing?.version !== from?.version || standing?.watermarkMs !== from?.watermarkMs) return "moved";
      if (staged !== null && exports !== null) await write(session, staged, exports);
      await writeCursor(client, to);
      return "applied";
    });
  } catch (error) {
    // The temporary tables that it made are gone with the transaction.
    session.stages.clear();
    throw error;
  } finally {
    await exports?.close();
  }
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

/** What the server says has SQLSTATE as its code; what the network says may have one of five letters too, as EPIPE. */
export function failure(address: string, error: unknown): VarveError {
  const why = error instanceof Error ? error.message || error.name : String(error);
  const code = codeOf(error);
  const refusedBySql =
    error instanceof pg.DatabaseError && typeof code === "string" && !/^(?:08|28|3D|53300|57)/.test(code);
  return refusedBySql
    ? new VarveError(
        "warehouse_refused",
        `${address} refused a statement: ${why} (${code}).`,
        "Nothing of the batch was written. Its role needs CREATE on the database and on the schema public; a table of Varve's that was altered by hand must be repaired or dropped.",
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
