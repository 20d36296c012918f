/**
 * A batch's rows in the scratch database: read once out of their files, and then only those that count.
 *
 * - Table `item`: what is to be in the warehouse: the last state of each object, each event once. By (changed_ms, seq)
 *   its rows are in the order in which they happened.
 * - Table `gone`: the ids that were deleted. An event deleted and then sent again is in both.
 * - Table `route`: what kinds of rows there are; `g` says of which of them a row of `item` or `gone` is.
 */
import type { DuckDBConnection } from "@duckdb/node-api";
import { sqlText } from "../../shared/duckdb.ts";

/** Rows of one kind, in the order of their first. */
export type Route = {
  readonly g: number;
  readonly kind: "event" | "object";
  readonly source: string;
  /** Empty when the row does not say. */
  readonly collection: string;
  /** A track's name; empty for all else. */
  readonly event: string;
  readonly rows: number;
};

export type Batch = {
  readonly items: readonly Route[];
  readonly gone: readonly Route[];
  /** Rows that are neither events nor objects. */
  readonly passed: number;
};

const EVENT = "CASE WHEN kind = 'event' AND collection = 'tracks' THEN coalesce(event, '') ELSE '' END";

/**
 * @param paths Parquet files on this machine
 * @param where which of their rows, SQL
 * @param checked an image that is not JSON stands apart, as `broken`
 */
export async function takeIn(
  scratch: DuckDBConnection,
  paths: readonly string[],
  where: string,
  checked: boolean,
): Promise<Batch> {
  const files = `read_parquet([${paths.map(sqlText).join(", ")}])`;
  await scratch.run(`CREATE OR REPLACE TABLE route AS
    SELECT row_number() OVER ()::INTEGER AS g, * FROM (
      SELECT kind, source, coalesce(collection, '') AS collection, ${EVENT} AS name, count(*)::INTEGER AS n
      FROM ${files} WHERE ${where} GROUP BY ALL)`);
  await scratch.run(`CREATE OR REPLACE TABLE item AS
    SELECT route.g, op, key, changed_ms, seq, id, user_id, anonymous_id, event, event_at, changed_at,
      ${checked ? CHECKED_IMAGE : "image"}
    FROM ${files} AS file JOIN route ON file.kind = route.kind AND file.source = route.source
      AND coalesce(file.collection, '') = route.collection AND ${EVENT.replaceAll(/\b(kind|collection|event)\b(?!')/g, "file.$1")} = route.name
    WHERE (${where}) AND file.kind IN ('event', 'object') AND id IS NOT NULL`);
  await keepWhatCounts(scratch);
  const [items, gone] = [await routesOf(scratch, "item"), await routesOf(scratch, "gone")];
  const passed = await scratch.runAndReadAll(
    "SELECT coalesce(sum(n), 0)::INTEGER FROM route WHERE kind IS NULL OR kind NOT IN ('event', 'object')",
  );
  return { items, gone, passed: Number(passed.getRows()[0]?.[0]) };
}

const CHECKED_IMAGE = `CASE WHEN json_valid(image) THEN image END AS image,
  CASE WHEN NOT json_valid(image) THEN image END AS broken`;

/** Most keys have one row, which is no delete: only the others' history is looked at. */
async function keepWhatCounts(scratch: DuckDBConnection): Promise<void> {
  await scratch.run(`CREATE OR REPLACE TABLE history AS
    WITH ordered AS (
      SELECT item.rowid AS row, g, key, id, op, row_number() OVER (PARTITION BY key ORDER BY changed_ms, seq) AS nth
      FROM item WHERE key IN (SELECT key FROM item GROUP BY key HAVING count(*) > 1 OR bool_or(op = 'delete'))),
    judged AS (
      SELECT *, max(nth) OVER (PARTITION BY key) AS last,
        coalesce(max(CASE WHEN op = 'delete' THEN nth END) OVER (PARTITION BY key), 0) AS deleted FROM ordered)
    SELECT row, judged.g, id, op, kind, nth = last AS is_last, nth = CASE WHEN kind = 'object' THEN last
      ELSE min(CASE WHEN nth > deleted THEN nth END) OVER (PARTITION BY key) END AS counts
    FROM judged JOIN route ON judged.g = route.g`);
  await scratch.run(`CREATE OR REPLACE TABLE gone AS
    SELECT DISTINCT g, id FROM history WHERE op = 'delete' AND (kind = 'event' OR is_last)`);
  await scratch.run(
    "DELETE FROM item WHERE rowid IN (SELECT row FROM history WHERE op = 'delete' OR counts IS NOT TRUE)",
  );
}

async function routesOf(scratch: DuckDBConnection, table: "item" | "gone"): Promise<readonly Route[]> {
  const first = table === "item" ? "min((changed_ms, seq))" : "min(id)";
  const found = await scratch.runAndReadAll(
    `SELECT route.g, kind, source, collection, name, rows FROM route JOIN (
       SELECT g, count(*)::INTEGER AS rows, ${first} AS first FROM ${table} GROUP BY g) AS counted
     ON route.g = counted.g ORDER BY first`,
  );
  type Line = [number, "event" | "object", string, string, string, number];
  return (found.getRows() as Line[]).map(([g, kind, source, collection, event, rows]) => ({
    g,
    kind,
    source,
    collection,
    event,
    rows,
  }));
}
