/** Regions: each a table of its own. Which take a source's events, nearest first, and which its objects. */
import * as z from "zod";
import type { Source } from "./sources.ts";

export const REGION = z.object({
  name: z.string().regex(/^[a-z0-9-]{1,40}$/, "must be 1-40 of a-z, 0-9 and -"),
  endpoint: z.url({ error: "must be a URL, such as https://dynamodb.eu-west-1.amazonaws.com" }),
  table: z.string({ error: "must name the table" }).min(3),
  /** The region that calls are signed for; its name unless told. */
  awsRegion: z.string().optional(),
  latitude: z.number().min(-90).max(90).default(0),
  longitude: z.number().min(-180).max(180).default(0),
});
export type Region = z.infer<typeof REGION>;

export type Position = { readonly latitude: number; readonly longitude: number };

/** Where the client is, by what the platform says of its request. */
export function positionOf(cf: unknown): Position | null {
  if (typeof cf !== "object" || cf === null) return null;
  const { latitude, longitude } = cf as { readonly latitude?: unknown; readonly longitude?: unknown };
  const position = { latitude: Number(latitude), longitude: Number(longitude) };
  const known = typeof latitude === "string" && typeof longitude === "string";
  return known && Number.isFinite(position.latitude) && Number.isFinite(position.longitude) ? position : null;
}

/** The haversine of the angle between: grows with the distance, which is all that sorting needs. */
function distance(a: Position, b: Position): number {
  const rad = Math.PI / 180;
  const latitudes = Math.sin(((b.latitude - a.latitude) * rad) / 2) ** 2;
  const longitudes = Math.sin(((b.longitude - a.longitude) * rad) / 2) ** 2;
  return latitudes + Math.cos(a.latitude * rad) * Math.cos(b.latitude * rad) * longitudes;
}

/** Without a position, as configured. */
export function nearestFirst<T extends { readonly region: Region }>(
  sites: readonly T[],
  position: Position | null,
): readonly T[] {
  if (position === null || sites.length < 2) return sites;
  return sites.toSorted((a, b) => distance(position, a.region) - distance(position, b.region));
}

export type Route<T> = {
  /** To be tried in this order. */
  readonly events: readonly T[];
  readonly objects: T;
};

/**
 * Events go to the nearest region, objects to the source's home, a pinned source only to its home. Null when
 * the home is no region of ours.
 */
export function routeOf<T extends { readonly region: Region }>(
  source: Source,
  sites: readonly T[],
  position: Position | null,
): Route<T> | null {
  const home = source.home === undefined ? sites[0] : sites.find(({ region }) => region.name === source.home);
  if (home === undefined) return null;
  return { events: source.pinned ? [home] : nearestFirst(sites, position), objects: home };
}
