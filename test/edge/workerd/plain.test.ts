import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { trackBatch } from "../../../bench/edge-bodies.ts";
import { batchesOf, putsOf } from "../../../edge/batch.ts";
import { envelopeOf, ingest, ingestRest } from "../../../edge/ingest.ts";
import type { IngestContext, Ingested, Refused } from "../../../edge/ingest.ts";
import { eventPuts } from "../../../edge/items.ts";
import { openBatch } from "../../../edge/open-batch.ts";
import { readPlain } from "../../../edge/plain.ts";
import type { PlainBatch } from "../../../edge/plain.ts";
import { compileSource, createBotTest } from "../../../edge/rules.ts";
import { SOURCE } from "../../../edge/sources.ts";
import { mayNeedCleaning, parseJson } from "../../../shared/json.ts";

const NOW_MS = Date.now();
const ago = (ms: number): string => new Date(NOW_MS - ms).toISOString();
const STAMP = { source: "shop", receivedAtMs: NOW_MS, expiresAtS: 2_000_000_000 };
const CLIENT = { ip: "203.0.113.9", userAgent: "analytics-node/2.1.0" };
const isBot = createBotTest();
/** Made now: its times are not to be off by the time that the tests before take. */
const TRACK_BATCH = trackBatch(0).body;
const CONTEXT: Omit<IngestContext, "dirty"> = {
  receivedAtMs: NOW_MS,
  receivedAt: new Date(NOW_MS).toISOString(),
  skewMaxMs: 60_000,
  newId: () => "made-here",
  rules: compileSource(SOURCE.parse({ id: "shop" }))(CLIENT),
};

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

function plainOf(bytes: Uint8Array): { plain: PlainBatch; ingested: Ingested | Refused | null } | null {
  const batch = openBatch(bytes);
  const envelope = batch === null ? null : envelopeOf(batch.body, false);
  if (batch === null || envelope === null || "kind" in envelope) return null;
  const plain = readPlain(batch, {
    envelope,
    stamp: STAMP,
    receivedAt: CONTEXT.receivedAt,
    skewMaxMs: CONTEXT.skewMaxMs,
    eventsMax: 2_500,
    table: "varve",
    isBot,
    clientIsBot: false,
  });
  return plain === null ? null : { plain, ingested: ingestRest(plain, envelope, CONTEXT) };
}

function parsedOf(text: string): Ingested | Refused {
  return ingest({ kind: "batch" }, parseJson(text), { ...CONTEXT, dirty: mayNeedCleaning(text) });
}

/** With names in order, so that equal values are equal texts. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  const names = Object.keys(value).toSorted();
  return names.map((name) => [name, sorted((value as Record<string, unknown>)[name])]);
}

type Item = Record<string, { readonly S?: string }>;

/** What comes of a request, in a form that says whether two are the same. */
function outcomeOf(result: Ingested | Refused): string {
  if (result.kind === "refused") return JSON.stringify(result);
  const putOf = eventPuts(STAMP);
  const puts = [...result.puts, ...result.events.map(({ event, body, index }) => putOf(event, body, index))];
  const items = [...result.batches, ...batchesOf("varve", puts)]
    .flatMap(putsOf)
    .map(({ bytes, indexes }): [number, unknown] => {
      const { PutRequest } = JSON.parse(new TextDecoder().decode(bytes)) as { PutRequest: { Item: Item } };
      const { body, ...attributes } = PutRequest.Item;
      return [indexes[0] ?? 0, [sorted(attributes), JSON.stringify(sorted(JSON.parse(body?.S ?? "")))]];
    })
    .toSorted(([a], [b]) => a - b);
  const { total, objects, rejected } = result;
  return JSON.stringify([total, items, sorted(objects), sorted(rejected)]);
}

function expectAlike(bytes: Uint8Array): PlainBatch | null {
  const read = plainOf(bytes);
  if (read?.ingested == null) return null;
  const [ours, theirs] = [outcomeOf(read.ingested), outcomeOf(parsedOf(new TextDecoder().decode(bytes)))];
  if (ours === theirs) return read.plain;
  let at = 0;
  while (ours[at] === theirs[at]) at += 1;
  const around = (text: string): string => text.slice(Math.max(0, at - 100), at + 100);
  throw new Error(`${around(ours)}\n  but parsed\n${around(theirs)}`);
}

const CALM = ["a", "z", " ", "é", "漢", "😀", '"', "\\", "/", "\n", "\t", "<", "]", "}", "x".repeat(200)];
const WILD = [...CALM, "\u0001", "\u0000", "\ud800", "bot/1.0", "__proto__"];
const textOf = (pieces: readonly string[]): fc.Arbitrary<string> =>
  fc.array(fc.constantFrom(...pieces), { maxLength: 4 }).map((some) => some.join(""));
const text = fc.oneof({ weight: 40, arbitrary: textOf(CALM) }, { weight: 1, arbitrary: textOf(WILD) });
const name = fc.oneof(
  { weight: 100, arbitrary: textOf(["a", "z", " ", "é", "漢", "😀", "/", "<", "]", "}", "x".repeat(200)]) },
  { weight: 1, arbitrary: fc.constantFrom("__proto__", "constructor", "prototype", "\n", '"', "\\") },
);
const number = fc.oneof(
  fc.integer(),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.constantFrom(-0, 1e21, 2 ** 53),
);
const { any } = fc.letrec((tie) => ({
  any: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.oneof(text, number, fc.boolean(), fc.constant(null)),
    fc.array(tie("any"), { maxLength: 3 }),
    fc.dictionary(fc.oneof(name, fc.constantFrom("userAgent", "direct", "ip", "b")), tie("any"), {
      maxKeys: 4,
    }),
  ),
}));
const object = fc.dictionary(name, any, { maxKeys: 4 });
const rarely = <T, U>(rare: fc.Arbitrary<T>, usual: fc.Arbitrary<U>): fc.Arbitrary<T | U> =>
  fc.oneof({ weight: 1, arbitrary: rare }, { weight: 30, arbitrary: usual });
const time = rarely(
  fc.constantFrom(
    "2025-02-29T00:00:00.000Z",
    "1969-01-01T00:00:00.000Z",
    ago(120_000),
    ago(-1e10),
    "soon",
    "",
  ),
  fc.constantFrom(
    ago(1_000),
    ago(5_000).replace(/\.\d+/, ""),
    ago(-3600_000).replace("Z", "456+01:00"),
    `${ago(2_000)} `,
  ),
);
const often = <T>(usual: fc.Arbitrary<T>): fc.Arbitrary<unknown> => rarely<unknown, unknown>(any, usual);
const event = fc.record(
  {
    type: often(fc.constantFrom("track", "track", "page", "screen", "identify", "group", "alias", "other")),
    messageId: often(fc.integer({ max: 12, min: 0 }).map((id) => `m-${id}`)),
    event: often(text),
    name: often(text),
    category: often(text),
    userId: often(fc.constantFrom("u", "u", "u", "", "é", "u".repeat(500), "u".repeat(501))),
    anonymousId: often(fc.constant("a")),
    groupId: often(fc.constant("g")),
    previousId: often(fc.constant("p")),
    properties: often(object),
    traits: often(object),
    context: often(
      fc.record(
        {
          userAgent: often(fc.constantFrom("Mozilla/5.0", "Mozilla/4.0", "Googlebot/2.1")),
          direct: rarely(fc.boolean(), fc.constant(undefined)),
          app: object,
        },
        { requiredKeys: [] },
      ),
    ),
    integrations: often(object),
    timestamp: often(time),
    originalTimestamp: often(time),
    sentAt: often(time),
    receivedAt: any,
    writeKey: text,
    write_key: text,
    varve: any,
    extra: any,
  },
  { requiredKeys: ["type", "messageId", "userId", "event", "groupId"] },
);
const request = fc.record(
  {
    batch: fc.array(often(event), { maxLength: 6 }),
    sentAt: often(time),
    writeKey: text,
    context: rarely(object, fc.constant(null)),
    integrations: fc.constant(null),
    originalTimestamp: often(time),
    more: any,
  },
  { requiredKeys: ["batch"] },
);

const EDITS = `|"|\\|\\u0061|\\ud83d|{|}|[|]|,|:| |0|-|1.|1e5|01|+1|"a":1,"a":2,|"__proto__":{},|true|nul|\0|\x01|\t|é|"batch":[],|"batch":[`;

describe("a batch read as it is", () => {
  test("comes to what a parsed one comes to", { timeout: 120_000 }, () => {
    let plain = 0;
    fc.assert(
      fc.property(request, fc.constantFrom(undefined, 1, "\t\r\n"), (sent, space) => {
        plain += expectAlike(bytesOf(JSON.stringify(sent, null, space)))?.messageIds().length ?? 0;
      }),
      { numRuns: 4_000 },
    );
    expect(plain).toBeGreaterThan(500);
  });

  const edit = fc.tuple(fc.nat(), fc.nat({ max: 3 }), fc.constantFrom(...EDITS.split("|")));
  test("whatever is done to its text", { timeout: 120_000 }, () => {
    fc.assert(
      fc.property(request, fc.array(edit, { minLength: 1, maxLength: 3 }), (sent, edits) => {
        let body = JSON.stringify(sent);
        for (const [where, cut, put] of edits) {
          const at = where % (body.length + 1);
          body = body.slice(0, at) + put + body.slice(at + cut);
        }
        expectAlike(bytesOf(body));
      }),
      { numRuns: 10_000 },
    );
  });

  test("whatever is done to its bytes", { timeout: 120_000 }, () => {
    fc.assert(
      fc.property(request, fc.nat(), fc.nat({ max: 255 }), (sent, where, byte) => {
        const bytes = bytesOf(JSON.stringify(sent));
        bytes[where % bytes.length] = byte;
        expectAlike(bytes);
      }),
      { numRuns: 4_000 },
    );
  });

  test.each([
    ["is plain, all of it", 0, (body: string) => body],
    [
      "is plain with space between its tokens",
      0,
      (body: string) => JSON.stringify(JSON.parse(body), null, 2),
    ],
    ["is plain with text that is not ASCII", 0, (body: string) => body.replaceAll("Shop", "Ålesund 漢字 😀")],
    [
      "has an odd event where a name comes twice",
      100,
      (body: string) => body.replaceAll('"locale":', '"wifi":1,"wifi":2,"locale":'),
    ],
    [
      "has an odd event where an object nests too deep",
      1,
      (body: string) => body.replace('"en-GB"', "[".repeat(40) + "]".repeat(40)),
    ],
    ["has an odd event where an id is a number", 1, (body: string) => body.replace('"user-7"', "7")],
  ])("%s", (_, odd, change) => {
    const plain = expectAlike(bytesOf(change(TRACK_BATCH)));
    expect(plain?.odd.length).toBe(odd);
    expect(plain?.messageIds().length).toBe(100 - odd);
  });

  test.each([
    ["a context of its own", '{"context":{"a":1},"batch":[{}]}'],
    ["no batch", '{"events":[{}]}'],
    ["two batches", '{"batch":[{}],"batch":[{}]}'],
    ["a batch that is no list", '{"batch":{"a":[]}}'],
    ["a list alone", "[{}]"],
    ["a byte order mark", '\uFEFF{"batch":[{}]}'],
    ["an end too many", '{"batch":[{}]]}'],
    ["nothing in it", '{"batch":[]}'],
    ["depth without end", `{"batch":[${"[".repeat(5_000)}`],
  ])("is left whole to be parsed with %s", (_, body) => {
    expect(plainOf(bytesOf(body))).toBeNull();
  });

  test.each([
    ["quotes", '\\"'.repeat(14_000)],
    ["backslashes", "\\\\".repeat(14_000)],
    ["names without a letter", `","":"`.repeat(40)],
  ])("is copied to its end where an event is all %s", (_, told) => {
    const events = Array.from(
      { length: 30 },
      (__, at) =>
        `{"type":"track","messageId":"m${at}","userId":"u","event":"e","properties":{"a":"${told}"}}`,
    );
    expect(expectAlike(bytesOf(`{"batch":[${events.join(",")}]}`))?.total).toBe(30);
  });

  test("is odd, and broken without harm, where one event is the whole request", () => {
    const huge = `{"type":"track","messageId":"m","userId":"u","event":"e","properties":{"a":"${'\\"'.repeat(240_000)}"}}`;
    expect(expectAlike(bytesOf(`{"batch":[${huge}]}`))?.odd.length).toBe(1);
    expect(plainOf(bytesOf(`{"batch":[${huge.slice(0, -3)}]}`))).toBeNull();
  });

  test("keeps a number digit by digit, and a text's own escapes", () => {
    const body =
      '{"batch":[{"type":"track","event":"a\\/b\\n","messageId":"m","userId":"u","properties":{"n":12345678901234567890.10,"e":1E400}}]}';
    const put = plainOf(bytesOf(body))?.plain.puts[0];
    const { PutRequest } = JSON.parse(new TextDecoder().decode(put?.bytes)) as { PutRequest: { Item: Item } };
    expect(PutRequest.Item["body"]?.S).toContain('"properties":{"n":12345678901234567890.10,"e":1E400}');
    expect(PutRequest.Item["event"]?.S).toBe("a/b\n");
  });
});
