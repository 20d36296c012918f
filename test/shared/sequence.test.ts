import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { SequenceNumber } from "../../shared/sequence.ts";
import { compareSequence, parseSequence, sequenceColumn } from "../../shared/sequence.ts";

const digits = fc.bigInt({ min: 0n, max: 10n ** 40n - 1n });
const sequence = digits.map((number) => parseSequence(String(number)) as SequenceNumber);

describe("parseSequence", () => {
  test.each([
    ["0", "0"],
    ["7", "7"],
    ["007", "7"],
    ["000", "0"],
    ["100000000000000000001", "100000000000000000001"],
    ["9".repeat(40), "9".repeat(40)],
  ])("%s is %s", (text, parsed) => {
    expect(parseSequence(text)).toBe(parsed);
  });

  test.each(["", "-1", "1.0", "1e3", " 1", "x", "9".repeat(41)])("%j is none", (text) => {
    expect(parseSequence(text)).toBeNull();
  });
});

describe("order", () => {
  test("is that of the integers, of whatever length", () => {
    fc.assert(
      fc.property(digits, digits, (a, b) => {
        const compared = compareSequence(parseSequence(String(a)), parseSequence(String(b)));
        expect(Math.sign(compared)).toBe(a < b ? -1 : a > b ? 1 : 0);
      }),
    );
  });

  test("is the text order of the column", () => {
    fc.assert(
      fc.property(sequence, sequence, (a, b) => {
        const [left, right] = [sequenceColumn(a), sequenceColumn(b)];
        expect(left).toHaveLength(40);
        expect(Math.sign(compareSequence(a, b))).toBe(left < right ? -1 : left > right ? 1 : 0);
      }),
    );
  });

  test("begins before every number", () => {
    fc.assert(
      fc.property(sequence, (a) => {
        expect(compareSequence(null, a)).toBeLessThan(0);
        expect(compareSequence(a, null)).toBeGreaterThan(0);
      }),
    );
    expect(compareSequence(null, null)).toBe(0);
  });
});
