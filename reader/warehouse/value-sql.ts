/** A value's JSON, read as SQL of DuckDB: as its own text, or as a column's type, null where it does not fit. Pure. */
import type { ColumnType } from "./schema.ts";

/** A type that not every value fits. */
export type NarrowType = Exclude<ColumnType, "string">;

export const unquotedSql = (json: string): string =>
  `CASE WHEN NOT starts_with(${json}, '"') THEN ${json} WHEN contains(${json}, '\\') THEN json_extract_string(${json}, '$') ELSE (${json})[2:-2] END`;

/**
 * DuckDB's own casts round, and take what is quoted.
 * @param standard a standard column's: its times are read as SDKs send them
 */
export function valueSql(type: NarrowType, json: string, standard: boolean): string {
  switch (type) {
    case "bigint":
      return `CASE WHEN ${json} LIKE '%.0' OR NOT (contains(${json}, '.') OR contains(${json}, 'e')) THEN TRY_CAST(${json} AS BIGINT) END`;
    case "double":
      return `CASE WHEN isfinite(TRY_CAST(${json} AS DOUBLE)) THEN TRY_CAST(${json} AS DOUBLE) END`;
    case "boolean":
      return `CASE ${json} WHEN 'true' THEN true WHEN 'false' THEN false END`;
    case "timestamptz":
      return standard
        ? `CASE WHEN ${json} LIKE '"____-__-__%' THEN ${quotedTime(json)} WHEN ${sentNumber(json)} END`
        : `CASE WHEN ${json} LIKE '"____-__-__T__:__:%' THEN ${quotedTime(json)} END`;
  }
}

const quotedTime = (json: string): string => `TRY_CAST(trim(${json}, '"') AS TIMESTAMPTZ)`;

/** SDKs also send dates, a space for the T, and numbers of seconds or milliseconds. */
function sentNumber(json: string): string {
  const number = `TRY_CAST(${json} AS DOUBLE)`;
  return `${number} BETWEEN 1 AND 253402300799999 THEN
    make_timestamptz(CAST(${number} * CASE WHEN ${number} < 1e11 THEN 1e6 ELSE 1e3 END AS BIGINT))`;
}

/** What a value is, in words. */
export const kindSql = (json: string): string =>
  `CASE (${json})[1] WHEN '"' THEN 'string' WHEN '[' THEN 'array' WHEN '{' THEN 'object' WHEN 't' THEN 'boolean' WHEN 'f' THEN 'boolean' ELSE 'number' END`;
