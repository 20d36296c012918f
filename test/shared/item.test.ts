import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { AttributeValue } from "../../shared/item.ts";
import {
  attributeJson,
  attributeMapJson,
  eventPk,
  objectPk,
  objectPropertiesJson,
  parsePk,
  rejectedPk,
} from "../../shared/item.ts";

const source = fc.stringMatching(/^[a-z0-9][a-z0-9_-]{0,20}$/);
const collection = fc.stringMatching(/^[^#]{1,20}$/);
const id = fc.string({ minLength: 1, maxLength: 40, unit: "grapheme" });

describe("partition keys", () => {
  test("parse into what they were made of, # in the id included", () => {
    fc.assert(
      fc.property(source, collection, id, (from, into, one) => {
        expect(parsePk(eventPk(from, one))).toEqual({
          kind: "event",
          source: from,
          collection: null,
          id: one,
        });
        expect(parsePk(rejectedPk(from, one))).toEqual({
          kind: "rejected",
          source: from,
          collection: null,
          id: one,
        });
        expect(parsePk(objectPk(from, into, one))).toEqual({
          kind: "object",
          source: from,
          collection: into,
          id: one,
        });
      }),
    );
  });

  test.each([
    "",
    "e",
    "e#",
    "e##1",
    "e#shop",
    "e#shop#",
    "o#shop#users",
    "o#shop##1",
    "o#shop#users#",
    "x#a#b",
  ])("%j is none of ours", (pk) => {
    expect(parsePk(pk)).toBeNull();
  });
});

describe("attributes as JSON", () => {
  const cases: readonly (readonly [AttributeValue, string])[] = [
    [{ S: 'a"b' }, '"a\\"b"'],
    [{ N: "12345678901234567890123456789012345678" }, "12345678901234567890123456789012345678"],
    [{ BOOL: true }, "true"],
    [{ BOOL: false }, "false"],
    [{ NULL: true }, "null"],
    [{ B: "aGk=" }, '"aGk="'],
    [{ SS: ["b", "a"] }, '["b","a"]'],
    [{ NS: ["1", "2.50"] }, "[1,2.50]"],
    [{ BS: ["aGk="] }, '["aGk="]'],
    [{ L: [{ N: "1" }, { L: [] }, { M: {} }] }, "[1,[],{}]"],
    [{ M: { b: { S: "" }, a: { NULL: true } } }, '{"a":null,"b":""}'],
  ];
  test.each(cases)("%j", (value, json) => {
    expect(attributeJson(value)).toBe(json);
  });

  test("equal items give equal text, whatever the order of their names", () => {
    const names = fc.uniqueArray(fc.string(), { maxLength: 8 });
    fc.assert(
      fc.property(names, (some) => {
        const map = Object.fromEntries(some.map((name, index) => [name, { N: String(index) }]));
        const turned = Object.fromEntries(Object.entries(map).toReversed());
        expect(attributeMapJson(turned)).toBe(attributeMapJson(map));
        expect(() => JSON.parse(attributeMapJson(map))).not.toThrow();
      }),
    );
  });

  test("an object's properties are those under the prefix", () => {
    const item = {
      pk: { S: "o#shop#users#1" },
      event_at: { N: "5" },
      "p.plan": { S: "pro" },
      "p.": { N: "1" },
      "p.p.x": { BOOL: true },
    };
    expect(objectPropertiesJson(item)).toBe('{"":1,"p.x":true,"plan":"pro"}');
  });
});
