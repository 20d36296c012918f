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
  };
}

const at = (index: number): string => new Date(Date.now() - 60_000 + index * 100).toISOString();

function track(index: number, request: number): object {
  return {
    type: "track",
    event: "Product Added",
    messageId: `node-next-${request}-${index}-4b7a9f62-0d6c-4a39-9a3e`,
    userId: `user-${index % 40}`,
    anonymousId: `c6f1b0c8-1d4c-4cf3-8f5e-${String(index).padStart(12, "0")}`,
    timestamp: at(index),
    properties: { sku: `s-${index}`, price: 19.99, quantity: 2, currency: "EUR", sale: true, rank: index },
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
