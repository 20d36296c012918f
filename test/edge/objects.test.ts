import { expect, test } from "vitest";
import { mergeObjects, objectUpdates } from "../../edge/objects.ts";
import { attributeOf } from "../../shared/item.ts";
import { parseJson } from "../../shared/json.ts";

const write = (index: number, eventAtMs: number, properties: Record<string, unknown>, id = "ann") => ({
  index,
  collection: "users",
  id,
  eventAtMs,
  properties,
});

test("writes for one key merge, the last by event time winning, equal times by arrival", () => {
  const merged = mergeObjects([
    write(0, 5, { a: 1, b: 1 }),
    write(1, 3, { a: 0, c: 0 }),
    write(2, 5, { b: 2 }),
    write(3, 1, { x: 1 }, "bob"),
  ]);
  expect(merged).toEqual([
    { collection: "users", id: "ann", eventAtMs: 5, properties: { a: 1, b: 2, c: 0 }, indexes: [0, 1, 2] },
    { collection: "users", id: "bob", eventAtMs: 1, properties: { x: 1 }, indexes: [3] },
  ]);
});

test("an update overwrites on the condition that it is not older, and can fill in", () => {
  const [merged] = mergeObjects([write(0, 5, { 'q"': "v" })]);
  const [update] = objectUpdates("varve", "web", merged as NonNullable<typeof merged>);
  const set = JSON.parse(update?.set ?? "") as Record<string, unknown>;
  expect(set).toMatchObject({
    TableName: "varve",
    Key: { pk: { S: "o#web#users#ann" } },
    ConditionExpression: "attribute_not_exists(#t) OR #t<=:t",
    ExpressionAttributeNames: { "#0": 'p.q"', "#t": "event_at" },
    ExpressionAttributeValues: { ":0": { S: "v" }, ":t": { N: "5" } },
  });
  expect(update?.fill).toContain("#0=if_not_exists(#0,:0)");
  expect(update?.fill).not.toContain("ConditionExpression");
});

test("many properties take several updates, each within 4 KB and 300 operators", () => {
  const properties = Object.fromEntries(Array.from({ length: 500 }, (_, index) => [`p${index}`, index]));
  const [merged] = mergeObjects([write(0, 5, properties)]);
  const updates = objectUpdates("varve", "web", merged as NonNullable<typeof merged>);
  expect(updates).toHaveLength(4);
  for (const { set, fill } of updates) {
    for (const text of [set, fill]) {
      const { UpdateExpression } = JSON.parse(text) as { UpdateExpression: string };
      expect(UpdateExpression.length).toBeLessThan(4096);
    }
  }
});

test.each([
  ["1.5", { N: "1.5" }],
  ["12345678901234567890123456789012345678", { N: "12345678901234567890123456789012345678" }],
  ["123456789012345678901234567890123456789", { S: "123456789012345678901234567890123456789" }],
  ["1e400", { S: "1e400" }],
  ["1e-200", { S: "1e-200" }],
  ["0", { N: "0" }],
  ["[true,null,{}]", { L: [{ BOOL: true }, { NULL: true }, { M: {} }] }],
])("%s as an attribute", (text, attribute) => {
  const { value } = parseJson(`{"value":${text}}`) as { value: unknown };
  expect(attributeOf(value)).toEqual(attribute);
});
