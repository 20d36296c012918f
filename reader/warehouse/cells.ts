/**
 * Cells as SQL of DuckDB: the typed value of a column out of a group's texts, and the conditions under which a value
 * does not fit. Pure.
 */
import type { ColumnPlan, Source, TablePlan } from "./columns.ts";
import { sqlText } from "../../shared/duckdb.ts";
import { kindSql, valueSql, unquotedSql } from "./value-sql.ts";
import type { ColumnType } from "./schema.ts";

/** A value that is not in its column, told as SQL over one relation. */
export type Discard = {
  readonly column: string;
  readonly condition: string;
  readonly value: string;
  readonly reason: string;
};

export const DUCKDB_TYPE: Readonly<Record<ColumnType, string>> = {
  string: "VARCHAR",
  bigint: "BIGINT",
  double: "DOUBLE",
  boolean: "BOOLEAN",
  timestamptz: "TIMESTAMPTZ",
};

type Cell = {
  readonly sql: string;
  /** The value as text. */
  readonly value: string;
  /** True of rows that have a value here. */
  readonly present: string;
  /** Null when every value fits. */
  readonly unfit: Omit<Discard, "column"> | null;
};

function cellOf({ type, standard }: ColumnPlan, source: Source): Cell {
  if (source.kind === "column") {
    const { column } = source;
    return { sql: column, value: column, present: `${column} IS NOT NULL`, unfit: null };
  }
  const { mode, value: text, unfit } = source;
  const present = `${text} IS NOT NULL`;
  if (typeof mode === "object") {
    const value = `${text}::VARCHAR`;
    return { sql: text, value, present, unfit: unfitOf(`${unfit} IS NOT NULL`, unfit, mode.type) };
  }
  const value = mode === "text" ? text : unquotedSql(text);
  if (type === "string" || type === "other") return { sql: value, value, present, unfit: null };
  const sql = valueSql(type, text, standard);
  return { sql, value, present, unfit: unfitOf(`${present} AND (${sql}) IS NULL`, text, type) };
}

const unfitOf = (condition: string, json: string, type: ColumnType): Omit<Discard, "column"> => ({
  condition,
  value: unquotedSql(json),
  reason: `${kindSql(json)} || ${sqlText(` does not fit ${type}`)}`,
});

/** The column's value, and what may have to be discarded. */
export function columnSql(column: ColumnPlan): {
  readonly sql: string;
  readonly discards: readonly Discard[];
} {
  const { name } = column;
  const type = column.type === "other" ? null : DUCKDB_TYPE[column.type];
  const cells = column.sources.map((source) => cellOf(column, source));
  if (type === null || cells.length === 0) {
    const reason = sqlText("the column has a type that Varve did not give it");
    const discards = cells.map(({ present, value }) => ({
      column: name,
      condition: present,
      value: `(${value})::VARCHAR`,
      reason,
    }));
    return { sql: `NULL${type === null ? "" : `::${type}`}`, discards };
  }
  const discards: Discard[] = [];
  for (const [index, cell] of cells.entries()) {
    if (cell.unfit !== null) discards.push({ column: name, ...cell.unfit });
    if (index === 0) continue;
    const winner = firstOf(cells.slice(0, index));
    discards.push({
      column: name,
      condition: `(${cell.sql}) IS NOT NULL AND (${winner}) IS NOT NULL AND (${cell.sql}) <> (${winner})`,
      value: cell.value,
      reason: sqlText("another property has this column"),
    });
  }
  return { sql: `(${firstOf(cells)})::${type}`, discards };
}

const firstOf = (cells: readonly Cell[]): string =>
  cells.length === 1 ? String(cells[0]?.sql) : `coalesce(${cells.map(({ sql }) => sql).join(", ")})`;

/** The values for which a table has no room. */
export const overflowDiscards = (overflow: TablePlan["overflow"]): Discard[] =>
  overflow.map(({ name, source }) => {
    const { present, value } = cellOf({ name, type: "string", standard: false, sources: [] }, source);
    return {
      column: name,
      condition: present,
      value,
      reason: sqlText("the table has no room for more columns"),
    };
  });
