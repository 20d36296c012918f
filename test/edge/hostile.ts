/** Requests that nobody sane would send, and many that are nearly right. */
import { gzipSync } from "node:zlib";
import fc from "fast-check";

export type HostileRequest = {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  /** What the body says, when it is JSON that says something. */
  readonly sent: unknown;
};

const deep = (open: string, close: string, depth: number): string => open.repeat(depth) + close.repeat(depth);

/** Bodies known to break collectors. */
const CORPUS: readonly string[] = [
  "",
  " ",
  "null",
  "[]",
  "{}",
  "0",
  '"text"',
  "{",
  '{"batch":',
  "\uFEFF{}",
  '{"batch":null}',
  '{"batch":[null,1,"x",[],{}]}',
  '{"batch":{"0":{}}}',
  '{"__proto__":{"batch":[{}]}}',
  '{"batch":[{"type":"track","event":"e","userId":"u","__proto__":{"x":1},"constructor":{"prototype":{"x":1}}}]}',
  '{"event":"e","userId":"u","properties":{"\\u005f_proto__":{"polluted":true}}}',
  '{"event":"\\u0000","userId":"\\ud800","properties":{"\\udfff":"\\u0000"}}',
  '{"event":"cut \\ud83d","userId":"u","properties":{"\\ude00":"cut \\ud83d"},"traits":{"a\\ud83d":"\\ud83d"}}',
  '{"batch":[{"type":"page","name":"cut \\ud83d","userId":"u"},{"type":"identify","userId":"u","traits":{"a\\ud83d":"\\ud83d"}},"cut \\ud83d"]}',
  '{"event":"e","userId":"u","properties":{"n":1e400,"m":-1e400,"d":0.1234567890123456789012,"i":123456789012345678901234567890}}',
  '{"event":"e","userId":12345678901234567890,"messageId":98765432109876543210}',
  '{"batch":[{"type":"track","event":"e","userId":{"length":1e400}},{"type":"track","event":{"length":1e400},"userId":"u"}]}',
  '{"collection":{"length":1e400},"objects":[{"id":{"length":1e400}}]}',
  '{"event":"e","userId":"u","timestamp":"0000-00-00T00:00:00Z","sentAt":"+275760-09-13"}',
  '{"event":"e","userId":"u","timestamp":1e308,"sentAt":-1}',
  '{"event":"e","userId":"u","timestamp":{},"sentAt":[]}',
  `{"event":"e","userId":"u","properties":${deep('{"a":', "}", 500).replace(":}", ":1}")}}`,
  `{"event":"e","userId":"u","properties":{"a":${deep("[", "]", 50_000)}}}`,
  `{"batch":${deep("[", "]", 200_000)}}`,
  `{"batch":[{"type":"track","event":"e","userId":"u","n":12345678901234567890,"x":${deep("[", "]", 100_000)}}]}`,
  `{"context":${deep('{"c":', "}", 20_000).replace(":}", ":1}")},"batch":[{"type":"track","event":"e","userId":"u"}]}`,
  `{"event":"e","userId":"u","properties":{${Array.from({ length: 40_000 }, (_, n) => `"k${n}":1`).join(",")}}}`,
  `{"event":"${"e".repeat(40_000)}","userId":"u"}`,
  `{"event":"e","userId":"${"u".repeat(3_000)}"}`,
  `{"batch":[${Array.from({ length: 2_600 }, () => "{}").join(",")}]}`,
  `{"context":{"x":"${"c".repeat(30_000)}"},"batch":[${Array.from({ length: 400 }, (_, n) => `{"type":"track","event":"e","userId":"u","messageId":"c${n}"}`).join(",")}]}`,
  '{"collection":"rooms","objects":[{"id":"1","properties":{"a":{}}},{"id":2},{"id":"","properties":1},null]}',
  '{"collection":"__proto__","objects":[{"id":"constructor","properties":{"__proto__":1}}]}',
  `{"collection":"rooms","objects":[{"id":"wide","properties":{${Array.from({ length: 3_000 }, (_, n) => `"p${n}":${n}`).join(",")}}}]}`,
  "x".repeat(600_000),
];

const PATHS = [
  ...["track", "identify", "page", "screen", "group", "alias", "batch", "import"].map(
    (name) => `/v1/${name}`,
  ),
  ...["t", "i", "p", "s", "g", "a", "b", "set", "m"].map((name) => `/v1/${name}`),
  "/v1/batch/",
  "/v1/batch",
  "/v1/batch",
  "/beacon/v1/batch",
  "/rsaMetrics",
  "/sourceConfig",
  "/v1/projects/x/settings",
  "/openapi.json",
  "/healthz",
  "/",
  "/v1/%00",
  "/v1/../v1/batch",
];

let messages = 0;
const messageId = fc.constant(null).map(() => `fuzz-${process.pid}-${messages++}`);

const odd = fc.oneof(
  { weight: 3, arbitrary: fc.string({ unit: "binary", maxLength: 30 }) },
  fc.constantFrom<unknown>(null, true, -0, 1.5, "", [], {}, [[]], { a: null }, "x".repeat(200)),
  fc.constantFrom<unknown>("cut \ud83d", "\ude00", "a\u0000", { "cut \ud83d": "cut \ud83d" }, ["\ude00"]),
  fc.double(),
  fc.jsonValue({ maxDepth: 4 }),
);

const goodEvent = fc.record({
  type: fc.constantFrom("track", "identify", "page", "screen", "group", "alias"),
  event: fc.string({ minLength: 1, maxLength: 40 }),
  userId: fc.string({ minLength: 1, maxLength: 10 }),
  groupId: fc.constantFrom("g1", "g2"),
  previousId: fc.constant("before"),
  messageId,
  traits: fc.dictionary(fc.string({ maxLength: 10 }), fc.jsonValue({ maxDepth: 3 }), { maxKeys: 6 }),
  properties: fc.dictionary(fc.string({ unit: "binary", maxLength: 10 }), fc.jsonValue({ maxDepth: 3 }), {
    maxKeys: 6,
  }),
  timestamp: fc.constantFrom("2026-11-23T10:00:00Z", "2020-01-01", "bad", 1_795_000_000),
});

/** A good event with some fields replaced by something odd. */
const event = fc
  .tuple(
    goodEvent,
    fc.dictionary(
      fc.constantFrom(
        "type",
        "event",
        "userId",
        "messageId",
        "traits",
        "properties",
        "context",
        "timestamp",
        "sentAt",
        "__proto__",
      ),
      odd,
      { maxKeys: 2 },
    ),
    fc.nat(3),
  )
  .map(([good, oddities, dice]): object => (dice === 0 ? Object.assign({ ...good }, oddities) : good));

/** As SDKs write them: most are stored as they were sent. */
const plainEvent = fc.record({
  type: fc.constantFrom("track", "track", "page", "identify", "group"),
  event: fc.constantFrom("Order Completed", "Signed Up", "Søkt"),
  userId: fc.nat(5_000).map((n) => `user-${n}`),
  groupId: fc.nat(500).map((n) => `group-${n}`),
  messageId,
  properties: fc.dictionary(fc.constantFrom("total", "sku", "name", "é"), fc.oneof(fc.nat(), fc.string()), {
    maxKeys: 4,
  }),
});
const plainBatch = fc.record({ batch: fc.array(plainEvent, { minLength: 20, maxLength: 80 }) });

const batch = fc.record({ batch: fc.array(event, { maxLength: 30 }), sentAt: fc.constant(undefined) });
const set = fc.record({
  collection: fc.constantFrom("rooms", "hotel_rooms", "Rooms", "", 5),
  objects: fc.array(
    fc.record({
      id: fc.oneof(fc.string({ maxLength: 8 }), fc.nat(), fc.constant(null)),
      properties: fc.oneof(
        fc.dictionary(fc.string({ maxLength: 6 }), fc.oneof(fc.string(), fc.double(), fc.constant(null)), {
          maxKeys: 5,
        }),
        odd,
      ),
    }),
    { maxLength: 6 },
  ),
});

const jsonText = (value: unknown): string => JSON.stringify(value) ?? "";

const content = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      path: fc.constantFrom("/v1/batch", "/v1/import/", "/v1/b"),
      sent: batch,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ path: fc.constant("/v1/batch"), sent: plainBatch }),
  },
  {
    weight: 3,
    arbitrary: event.map((sent): { path: string; sent: unknown } => ({
      path: `/v1/${String((sent as { type?: unknown }).type)}`,
      sent,
    })),
  },
  { weight: 1, arbitrary: fc.record({ path: fc.constant("/v1/set"), sent: set }) },
  {
    weight: 1,
    arbitrary: fc.record({ path: fc.constantFrom(...PATHS), sent: fc.jsonValue() }),
  },
);

const plain = fc
  .uint8Array({ maxLength: 300 })
  .map((bytes) => ({ body: Buffer.from(bytes), sent: undefined as unknown }));
const known = fc
  .constantFrom(...CORPUS)
  .map((text) => ({ body: Buffer.from(text), sent: undefined as unknown }));

const keyHeader = fc.constantFrom<Record<string, string>>(
  { authorization: `Basic ${btoa("wk-fuzz:")}` },
  { authorization: `Basic ${btoa("wk-fuzz:")}` },
  { authorization: `Basic ${btoa("wk-fuzz:")}` },
  { authorization: "Bearer wk-fuzz" },
  { "x-write-key": "wk-fuzz" },
  { authorization: "Basic !!!" },
  { authorization: "Basic" },
  {},
);
const otherHeaders = fc.constantFrom<Record<string, string>>(
  {},
  { "content-type": "application/json" },
  { "content-type": "text/plain", origin: "https://a.example" },
  { "content-type": "multipart/form-data; boundary=x" },
  { "content-encoding": "gzip" },
  { "content-encoding": "br", "user-agent": "Googlebot/2.1" },
);

const wrap = fc.constantFrom("plain", "plain", "plain", "plain", "gzip", "cut", "twice", "trailing");

function wrapped(body: Buffer, how: string): Buffer {
  if (how === "plain") return body;
  const zipped = gzipSync(body);
  if (how === "cut") return zipped.subarray(0, Math.max(1, zipped.length - 5));
  if (how === "twice") return Buffer.concat([zipped, zipped]);
  return how === "trailing" ? Buffer.concat([zipped, Buffer.from("trailing")]) : zipped;
}

const posted = fc.oneof(
  {
    weight: 12,
    arbitrary: content.map(({ path, sent }) => ({ path, body: Buffer.from(jsonText(sent)), sent })),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.constantFrom(...PATHS), plain)
      .map(([path, { body, sent }]) => ({ path, body, sent })),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.constantFrom(...PATHS), known)
      .map(([path, { body, sent }]) => ({ path, body, sent })),
  },
);

export const hostileRequest: fc.Arbitrary<HostileRequest> = fc
  .tuple(
    posted,
    keyHeader,
    otherHeaders,
    wrap,
    fc.constantFrom(...Array.from({ length: 17 }, () => "POST"), "PUT", "GET", "OPTIONS"),
  )
  .map(([{ path, body, sent }, key, others, how, method]) => {
    const bodiless = method === "GET";
    return {
      method,
      path,
      headers: { ...key, ...others },
      body: bodiless ? Buffer.alloc(0) : wrapped(body, how),
      sent: method === "POST" && (how === "plain" || how === "gzip") ? sent : undefined,
    };
  });
