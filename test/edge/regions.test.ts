import { expect, test } from "vitest";
import { nearestFirst, positionOf, REGION, routeOf } from "../../edge/regions.ts";
import { SOURCE } from "../../edge/sources.ts";

const site = (name: string, latitude: number, longitude: number) => ({
  region: REGION.parse({
    name,
    endpoint: "https://dynamodb.example.com",
    table: "varve",
    latitude,
    longitude,
  }),
});
const SITES = [site("virginia", 38.9, -77.4), site("ireland", 53.3, -6.3), site("tokyo", 35.7, 139.7)];
const names = (sites: readonly { readonly region: { readonly name: string } }[]) =>
  sites.map(({ region }) => region.name);

test.each([
  ["Oslo", 59.9, 10.7, ["ireland", "virginia", "tokyo"]],
  ["Honolulu", 21.3, -157.9, ["tokyo", "virginia", "ireland"]],
  ["Fiji, across the date line", -18, 178, ["tokyo", "virginia", "ireland"]],
])("%s", (_name, latitude, longitude, order) => {
  expect(names(nearestFirst(SITES, { latitude, longitude }))).toEqual(order);
});

test("the platform's position is text, and may be missing", () => {
  expect(positionOf({ latitude: "59.9", longitude: "10.7" })).toEqual({ latitude: 59.9, longitude: 10.7 });
  for (const cf of [undefined, null, {}, { latitude: "x", longitude: "1" }])
    expect(positionOf(cf)).toBeNull();
});

const TOKYO = { latitude: 35, longitude: 139 };

test("events go to the nearest, objects home", () => {
  const route = routeOf(SOURCE.parse({ id: "a", home: "ireland" }), SITES, TOKYO);
  expect(names(route?.events ?? [])).toEqual(["tokyo", "ireland", "virginia"]);
  expect(route?.objects.region.name).toBe("ireland");
});

test("a pinned source's events go home only; without a home it is the first", () => {
  expect(
    names(routeOf(SOURCE.parse({ id: "a", home: "ireland", pinned: true }), SITES, TOKYO)?.events ?? []),
  ).toEqual(["ireland"]);
  expect(routeOf(SOURCE.parse({ id: "a" }), SITES, TOKYO)?.objects.region.name).toBe("virginia");
  expect(routeOf(SOURCE.parse({ id: "a", home: "mars" }), SITES, TOKYO)).toBeNull();
});
