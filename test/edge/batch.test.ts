import { expect, test } from "vitest";
import { BATCH_MAX, batchesOf, bodyFor, putsOf } from "../../edge/batch.ts";
import { eventOf, eventPuts } from "../../edge/items.ts";
import type { Puts } from "../../edge/items.ts";
import { parseJson } from "../../shared/json.ts";

const text = (bytes: Uint8Array | undefined): string => new TextDecoder().decode(bytes);
const puts = (count: number): Puts[] =>
  Array.from({ length: count }, (_, index) => ({
    bytes: new TextEncoder().encode(JSON.stringify({ PutRequest: { Item: { pk: { S: `é"${index}` } } } })),
    indexes: [index % 10 === 0 ? null : index],
  }));

test("puts come out of their batches as they went in", () => {
  const batches = batchesOf("varve", puts(60));
  expect(batches.map(({ indexes }) => indexes.length)).toEqual([BATCH_MAX, BATCH_MAX, 10]);
  expect(batches.flatMap(putsOf)).toEqual(puts(60));
  expect(batchesOf("varve", [])).toEqual([]);
});

test("a batch made for one table can be written to another", () => {
  const [batch] = batchesOf("varve", puts(3));
  const other = batchesOf("varve-eu", puts(3))[0];
  if (batch === undefined) throw new Error("no batch");
  expect(bodyFor("varve", batch)).toBe(batch.body);
  expect(text(bodyFor("varve-eu", batch))).toBe(text(other?.body));
});

test("an event is read back from its put, digit by digit", () => {
  const body = '{"messageId":"m","properties":{"n":12345678901234567890}}';
  const event = {
    type: "track",
    collection: "tracks",
    messageId: "m",
    userId: "u",
    anonymousId: null,
    name: "n",
    eventAtMs: 1,
    flags: [],
    record: parseJson(body) as { [name: string]: unknown },
  } as const;
  const put = eventPuts({ source: "s", receivedAtMs: 1, expiresAtS: 1 })(event, body, 0);
  const [again] = batchesOf("varve", [put]).flatMap(putsOf);
  expect(again && JSON.stringify(eventOf(again))).toBe(body);
});
