/**
 * Cells as SQL of DuckDB: the typed value of a column out of the extracted texts and their JSON types, and the
 * conditions under which a value does not fit. Pure.
 */
import type { ColumnPlan, JsonType, Source, TablePlan } from "./columns.ts";
import { sqlText } from "../../shared/duckdb.ts";
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

const JSON_NAME: Readonly<Record<JsonType, string>> = {
  BOOLEAN: "boolean",
  BIGINT: "number",
  UBIGINT: "number",
  DOUBLE: "number",
  VARCHAR: "string",
  ARRAY: "array",
  OBJECT: "object",
};

/** One way to read a value, and whether it always can be. */
type Reading = { readonly sql: (value: string) => string; readonly total: boolean };

const AS_TEXT: Reading = { sql: (value) => value, total: true };
const AS_BIGINT: Reading = { sql: (value) => `TRY_CAST(${value} AS BIGINT)`, total: false };
const SMALL_BIGINT: Reading = { ...AS_BIGINT, total: true };
const WHOLE_DOUBLE: Reading = {
  sql: (value) => `CASE WHEN ${value} LIKE '%.0' THEN TRY_CAST(${value} AS BIGINT) END`,
  total: false,
};
const INTEGER_DOUBLE: Reading = { sql: (value) => `TRY_CAST(${value} AS DOUBLE)`, total: true };
const AS_DOUBLE: Reading = {
  sql: (value) => `CASE WHEN isfinite(TRY_CAST(${value} AS DOUBLE)) THEN TRY_CAST(${value} AS DOUBLE) END`,
  total: false,
};
const AS_BOOLEAN: Reading = { sql: (value) => `(${value} = 'true')`, total: true };
const AS_TIMESTAMP: Reading = {
  sql: (value) => `CASE WHEN ${value} LIKE '____-__-__T__:__:%' THEN TRY_CAST(${value} AS TIMESTAMPTZ) END`,
  total: false,
};
/** SDKs also send dates, a space for the T, and numbers of seconds or milliseconds. */
const AS_SENT_TIME: Reading = {
  sql: (value) => `CASE WHEN ${value} LIKE '____-__-__%' THEN TRY_CAST(${value} AS TIMESTAMPTZ) END`,
  total: false,
};
const AS_SENT_NUMBER: Reading = {
  sql: (value) =>
    `CASE WHEN TRY_CAST(${value} AS DOUBLE) BETWEEN 1 AND 253402300799999 THEN make_timestamptz(
       CAST(TRY_CAST(${value} AS DOUBLE) * CASE WHEN TRY_CAST(${value} AS DOUBLE) < 1e11 THEN 1e6 ELSE 1e3 END AS BIGINT)) END`,
  total: false,
};

function readingOf(type: ColumnType | "other", json: JsonType, standard: boolean): Reading | null {
  switch (type) {
    case "string":
      return AS_TEXT;
    case "bigint":
      if (json === "DOUBLE") return WHOLE_DOUBLE;
      return json === "BIGINT" ? SMALL_BIGINT : json === "UBIGINT" ? AS_BIGINT : null;
    case "double":
      if (json === "DOUBLE") return AS_DOUBLE;
      return json === "BIGINT" || json === "UBIGINT" ? INTEGER_DOUBLE : null;
    case "boolean":
      return json === "BOOLEAN" ? AS_BOOLEAN : null;
    case "timestamptz":
      if (json === "VARCHAR") return standard ? AS_SENT_TIME : AS_TIMESTAMP;
      return standard && (json === "DOUBLE" || json === "UBIGINT") ? AS_SENT_NUMBER : null;
    case "other":
      return null;
  }
}

type Cell = {
  readonly sql: string;
  /** True of rows that have a value here. */
  readonly present: string;
  readonly value: string;
  /** Null when every value fits. */
  readonly unfit: { readonly condition: string; readonly reason: string } | null;
};

function cellOf(column: ColumnPlan, source: Source): Cell {
  if (source.kind === "column") {
    const present = `${source.column} IS NOT NULL`;
    return { sql: source.column, present, value: source.column, unfit: null };
  }
  const { value, json } = source;
  const types = source.types.filter((type) => type !== "OBJECT" || !source.expanded);
  const mixed = source.types.length > 1;
  const isObject = mixed && types.length < source.types.length;
  const present = isObject ? `${value} IS NOT NULL AND ${json} <> 'OBJECT'` : `${value} IS NOT NULL`;
  const byReading = new Map<Reading, JsonType[]>();
  let total = true;
  for (const type of types) {
    const reading = readingOf(column.type, type, column.standard);
    total &&= reading?.total ?? false;
    if (reading !== null) byReading.set(reading, [...(byReading.get(reading) ?? []), type]);
  }
  const readings = [...byReading];
  const [only] = readings;
  const reads = only?.[1].length ?? 0;
  let sql: string;
  if (only === undefined) sql = "NULL";
  else if (readings.length === 1 && reads === types.length && !isObject) sql = only[0].sql(value);
  else {
    const cases = readings.map(
      ([reading, of]) => `WHEN ${json} IN (${of.map(sqlText).join(", ")}) THEN ${reading.sql(value)}`,
    );
    sql = mixed ? `CASE ${cases.join(" ")} END` : only[0].sql(value);
  }
  if (total) return { sql, present, value, unfit: null };
  const [single] = types;
  const name = mixed
    ? `CASE ${json} ${Object.entries(JSON_NAME)
        .map(([type, word]) => `WHEN ${sqlText(type)} THEN ${sqlText(word)}`)
        .join(" ")} END`
    : sqlText(single === undefined ? "value" : JSON_NAME[single]);
  return {
    sql,
    present,
    value,
    unfit: {
      condition: `${present} AND (${sql}) IS NULL`,
      reason: `${name} || ${sqlText(` does not fit ${column.type}`)}`,
    },
  };
}

/**
 * The column's value, and what may have to be discarded: nothing has to be when the column has as many values as
 * `present`, null when only the conditions can tell.
 */
export function columnSql(column: ColumnPlan): {
  readonly sql: string;
  readonly discards: readonly Discard[];
  readonly present: number | null;
} {
  const { name } = column;
  const type = column.type === "other" ? null : DUCKDB_TYPE[column.type];
  const cells = column.sources.map((source) => cellOf(column, source));
  if (type === null || cells.length === 0) {
    const discards = cells.map(({ present, value }) => ({
      column: name,
      condition: present,
      value: `(${value})::VARCHAR`,
      reason: sqlText("the column has a type that Varve did not give it"),
    }));
    return { sql: `NULL${type === null ? "" : `::${type}`}`, discards, present: null };
  }
  const discards: Discard[] = [];
  for (const [index, cell] of cells.entries()) {
    if (cell.unfit !== null) discards.push({ column: name, value: cell.value, ...cell.unfit });
    if (index === 0) continue;
    const before = cells.slice(0, index).map(({ sql }) => sql);
    const winner = before.length === 1 ? String(before[0]) : `coalesce(${before.join(", ")})`;
    discards.push({
      column: name,
      condition: `(${cell.sql}) IS NOT NULL AND (${winner}) IS NOT NULL AND (${cell.sql}) <> (${winner})`,
      value: cell.value,
      reason: sqlText("another property has this column"),
    });
  }
  const sqls = cells.map(({ sql }) => sql);
  const sql = sqls.length === 1 ? String(sqls[0]) : `coalesce(${sqls.join(", ")})`;
  const [only] = column.sources;
  const typed = sqls.length === 1 && only?.kind === "column";
  const present = sqls.length === 1 && only?.kind === "path" ? only.present : null;
  return { sql: typed ? sql : `(${sql})::${type}`, discards, present };
}

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
