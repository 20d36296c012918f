/** What a warehouse holds: tables, columns and their types, as values. Source: Segment's warehouse schema. */
import { quoteName } from "./names.ts";

export const COLUMN_TYPES = ["string", "bigint", "double", "boolean", "timestamptz"] as const;
export type ColumnType = (typeof COLUMN_TYPES)[number];

/** `other`: a type that somebody else gave the column. Nothing is written to it. */
export type Columns = ReadonlyMap<string, ColumnType | "other">;

export type TableName = { readonly schema: string; readonly table: string };
export const tableKey = ({ schema, table }: TableName): string => `${schema}.${table}`;
export const tableSql = ({ schema, table }: TableName): string => `${quoteName(schema)}.${quoteName(table)}`;

/** Tables by `tableKey`: names hold no dot. */
export type Catalog = ReadonlyMap<string, Columns>;

/** An event's table is inserted into once an id; an object's holds the latest state of each id. */
export type TableKind = "event" | "object";

export const EVENT_TABLES = ["identifies", "groups", "pages", "screens", "aliases", "tracks"] as const;
export type EventTable = (typeof EVENT_TABLES)[number];
export const isEventTable = (name: string | null): name is EventTable =>
  (EVENT_TABLES as readonly (string | null)[]).includes(name);

export const DISCARDS = "discards";
export const DISCARD_COLUMNS: Columns = new Map([
  ["received_at", "timestamptz"],
  ["table_name", "string"],
  ["id", "string"],
  ["column_name", "string"],
  ["column_value", "string"],
  ["reason", "string"],
]);

/** Tables of every source: an event or a collection called like one gets a leading `_`. */
export const TABLES_TAKEN: ReadonlySet<string> = new Set([...EVENT_TABLES, DISCARDS]);
/** Collections that keep their name whatever events are called. */
export const OBJECT_TABLES: ReadonlySet<string> = new Set(["users", "accounts"]);

/** A column that is there from the start: out of a column of the row, or out of its image (a JSON pointer). */
export type StandardColumn = {
  readonly name: string;
  readonly type: ColumnType;
  readonly from:
    | { readonly kind: "column"; readonly column: string }
    | { readonly kind: "image"; readonly pointer: string };
};

const row = (name: string, type: ColumnType, column: string): StandardColumn => ({
  name,
  type,
  from: { kind: "column", column },
});
const image = (name: string, type: ColumnType, pointer: string): StandardColumn => ({
  name,
  type,
  from: { kind: "image", pointer },
});

const EVENT_COLUMNS: readonly StandardColumn[] = [
  row("id", "string", "id"),
  image("received_at", "timestamptz", "/receivedAt"),
  image("sent_at", "timestamptz", "/sentAt"),
  row("timestamp", "timestamptz", "event_at"),
  image("original_timestamp", "timestamptz", "/originalTimestamp"),
  row("anonymous_id", "string", "anonymous_id"),
  row("user_id", "string", "user_id"),
];
const PAGE_COLUMNS = [image("name", "string", "/name"), image("category", "string", "/category")];

/** `event`: the name of the event's own table; `event_text`: the event's name as it was sent. */
const TRACK_COLUMNS: readonly StandardColumn[] = [
  ...EVENT_COLUMNS,
  row("event", "string", "event_table"),
  row("event_text", "string", "event"),
];

export const OBJECT_COLUMNS: readonly StandardColumn[] = [
  row("id", "string", "id"),
  row("received_at", "timestamptz", "changed_at"),
  row("timestamp", "timestamptz", "event_at"),
];

export const STANDARD: Readonly<Record<EventTable, readonly StandardColumn[]>> = {
  tracks: TRACK_COLUMNS,
  identifies: EVENT_COLUMNS,
  groups: [...EVENT_COLUMNS, image("group_id", "string", "/groupId")],
  pages: [...EVENT_COLUMNS, ...PAGE_COLUMNS],
  screens: [...EVENT_COLUMNS, ...PAGE_COLUMNS],
  aliases: [...EVENT_COLUMNS, image("previous_id", "string", "/previousId")],
};

/** An object in the image, by its keys, whose own keys become columns after `prefix`. */
export type Root = { readonly keys: readonly string[]; readonly prefix: string };

const CONTEXT: Root = { keys: ["context"], prefix: "context_" };
const PROPERTIES: Root = { keys: ["properties"], prefix: "" };
const TRAITS: Root = { keys: ["traits"], prefix: "" };

export const EVENT_ROOTS: Readonly<Record<EventTable, readonly Root[]>> = {
  tracks: [CONTEXT],
  identifies: [CONTEXT, TRAITS],
  groups: [CONTEXT, TRAITS],
  pages: [CONTEXT, PROPERTIES],
  screens: [CONTEXT, PROPERTIES],
  aliases: [CONTEXT],
};
/** Of an event's own table. */
export const TRACK_ROOTS: readonly Root[] = [CONTEXT, PROPERTIES];
export const OBJECT_ROOTS: readonly Root[] = [{ keys: [], prefix: "" }];

/** What one transaction makes of the warehouse's tables. */
export type Ddl =
  | { readonly kind: "schema"; readonly schema: string }
  /** `keyed`: `id` is its key. */
  | { readonly kind: "table"; readonly name: TableName; readonly columns: Columns; readonly keyed: boolean }
  | { readonly kind: "column"; readonly name: TableName; readonly column: string; readonly type: ColumnType };

export function applyDdl(catalog: Catalog, ddl: readonly Ddl[]): Catalog {
  const next = new Map(catalog);
  for (const change of ddl) {
    if (change.kind === "schema") continue;
    const key = tableKey(change.name);
    if (change.kind === "table") next.set(key, change.columns);
    else next.set(key, new Map([...(next.get(key) ?? []), [change.column, change.type]]));
  }
  return next;
}
