import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Row, StreamRecord } from "../../shared/row.ts";
import { rowOf, sequenceOf } from "../../shared/row.ts";
import { T0, eventRecord, objectRecord, seq } from "../fakes/changes.ts";

const rowAt = (record: StreamRecord, floorMs = 0, readMs = T0 + 60_000): Row | null =>
  rowOf(record, sequenceOf(record), "s1", floorMs, readMs);

const without = (record: StreamRecord, name: "NewImage"): StreamRecord => {
  const { [name]: _, ...dynamodb } = record.dynamodb;
  return { ...record, dynamodb };
};

const TTL = { Type: "Service", PrincipalId: "dynamodb.amazonaws.com" };

describe("changedMs", () => {
  const time = fc.integer({ min: T0, max: T0 + 100_000 });

  test("is above the floor, not before the change, and a whole number", () => {
    fc.assert(
      fc.property(time, time, fc.integer({ min: 0, max: 999_999 }), (floorMs, readMs, micros) => {
        const base = objectRecord(1, T0 + 50_000);
        const seconds = (base.dynamodb.ApproximateCreationDateTime ?? 0) + micros / 1e6;
        const record = { ...base, dynamodb: { ...base.dynamodb, ApproximateCreationDateTime: seconds } };
        const changedMs = rowAt(record, floorMs, readMs)?.changedMs ?? 0;
        expect(changedMs).toBeGreaterThan(floorMs);
        expect(changedMs).toBeGreaterThanOrEqual(Math.floor(seconds * 1000));
        expect(Number.isSafeInteger(changedMs)).toBe(true);
      }),
    );
  });

  test.each([
    ["read long after: the end of its second", T0 + 400, T0 + 60_000, 0, T0 + 999],
    ["read within its second: the time of reading", T0 + 400, T0 + 450, 0, T0 + 450],
    ["read by a clock that lags: its own time", T0, T0 - 5_000, 0, T0],
    ["below the floor: just above it", T0, T0 + 60_000, T0 + 7_000, T0 + 7_001],
  ])("%s", (_, createdMs, readMs, floorMs, changedMs) => {
    expect(rowAt(objectRecord(1, createdMs), floorMs, readMs)?.changedMs).toBe(changedMs);
  });
});

describe("what is a change", () => {
  test.each([
    ["an event", eventRecord(1, T0), "insert"],
    ["an event sent again", eventRecord(1, T0, { eventName: "MODIFY" }), null],
    ["an event deleted", eventRecord(1, T0, { eventName: "REMOVE" }), "delete"],
    ["an event past its time", { ...eventRecord(1, T0, { eventName: "REMOVE" }), userIdentity: TTL }, null],
    ["an object", objectRecord(1, T0, { eventName: "INSERT" }), "insert"],
    ["an object changed", objectRecord(1, T0), "update"],
    ["an object deleted", objectRecord(1, T0, { eventName: "REMOVE" }), "delete"],
    [
      "an object past its time",
      { ...objectRecord(1, T0, { eventName: "REMOVE" }), userIdentity: TTL },
      "delete",
    ],
  ] as const)("%s", (_, record, op) => {
    expect(rowAt(record)?.op ?? null).toBe(op);
  });
});

const foreign = (keys: StreamRecord["dynamodb"]["Keys"]): StreamRecord => ({
  eventName: "MODIFY",
  dynamodb: { Keys: keys, SequenceNumber: "1", NewImage: { ...keys, n: { N: "1" } } },
});

describe("columns", () => {
  test("of an event", () => {
    const record = eventRecord("0012", T0);
    const image = {
      ...record.dynamodb.NewImage,
      user_id: { S: "u1" },
      anonymous_id: { S: "a1" },
      event: { S: "Bought" },
    };
    expect(rowAt({ ...record, dynamodb: { ...record.dynamodb, NewImage: image } })).toEqual({
      changedMs: T0 + 999,
      op: "insert",
      key: '{"pk":"e#shop#m1"}',
      seq: "12",
      shard: "s1",
      changes: 1,
      kind: "event",
      source: "shop",
      collection: "tracks",
      id: "m1",
      userId: "u1",
      anonymousId: "a1",
      event: "Bought",
      eventMs: 5,
      image: '{"n":1}',
    });
  });

  test("of an object: a user's id is its user id too", () => {
    expect(rowAt(objectRecord(1, T0, { value: "y" }))).toMatchObject({
      kind: "object",
      source: "shop",
      collection: "users",
      id: "u1",
      userId: "u1",
      eventMs: 1,
      image: '{"v":"y"}',
    });
  });

  test("of a delete: no image", () => {
    expect(rowAt(objectRecord(1, T0, { eventName: "REMOVE" }))).toMatchObject({ image: null, eventMs: null });
  });

  test("of a table that is not ours: the generic ones", () => {
    expect(rowAt(foreign({ id: { N: "7" } }))).toMatchObject({
      key: '{"id":7}',
      op: "update",
      kind: null,
      source: null,
      image: '{"id":7,"n":1}',
    });
  });

  test.each(["o#orders#2026#7", "e#orders#7", "r#orders#7"])(
    "of one whose keys only look like ours: the generic ones, and a write over it is a change (%s)",
    (pk) => {
      expect(rowAt(foreign({ pk: { S: pk } }))).toMatchObject({
        key: JSON.stringify({ pk }),
        op: "update",
        kind: null,
        image: JSON.stringify({ n: 1, pk }),
      });
    },
  );

  test("a sort key belongs to the key, and makes an item none of ours", () => {
    expect(rowAt(foreign({ pk: { S: "e#shop#1" }, sk: { S: "b" } }))).toMatchObject({
      key: '{"pk":"e#shop#1","sk":"b"}',
      op: "update",
      kind: null,
    });
    expect(rowAt(foreign({ sk: { S: "b" }, pk: { S: "a" } }))?.key).toBe('{"pk":"a","sk":"b"}');
  });

  test("equal keys give equal text", () => {
    expect(rowAt(foreign({ pk: { S: 'a"b' } }))?.key).toBe('{"pk":"a\\"b"}');
  });
});

describe("a record that cannot be kept is never passed over", () => {
  test.each([
    ["no image", without(objectRecord(1, T0), "NewImage"), /has no NewImage/],
    ["an unknown name", objectRecord(1, T0, { eventName: "TRUNCATE" }), /eventName is "TRUNCATE"/],
  ])("%s", (_, record, message) => {
    expect(() => rowAt(record)).toThrow(message);
  });

  test("no sequence number", () => {
    const record = objectRecord("x1", T0);
    expect(() => sequenceOf(record)).toThrow(/no usable SequenceNumber/);
    expect(sequenceOf(objectRecord("0042", T0))).toBe(seq(42));
  });
});
