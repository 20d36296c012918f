/** Groups: a batch's rows by the tables to which they go, and those tables' names. */
import type { Batch, Route } from "./batch.ts";
import { sqlText } from "../../shared/duckdb.ts";
import type { Draft } from "./draft.ts";
import { nameOf } from "./draft.ts";
import { snakeCase } from "./names.ts";
import { findName, tablesOf } from "./registry.ts";
import type { EventTable, Root, StandardColumn, TableKind, TableName } from "./schema.ts";
import { EVENT_ROOTS, isEventTable, OBJECT_COLUMNS, OBJECT_ROOTS, STANDARD, TRACK_ROOTS } from "./schema.ts";
import type { StagedDelete } from "./warehouse.ts";

export type Group = {
  /** The routes whose rows these are. */
  readonly routes: readonly number[];
  readonly schema: string;
  /** The table that a row must be in: the event's own, or, without one, that of all events of its kind. */
  readonly targets: readonly Target[];
  readonly kind: TableKind;
  /** What the column `event` says. */
  readonly event: string | null;
  readonly rows: number;
  /** The table that there is no room for. */
  readonly crowdedOut: TableName | null;
};

/** A table that a group's rows go to. */
export type Target = {
  readonly name: TableName;
  readonly kind: TableKind;
  readonly base: TableName | null;
  readonly standard: readonly StandardColumn[];
  readonly roots: readonly Root[];
};

/** SQL over `item` or `gone`. */
export const inRoutes = (routes: readonly number[]): string => `g IN (${routes.join(", ")})`;

/** @param tablesMax tables of events and collections that one source may have */
export function groupsOf({ items }: Batch, draft: Draft, tablesMax: number): readonly Group[] {
  const groups = new Map<string, Group>();
  for (const route of items) {
    const { kind, source, collection } = route;
    if (collection === "" || (kind === "event" && !isEventTable(collection))) continue;
    const isTrack = kind === "event" && collection === "tracks";
    const name = isTrack ? snakeCase(route.event) : collection;
    const key = JSON.stringify([kind, source, isTrack, name]);
    const standing = groups.get(key) ?? newGroup(route, name, draft, tablesMax);
    groups.set(key, {
      ...standing,
      routes: [...standing.routes, route.g],
      rows: standing.rows + route.rows,
    });
  }
  return [...groups.values()];
}

function newGroup({ kind, source, collection }: Route, name: string, draft: Draft, tablesMax: number): Group {
  const schema = nameOf(draft, source, "source", "");
  const group = { routes: [], schema, kind, event: null, rows: 0, crowdedOut: null };
  if (kind === "event" && isEventTable(collection) && collection !== "tracks") {
    return { ...group, targets: [allOf(schema, collection)] };
  }
  const nameKind = kind === "event" ? "event" : "collection";
  const room =
    findName(draft.registry, source, nameKind, name) !== null || tablesOf(draft.registry, source) < tablesMax;
  const own = room ? { schema, table: nameOf(draft, source, nameKind, name) } : null;
  const crowdedOut = own === null ? { schema, table: name } : null;
  if (kind === "object") return { ...group, targets: own === null ? [] : [objectsOf(own)], crowdedOut };
  const base = allOf(schema, "tracks");
  const targets = own === null ? [base] : [base, trackOf(own, base.name)];
  return { ...group, targets, event: own?.table ?? name, crowdedOut };
}

const allOf = (schema: string, table: EventTable): Target => ({
  name: { schema, table },
  kind: "event",
  base: null,
  standard: STANDARD[table],
  roots: EVENT_ROOTS[table],
});

const trackOf = (name: TableName, base: TableName): Target => ({
  name,
  kind: "event",
  base,
  standard: STANDARD.tracks,
  roots: TRACK_ROOTS,
});

const objectsOf = (name: TableName): Target => ({
  name,
  kind: "object",
  base: null,
  standard: OBJECT_COLUMNS,
  roots: OBJECT_ROOTS,
});

/** What goes from tables that the warehouse has, or that the batch makes. */
export function deletesOf({ gone }: Batch, { registry }: Draft): readonly StagedDelete[] {
  const objects = gone.flatMap(({ g, kind, source, collection }): StagedDelete[] => {
    const schema = findName(registry, source, "source", "");
    const table = findName(registry, source, "collection", collection);
    if (kind !== "object" || schema === null || table === null) return [];
    return [{ kind: "object", name: { schema: schema.given, table: table.given }, ids: idsOf([g]) }];
  });
  const events = Map.groupBy(
    gone.filter(({ kind }) => kind === "event"),
    ({ source }) => source,
  );
  return [
    ...objects,
    ...[...events].flatMap(([source, routes]): StagedDelete[] => {
      const schema = findName(registry, source, "source", "");
      const ids = idsOf(routes.map(({ g }) => g));
      return schema === null ? [] : [{ kind: "event", schema: schema.given, ids }];
    }),
  ];
}

const idsOf = (routes: readonly number[]): string => `SELECT id FROM gone WHERE ${inRoutes(routes)}`;

/** The column `event_table` of a group's rows. */
export const eventTableSql = ({ event }: Group): string =>
  `${event === null ? "NULL" : sqlText(event)}::VARCHAR`;
