/**
 * Canned GetRecords answers: whole pages of events as the edge writes them, in the shape in which DynamoDB
 * Streams gives them back. Every page has keys and sequence numbers of its own. Seeded: the same pages each time.
 */
import { eventPk } from "../shared/item.ts";
import { LEVEL_MS, windowStartMs } from "../shared/window.ts";

export const PAGE_RECORDS = 1000;
export const SHARD = "shardId-00000001790000000000-0c5ab1de";
/** Sequence numbers of 27 digits, as DynamoDB's are. */
const SEQUENCE_BASE = 100_000_000_000_000_000_000_000_000n;
const DEDUPE_S = 7 * 86_400;
const TENANTS = 40;
const USERS = 5000;

/** The pages of one shard from its start to its end: the last has no NextShardIterator. */
export function cannedPages(count: number, nowMs: number): string[] {
  // All in one window, and all of the past: so every run makes the same files.
  const startMs = windowStartMs(0, nowMs) - LEVEL_MS[0];
  const random = seeded(20_261_123);
  return Array.from({ length: count }, (_, page) => {
    const records = Array.from({ length: PAGE_RECORDS }, (__, index) => {
      const order = page * PAGE_RECORDS + index;
      const atMs = startMs + Math.floor((order / (count * PAGE_RECORDS)) * (LEVEL_MS[0] - 2000));
      return record(order, atMs, random);
    });
    const answer =
      page + 1 === count ? { Records: records } : { Records: records, NextShardIterator: `page-${page + 1}` };
    return JSON.stringify(answer);
  });
}

function record(order: number, atMs: number, random: () => number): object {
  const item = eventItem(atMs, random);
  return {
    eventID: hex(random, 32),
    eventName: "INSERT",
    eventVersion: "1.1",
    eventSource: "aws:dynamodb",
    awsRegion: "eu-north-1",
    dynamodb: {
      ApproximateCreationDateTime: Math.floor(atMs / 1000),
      Keys: { pk: item["pk"] },
      NewImage: item,
      SequenceNumber: String(SEQUENCE_BASE + BigInt(order) * 7919n),
      SizeBytes: 950,
      StreamViewType: "NEW_IMAGE",
    },
  };
}

const TRACKS = [
  "Product Viewed",
  "Product Added",
  "Checkout Started",
  "Order Completed",
  "Signed In",
  "Search Performed",
];
const PLANS = ["free", "team", "business"];
const BROWSERS = [
  "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0 Safari/537.36",
  "Mozilla/5.0 (Macintosh; Intel Mac OS X 14.7; rv:144.0) Gecko/20100101 Firefox/144.0",
];

/** An event's item of some 900 bytes: names and values together, as DynamoDB counts them. */
function eventItem(atMs: number, random: () => number): Record<string, object> {
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)] as T;
  const source = `shop-${Math.floor(random() * TENANTS)}`;
  const userId = `user-${Math.floor(random() * USERS)}`;
  const anonymousId = uuid(random);
  const messageId = `node-next-${atMs}-${uuid(random)}`;
  const timestamp = new Date(atMs - 40).toISOString();
  const dice = random();
  const type = dice < 0.7 ? "track" : dice < 0.92 ? "page" : "identify";
  const name = type === "track" ? pick(TRACKS) : type === "page" ? "Product" : null;
  const product = Math.floor(random() * 10_000);
  const content =
    type === "track"
      ? {
          event: name,
          properties: {
            product_id: `sku-${product}`,
            price: product / 100,
            quantity: 1 + (product % 3),
            currency: "EUR",
          },
        }
      : type === "page"
        ? {
            name,
            properties: { path: `/products/${product}`, url: `https://shop.example.com/products/${product}` },
          }
        : { traits: { email: `${userId}@example.com`, plan: pick(PLANS), seats: product % 50 } };
  const body = {
    type,
    ...content,
    messageId,
    userId,
    anonymousId,
    context: {
      library: { name: "@segment/analytics-node", version: "3.1.0" },
      locale: "nb-NO",
      userAgent: pick(BROWSERS),
    },
    integrations: {},
    originalTimestamp: timestamp,
    sentAt: timestamp,
    receivedAt: new Date(atMs).toISOString(),
    timestamp,
  };
  return {
    anonymous_id: { S: anonymousId },
    body: { S: JSON.stringify(body) },
    collection: { S: `${type === "identify" ? "identifie" : type}s` },
    ...(name === null ? {} : { event: { S: name } }),
    event_at: { N: String(atMs - 40) },
    expires_at: { N: String(Math.floor(atMs / 1000) + DEDUPE_S) },
    kind: { S: "event" },
    pk: { S: eventPk(source, messageId) },
    received_at: { N: String(atMs) },
    source: { S: source },
    user_id: { S: userId },
  };
}

function hex(random: () => number, digits: number): string {
  let text = "";
  while (text.length < digits)
    text += Math.floor(random() * 0x1_0000_0000)
      .toString(16)
      .padStart(8, "0");
  return text.slice(0, digits);
}

const uuid = (random: () => number): string =>
  hex(random, 32).replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12})$/, "$1-$2-4$3-a$4-$5");

/** mulberry32: small, and good enough to make text that does not compress by accident. [0, 1). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}
