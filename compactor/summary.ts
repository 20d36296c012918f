/** What the log says of a data file: out of its rows, by whichever engine wrote them. */
import type { DuckDBConnection } from "@duckdb/node-api";
import { SETSUM_DIGEST_SQL, SETSUM_HALVES_SQL, setsumFromHalves } from "../shared/setsum.ts";
import type { Totals } from "../shared/snapshot.ts";

export type Summary = {
  readonly totals: Totals;
  readonly changes: number;
  /** The `stats` of a Delta add action. */
  readonly stats: string;
};

export type ParquetFile = Summary & {
  readonly bytes: Uint8Array;
  /** Hex. */
  readonly sha256: string;
};

/** Columns whose least and greatest values stand in the log, so that readers can pass over files. */
export const STATS_COLUMNS = ["changed_ms", "kind", "source", "collection", "id"] as const;
/** A text that is longer has no bounds. */
export const STATS_TEXT_MAX = 128;

/** Texts by the order of their UTF-8. */
export type ColumnStats = {
  readonly least: string | null;
  readonly greatest: string | null;
  readonly nulls: number;
};

/** Of any relation that has the row columns. */
export async function summarize(connection: DuckDBConnection, relation: string): Promise<Summary> {
  const result = await connection.runAndReadAll(
    `SELECT count(*)::INTEGER AS rows, sum(changes)::VARCHAR AS changes, ${SETSUM_HALVES_SQL},
     ${STATS_COLUMNS.map((column) => `min(${column})::VARCHAR, max(${column})::VARCHAR, (count(*) - count(${column}))::INTEGER`).join(", ")}
     FROM (SELECT *, ${SETSUM_DIGEST_SQL} AS digest FROM ${relation})`,
  );
  const [values] = result.getRows();
  if (values === undefined) throw new Error("DuckDB gave no summary");
  const [count, changes, upper, lower, ...bounds] = values as [number, string, string, string, ...unknown[]];
  const columns = STATS_COLUMNS.map((_, index) => {
    const [least, greatest, nulls] = bounds.slice(index * 3, index * 3 + 3);
    return { least, greatest, nulls } as ColumnStats;
  });
  return {
    totals: { rows: count, sum: setsumFromHalves(upper, lower) },
    changes: Number(changes),
    stats: statsJson(count, columns),
  };
}

export async function totalsOf(connection: DuckDBConnection, relation: string): Promise<Totals> {
  const result = await connection.runAndReadAll(
    `SELECT count(*)::INTEGER, ${SETSUM_HALVES_SQL} FROM (SELECT ${SETSUM_DIGEST_SQL} AS digest FROM ${relation})`,
  );
  const [rows, upper, lower] = (result.getRows()[0] ?? [0, "0", "0"]) as [number, string, string];
  return { rows, sum: setsumFromHalves(upper, lower) };
}

/** @param columns those of `STATS_COLUMNS` in turn */
export function statsJson(rows: number, columns: readonly ColumnStats[]): string {
  const minValues: Record<string, unknown> = {};
  const maxValues: Record<string, unknown> = {};
  const nullCount: Record<string, number> = {};
  STATS_COLUMNS.forEach((column, index) => {
    const { least, greatest, nulls } = columns[index] ?? { least: null, greatest: null, nulls: rows };
    nullCount[column] = nulls;
    if (least === null || greatest === null) return;
    if (least.length > STATS_TEXT_MAX || greatest.length > STATS_TEXT_MAX) return;
    minValues[column] = column === "changed_ms" ? Number(least) : least;
    maxValues[column] = column === "changed_ms" ? Number(greatest) : greatest;
  });
  const earliest = minValues["changed_ms"] as number;
  const latest = maxValues["changed_ms"] as number;
  return JSON.stringify({
    numRecords: rows,
    minValues: { changed_at: new Date(earliest).toISOString(), ...minValues },
    maxValues: { changed_at: new Date(latest).toISOString(), ...maxValues },
    nullCount: { changed_at: 0, ...nullCount },
  });
}
