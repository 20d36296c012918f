/** A shop's events, as browsers send them and the changelog holds them: some 870 bytes an image. Seeded by the index. */
import type { MadeChange } from "./changelog.ts";

const TRACKS = ["Product Viewed", "Product Added", "Cart Viewed", "Order Completed", "Signed Up", "Search"];
const PLANS = ["free", "team", "business"];
const PAGES = ["Home", "Pricing", "Catalogue", "Product"];
const REFERRERS = ["https://www.example.com/", "https://search.example.com/?q=lamp", ""];
const USERS = 5000;
const VISITORS = 9000;

/** Of twenty: thirteen tracks of six names, four pages, two identifies with their user's new state, a group. */
export function shopChanges(index: number): MadeChange[] {
  const nth = index % 20;
  const user = (index * 7919) % USERS;
  if (nth < 13) {
    const event = pick(TRACKS, index);
    return [eventOf(index, user, "track", { event, properties: propertiesOf(event, index) }, event)];
  }
  if (nth < 17) {
    const name = pick(PAGES, index);
    return [eventOf(index, user, "page", { name, properties: { ...pageOf(index), name } }, name)];
  }
  const traits = {
    email: `user-${user}@example.com`,
    name: `Ada ${user}`,
    plan: pick(PLANS, index),
    seats: index % 50,
    city: "Köln",
  };
  if (nth < 19) {
    const userId = `user-${user}`;
    const object: MadeChange = {
      kind: "object",
      collection: "users",
      id: userId,
      op: "update",
      image: traits,
    };
    return [eventOf(index, user, "identify", { traits }), object];
  }
  return [
    eventOf(index, user, "group", {
      groupId: `g-${user % 300}`,
      traits: { industry: "Retail", seats: index % 200 },
    }),
  ];
}

const pick = (from: readonly string[], index: number): string => String(from[index % from.length]);

const COLLECTION = { track: "tracks", page: "pages", identify: "identifies", group: "groups" } as const;

function eventOf(
  index: number,
  user: number,
  type: keyof typeof COLLECTION,
  content: object,
  event?: string,
): MadeChange {
  const id = crypto.randomUUID();
  const [userId, anonymousId] = [`user-${user}`, `anonymous-${(index * 104_729) % VISITORS}`];
  const image = {
    type,
    messageId: id,
    anonymousId,
    userId,
    ...content,
    context: {
      library: { name: "analytics.js", version: "1.84.3" },
      ip: `192.0.2.${index % 250}`,
      userAgent:
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
      locale: "en-GB",
      page: pageOf(index),
      timezone: "Europe/Berlin",
    },
    integrations: {},
    ...timesOf(index),
  };
  return {
    kind: "event",
    collection: COLLECTION[type],
    id,
    userId,
    anonymousId,
    image,
    ...(event === undefined ? {} : { event }),
  };
}

const pageOf = (index: number) => ({
  path: `/p/${index % 200}`,
  referrer: pick(REFERRERS, index),
  search: "",
  title: "Shop page",
  url: `https://shop.example.com/p/${index % 200}`,
});

/** Ten properties: texts, numbers of both kinds, a boolean, an array, one nested, and one that is null at times. */
const propertiesOf = (event: string, index: number) => ({
  orderId: `o-${index}`,
  sku: `sku-${index % 900}`,
  name: "Brass desk lamp",
  price: (index % 1000) + 0.5,
  quantity: index % 7,
  currency: "EUR",
  coupon: index % 3 === 0 ? null : "SAVE",
  products: [{ sku: "a", price: 1.5 }],
  shipping: { method: "post", days: index % 5 },
  first: index % 2 === 0,
  ...(event === "Search" ? { query: `lamp ${index % 77}` } : {}),
});

const START_MS = Date.UTC(2026, 10, 23, 10, 0);

function timesOf(index: number): Record<"originalTimestamp" | "sentAt" | "receivedAt" | "timestamp", string> {
  const iso = (afterMs: number): string => new Date(START_MS + index + afterMs).toISOString();
  return { originalTimestamp: iso(0), sentAt: iso(1000), receivedAt: iso(1100), timestamp: iso(0) };
}
