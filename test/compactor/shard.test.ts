import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { takePage } from "../../compactor/shard.ts";
import type { Page } from "../../compactor/stream.ts";
import type { Position } from "../../shared/position.ts";
import { lastChangedMs } from "../../shared/position.ts";
import { compareSequence } from "../../shared/sequence.ts";
import { T0, eventRecord, objectRecord, position, seq } from "../fakes/changes.ts";

const start = position;
const pageOf = (records: Page["records"], some: Partial<Page> = {}): Page => ({
  records,
  next: "next",
  bytes: 100,
  ...some,
});
const ASKED = T0 + 60_000;
const take = (before: Position, page: Page, closed = false) =>
  takePage("s1", before, page, { askedMs: ASKED, readMs: ASKED + 5, closed });

test("a page moves the position to its last record", () => {
  const taken = take(start(), pageOf([objectRecord(9, T0), objectRecord(10, T0)]));
  expect(taken.rows.map((row) => row.seq)).toEqual(["9", "10"]);
  expect(taken).toMatchObject({ records: 2, bytes: 100, position: { seq: "10", done: false } });
});

test("records that are no changes move it too", () => {
  const taken = take(start(), pageOf([eventRecord(3, T0, { eventName: "MODIFY" })]));
  expect(taken).toMatchObject({ rows: [], records: 1, position: { seq: "3" } });
});

describe("an answer that comes twice adds nothing", () => {
  test("whole", () => {
    const page = pageOf([objectRecord(9, T0), objectRecord(10, T0)]);
    expect(take(start({ seq: seq(10), at: T0 }), page)).toMatchObject({ rows: [], records: 0 });
  });

  test("in part: only what is new is taken, and numbers are not text", () => {
    const page = pageOf([objectRecord(9, T0), objectRecord(10, T0), objectRecord(11, T0)]);
    expect(take(start({ seq: seq(10), at: T0 }), page).rows.map((row) => row.seq)).toEqual(["11"]);
    expect(take(start({ seq: seq(9), at: T0 }), page).rows.map((row) => row.seq)).toEqual(["10", "11"]);
  });
});

describe("the shard's watermark", () => {
  const full = Array.from({ length: 1000 }, (_, index) => objectRecord(index + 1, T0));
  test.each([
    ["rises to the call's time when nothing is waiting", pageOf([]), ASKED],
    ["also with records", pageOf([objectRecord(1, T0)]), ASKED],
    ["not past the call's, whatever the records say", pageOf([objectRecord(1, ASKED + 9000)]), ASKED],
    ["when the page is full of records: to before the last one's second", pageOf(full), T0 - 1],
    ["and so when it is full of bytes", pageOf([objectRecord(1, T0)], { bytes: 950_000 }), T0 - 1],
    [
      "and at the shard's end, for its children begin there",
      pageOf([objectRecord(1, T0)], { next: null }),
      T0 - 1,
    ],
    ["not at all at an end without records", pageOf([], { next: null }), 0],
  ])("%s", (_, page, at) => {
    expect(take(start(), page).position.at).toBe(at);
  });

  test("of a shard that takes no more records does not rise with the time", () => {
    expect(take(start({ at: T0 - 9 }), pageOf([]), true).position.at).toBe(T0 - 9);
    expect(take(start(), pageOf([objectRecord(1, T0)]), true).position.at).toBe(T0 - 1);
  });

  test("the next page of the same second is above it", () => {
    const first = take(start(), pageOf(full));
    const second = take(first.position, pageOf([objectRecord(1001, T0)]));
    expect(second.rows[0]?.changedMs).toBe(first.rows.at(-1)?.changedMs);
    expect(second.rows[0]?.changedMs).toBeGreaterThan(first.position.at);
  });

  test("never falls", () => {
    expect(take(start({ at: ASKED + 500 }), pageOf([])).position.at).toBe(ASKED + 500);
  });
});

test("no next iterator is the end of the shard", () => {
  expect(take(start(), pageOf([], { next: null })).position.done).toBe(true);
});

test("page after page: each record once, in order, and every row above the watermark before it", () => {
  const steps = fc.array(
    fc.record({
      size: fc.integer({ min: 0, max: 5 }),
      again: fc.integer({ min: 0, max: 4 }),
      createdMs: fc.integer({ min: T0, max: T0 + 120_000 }),
      skewMs: fc.integer({ min: -30_000, max: 30_000 }),
      full: fc.boolean(),
    }),
    { maxLength: 12 },
  );
  fc.assert(
    fc.property(steps, (some) => {
      let before = start();
      let last = 0;
      let askedMs = T0;
      const seen: string[] = [];
      for (const { size, again, createdMs, skewMs, full } of some) {
        const first = Math.max(1, last + 1 - again);
        const records = Array.from({ length: last + size - first + 1 }, (_, index) =>
          objectRecord(first + index, createdMs),
        );
        last += size;
        askedMs += 1000;
        const page = pageOf(records, { bytes: full ? 950_000 : 100 });
        const taken = takePage("s1", before, page, {
          askedMs: askedMs + skewMs,
          readMs: askedMs + skewMs + 50,
          closed: false,
        });
        let previousMs = lastChangedMs(before);
        for (const row of taken.rows) {
          expect(row.changedMs).toBeGreaterThan(before.at);
          expect(row.changedMs).toBeGreaterThanOrEqual(previousMs);
          previousMs = row.changedMs;
        }
        seen.push(...taken.rows.map((row) => row.seq));
        expect(lastChangedMs(taken.position)).toBeGreaterThanOrEqual(previousMs);
        expect(taken.position.at).toBeGreaterThanOrEqual(before.at);
        expect(compareSequence(taken.position.seq, before.seq)).toBeGreaterThanOrEqual(0);
        before = taken.position;
      }
      expect(seen).toEqual(Array.from({ length: last }, (_, index) => String(index + 1)));
    }),
  );
});
