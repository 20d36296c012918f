/**
 * Names in a warehouse: from what customers call things to what SQL can.
 *
 * - snake_case; letters and digits of every script are kept, all else parts words.
 * - A name that begins with a digit, or is a reserved word, gets a leading `_`.
 * - At most 63 bytes of UTF-8, PostgreSQL's limit. A longer one ends in a hash of the whole, so that two
 *   that differ only after the cut stay apart.
 *
 * Nothing here depends on what was seen before: one name always gives the same name.
 */
import { createHash } from "node:crypto";

export const NAME_BYTES_MAX = 63;
const HASH_DIGITS = 8;

/** Reserved in PostgreSQL or DuckDB; and PostgreSQL's own columns, which no table may redefine. */
const RESERVED = new Set(
  `all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate collation
   column concurrently constraint create cross current_catalog current_date current_role current_schema current_time
   current_timestamp current_user default deferrable desc describe distinct do else end except false fetch for foreign
   freeze from full grant group having ilike in initially inner intersect into is isnull join lambda lateral leading
   left like limit localtime localtimestamp natural not notnull null offset on only or order outer overlaps pivot
   pivot_longer pivot_wider placing primary qualify references returning right select session_user show similar some
   summarize symmetric system_user table tablesample then to trailing true union unique unpivot user using variadic
   verbose when where window with
   cmax cmin ctid oid rowid tableoid xmax xmin`.split(/\s+/),
);

const encoder = new TextEncoder();

const hashOf = (text: string): string =>
  createHash("sha256").update(text).digest("hex").slice(0, HASH_DIGITS);

/** `OrderCompleted`, `Order Completed!` and `order-completed` are all `order_completed`. Never empty. */
export function snakeCase(text: string): string {
  const words = text
    .normalize("NFC")
    .replaceAll(/(\p{Ll}|\p{N})(\p{Lu})/gu, "$1_$2")
    .replaceAll(/(\p{Lu})(\p{Lu}\p{Ll})/gu, "$1_$2")
    .toLowerCase()
    .normalize("NFC")
    .split(/[^\p{L}\p{M}\p{N}]+/u)
    .filter((word) => word !== "");
  return words.length === 0 ? `x${hashOf(text)}` : words.join("_");
}

/** A snake_case name as SQL can have it. */
export function safeName(name: string, alsoReserved: ReadonlySet<string> = NONE): string {
  const taken = RESERVED.has(name) || alsoReserved.has(name) || /^\p{N}/u.test(name);
  return shorten(taken ? `_${name}` : name);
}
const NONE: ReadonlySet<string> = new Set();

function shorten(name: string): string {
  return encoder.encode(name).length <= NAME_BYTES_MAX ? name : withHash(name, name);
}

/** `name`, cut where it must be, and a hash of `whole`. */
export function withHash(name: string, whole: string): string {
  let kept = "";
  let bytes = HASH_DIGITS + 1;
  for (const character of name) {
    bytes += encoder.encode(character).length;
    if (bytes > NAME_BYTES_MAX) break;
    kept += character;
  }
  return `${kept}_${hashOf(whole)}`;
}

/** A nested property's column, before it is made safe: its keys in snake_case, joined. */
export const flatName = (prefix: string, keys: readonly string[]): string =>
  prefix + keys.map(snakeCase).join("_");

/** Schemas that the engines, or people, keep for themselves. */
const SCHEMAS_TAKEN: ReadonlySet<string> = new Set([
  "public",
  "information_schema",
  "main",
  "temp",
  "system",
]);

/** The schema that a source would like to have. */
export function schemaName(source: string): string {
  const name = snakeCase(source);
  return safeName(name.startsWith("pg_") ? `_${name}` : name, SCHEMAS_TAKEN);
}

export const quoteName = (name: string): string => `"${name.replaceAll('"', '""')}"`;
