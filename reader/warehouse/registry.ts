/**
 * Which source has which schema, and which event or collection which table. Kept in the warehouse, because two
 * may want one name: the first to come has it, and keeps it.
 */
import { safeName, schemaName, withHash } from "./names.ts";
import { OBJECT_TABLES, TABLES_TAKEN } from "./schema.ts";

export type NameKind = "source" | "event" | "collection";
export type NameEntry = {
  readonly source: string;
  readonly kind: NameKind;
  /** The event's name in snake_case, or the collection's; empty for the source itself. */
  readonly name: string;
  /** The schema's or the table's. */
  readonly given: string;
};

export type Registry = {
  readonly entries: ReadonlyMap<string, NameEntry>;
  /** Schemas, and `<source>.<table>`. */
  readonly taken: ReadonlySet<string>;
};

const keyOf = (source: string, kind: NameKind, name: string): string => `${kind} ${source} ${name}`;
const placeOf = ({ source, kind, given }: NameEntry): string =>
  kind === "source" ? given : `${source}.${given}`;

export const registryOf = (entries: Iterable<NameEntry>): Registry => {
  const all = [...entries];
  return {
    entries: new Map(all.map((entry) => [keyOf(entry.source, entry.kind, entry.name), entry])),
    taken: new Set(all.map(placeOf)),
  };
};

export const findName = (
  registry: Registry,
  source: string,
  kind: NameKind,
  name: string,
): NameEntry | null => registry.entries.get(keyOf(source, kind, name)) ?? null;

/** The entry that this one would get. */
export function newName(registry: Registry, source: string, kind: NameKind, name: string): NameEntry {
  const wished = wish(source, kind, name);
  const entry = { source, kind, name, given: wished };
  if (!registry.taken.has(placeOf(entry))) return entry;
  return { ...entry, given: withHash(wished, keyOf(source, kind, name)) };
}

export const addName = ({ entries, taken }: Registry, entry: NameEntry): Registry => ({
  entries: new Map([...entries, [keyOf(entry.source, entry.kind, entry.name), entry]]),
  taken: new Set([...taken, placeOf(entry)]),
});

const EVENT_TAKEN: ReadonlySet<string> = new Set([...TABLES_TAKEN, ...OBJECT_TABLES]);

function wish(source: string, kind: NameKind, name: string): string {
  if (kind === "source") return schemaName(source);
  return safeName(name, kind === "event" ? EVENT_TAKEN : TABLES_TAKEN);
}

export const tablesOf = ({ entries }: Registry, source: string): number =>
  [...entries.values()].filter((entry) => entry.source === source && entry.kind !== "source").length;
