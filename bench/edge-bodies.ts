/** The bodies that the edge is measured with: what a server SDK sends. */

/** What a mobile SDK says of its device: many small fields. */
function context(index: number): object {
  return {
    app: { name: "Shop", version: "4.12.0", build: 4120, namespace: "com.example.shop" },
    device: { id: `d-${index}`, manufacturer: "Apple", model: "iPhone16,2", type: "ios" },
    library: { name: "analytics-swift", version: "1.6.2" },
    locale: "en-GB",
    network: { cellular: false, wifi: true, bluetooth: false },
    os: { name: "iOS", version: "18.1" },
    screen: { width: 393, height: 852, density: 3 },
    timezone: "Europe/Oslo",
    ip: "203.0.113.7",
    traits: { plan: "pro", since: 2024 },
  };
}

const at = (index: number): string => new Date(Date.now() - 60_000 + index * 100).toISOString();

/** What an app tracks: each event has properties of its own. */
const EVENTS: readonly (readonly [string, (n: number) => object])[] = [
  ["Product Viewed", (n) => ({ sku: `s-${n}`, price: 19.99, currency: "EUR", position: n, sale: true })],
  ["Product Added", (n) => ({ cart: `c-${n}`, sku: `s-${n}`, quantity: 2, price: 5, variant: "blue" })],
  [
    "Cart Viewed",
    (n) => ({
      cart: `c-${n}`,
      items: [
        { sku: "a", qty: 1 },
        { sku: "b", qty: n },
      ],
    }),
  ],
  ["Order Completed", (n) => ({ order: n, total: 27.5, tax: 2.2, items: [{ sku: "a", qty: 1, price: 9 }] })],
  [
    "Search",
    (n) => ({ query: "blue shoes", results: n, page: 1, filters: { size: [41, 42], in_stock: true } }),
  ],
  ["Video Played", (n) => ({ video: n, at: 12.5, length: 93, quality: 1080, muted: false, full: null })],
  ["Signed In", (n) => ({ method: "passkey", attempt: n, new_device: false, mfa: true })],
  ["Notification Opened", (n) => ({ campaign: `k-${n}`, kind: "push", delay_ms: 5310, deep: true })],
];

function track(index: number, request: number): object {
  const [event, properties] = EVENTS[index % EVENTS.length] ?? ["Seen", () => ({})];
  return {
    type: "track",
    event,
    messageId: `node-next-${request}-${index}-4b7a9f62-0d6c-4a39-9a3e`,
    userId: `user-${index % 40}`,
    anonymousId: `c6f1b0c8-1d4c-4cf3-8f5e-${String(index).padStart(12, "0")}`,
    timestamp: at(index),
    properties: properties(index),
    context: context(index),
    integrations: {},
  };
}

function identify(index: number, request: number, users: number): object {
  return {
    type: "identify",
    messageId: `node-next-${request}-${index}-4b7a9f62-0d6c-4a39-9a3e`,
    userId: `user-${index % users}`,
    timestamp: at(index),
    traits: { email: `user${index % users}@example.com`, plan: "pro", seats: index, name: "Ann Example" },
    context: context(index),
    integrations: {},
  };
}

const batch = (events: readonly object[]): string =>
  JSON.stringify({ batch: events, sentAt: new Date().toISOString() });
const list = (make: (index: number) => object): object[] =>
  Array.from({ length: 100 }, (_, index) => make(index));

export type BenchBody = {
  readonly name: string;
  readonly path: string;
  readonly body: string;
  readonly events: number;
};

/** 100 tracks of some 760 bytes each. */
export const trackBatch = (request: number): BenchBody => ({
  name: "100-event batch",
  path: "/v1/batch",
  body: batch(list((index) => track(index, request))),
  events: 100,
});

/** Four in five are identifies, of `users` users. */
export const identifyBatch = (request: number, users: number): BenchBody => ({
  name: `identify-heavy batch, ${users} users`,
  path: "/v1/batch",
  body: batch(list((index) => (index % 5 === 0 ? track(index, request) : identify(index, request, users)))),
  events: 100,
});

export const singleEvent = (request: number): BenchBody => ({
  name: "single event",
  path: "/v1/track",
  body: JSON.stringify(track(request % 100, request)),
  events: 1,
});
