/**
 * Items: what stands in DynamoDB. The key scheme, the attribute names, and DynamoDB JSON.
 *
 * - An event is `e#<source>#<messageId>`: immutable, its content is the JSON text in `body`.
 * - An object is `o#<source>#<collection>#<id>`: one attribute a property, named `p.<property>`,
 *   so that no property can collide with an attribute of ours.
 * - A rejected event is `r#<source>#<id>`: its content is the JSON text in `body`.
 * - `<source>` and `<collection>` hold no `#`; messageId and id may.
 */
import * as z from "zod";
import { isRawNumber } from "./json.ts";
import type { JsonObject } from "./json.ts";

const ITEM_KINDS = ["event", "object", "rejected"] as const;
export type ItemKind = (typeof ITEM_KINDS)[number];

/** A value in DynamoDB JSON. */
export type AttributeValue =
  | { readonly S: string }
  | { readonly N: string }
  | { readonly BOOL: boolean }
  | { readonly NULL: boolean }
  | { readonly B: string }
  | { readonly SS: readonly string[] }
  | { readonly NS: readonly string[] }
  | { readonly BS: readonly string[] }
  | { readonly M: AttributeMap }
  | { readonly L: readonly AttributeValue[] };
export type AttributeMap = { readonly [name: string]: AttributeValue };

export const SOURCE_ID = z
  .string()
  .regex(/^[a-z0-9][a-z0-9_-]{0,62}$/, "a source id is 1-63 of a-z, 0-9, _ and -");

export const PROPERTY_PREFIX = "p.";

export const eventPk = (source: string, messageId: string): string => `e#${source}#${messageId}`;
export const objectPk = (source: string, collection: string, id: string): string =>
  `o#${source}#${collection}#${id}`;
export const rejectedPk = (source: string, id: string): string => `r#${source}#${id}`;

export type ItemKey = {
  readonly kind: ItemKind;
  readonly source: string;
  /** Null where the key does not carry it (events: it is in the `collection` attribute). */
  readonly collection: string | null;
  readonly id: string;
};

/** The parts of a partition key of ours, or null for any other table's key. */
export function parsePk(pk: string): ItemKey | null {
  const kind = pk.startsWith("e#")
    ? "event"
    : pk.startsWith("o#")
      ? "object"
      : pk.startsWith("r#")
        ? "rejected"
        : null;
  if (kind === null) return null;
  const sourceEnd = pk.indexOf("#", 2);
  if (sourceEnd <= 2) return null;
  const source = pk.slice(2, sourceEnd);
  if (kind !== "object") {
    const id = pk.slice(sourceEnd + 1);
    return id === "" ? null : { kind, source, collection: null, id };
  }
  const collectionEnd = pk.indexOf("#", sourceEnd + 1);
  if (collectionEnd <= sourceEnd + 1) return null;
  const id = pk.slice(collectionEnd + 1);
  return id === "" ? null : { kind, source, collection: pk.slice(sourceEnd + 1, collectionEnd), id };
}

/** As `parsePk`, of an item: in a table of another program's, keys may only look like ours. */
export function parseItem(pk: string, { kind, source }: AttributeMap): ItemKey | null {
  const key = parsePk(pk);
  if (key === null || kind === undefined || source === undefined) return null;
  const isOurs = "S" in kind && kind.S === key.kind && "S" in source && source.S === key.source;
  return isOurs ? key : null;
}

/** DynamoDB JSON to JSON text. Number text is kept as it is; sets become arrays, binary is base64 text. */
export function attributeJson(value: AttributeValue): string {
  if ("S" in value) return JSON.stringify(value.S);
  if ("N" in value) return value.N;
  if ("BOOL" in value) return value.BOOL ? "true" : "false";
  if ("NULL" in value) return "null";
  if ("M" in value) return attributeMapJson(value.M);
  if ("L" in value) return `[${value.L.map(attributeJson).join(",")}]`;
  if ("B" in value) return JSON.stringify(value.B);
  if ("SS" in value) return JSON.stringify(value.SS);
  if ("NS" in value) return `[${value.NS.join(",")}]`;
  return JSON.stringify(value.BS);
}

/** Names sorted, so that equal items give equal text. */
export function attributeMapJson(map: AttributeMap): string {
  const names = Object.keys(map).toSorted();
  return `{${names.map((name) => `${JSON.stringify(name)}:${attributeJson(map[name] as AttributeValue)}`).join(",")}}`;
}

/** An object item's properties, as JSON text, names sorted so that equal states give equal text. */
export function objectPropertiesJson(item: AttributeMap): string {
  const parts: string[] = [];
  for (const name of Object.keys(item).toSorted()) {
    if (!name.startsWith(PROPERTY_PREFIX)) continue;
    parts.push(
      `${JSON.stringify(name.slice(PROPERTY_PREFIX.length))}:${attributeJson(item[name] as AttributeValue)}`,
    );
  }
  return `{${parts.join(",")}}`;
}

/** DynamoDB holds 38 digits between 1E-130 and 9.9E+125; any other number is stored as its text. */
function numberAttribute(text: string): AttributeValue {
  const value = Math.abs(Number(text));
  const digits = text
    .replace(/[eE].*$/, "")
    .replace(/[-.]/g, "")
    .replace(/^0+/, "");
  const fits = digits.length <= 38 && (value === 0 ? digits === "" : value >= 1e-130 && value < 1e126);
  return fits ? { N: text } : { S: text };
}

/** A JSON value as DynamoDB JSON, exact. The caller bounds its depth: DynamoDB takes 32 levels. */
export function attributeOf(value: unknown): AttributeValue {
  switch (typeof value) {
    case "string":
      return { S: value };
    case "number":
      return numberAttribute(String(value));
    case "boolean":
      return { BOOL: value };
    default:
      if (value === null || value === undefined) return { NULL: true };
      if (isRawNumber(value)) return numberAttribute(value.rawJSON);
      if (Array.isArray(value)) return { L: value.map(attributeOf) };
      return { M: attributeMapOf(value as JsonObject) };
  }
}

function attributeMapOf(object: JsonObject): AttributeMap {
  const map: { [name: string]: AttributeValue } = {};
  for (const name of Object.keys(object)) map[name] = attributeOf(object[name]);
  return map;
}
