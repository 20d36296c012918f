import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { cleanJson, isDeeperThan, isLargerThan, mayNeedCleaning, parseJson } from "../../shared/json.ts";

/** The same by JSON.parse's own means, slowly. */
function revived(text: string): unknown {
  const { rawJSON } = JSON as unknown as { readonly rawJSON: (token: string) => unknown };
  const isAtRisk = (token: string): boolean => /^-?[\d.]{16,}|[eE][+-]?\d{3,}$/.test(token);
  const exact = (_: string, value: unknown, { source = "" }: { readonly source?: string }): unknown =>
    typeof value === "number" && isAtRisk(source) && String(value) !== source ? rawJSON(source) : value;
  return JSON.parse(text, exact as (name: string, value: unknown) => unknown) as unknown;
}

describe("parseJson keeps numbers exact", () => {
  test.each([
    '{"a":12345678901234567890}',
    '{"a":1e400,"b":[-1e-400,0.12345678901234567891]}',
    '{"a":9007199254740993,"b":"x"}',
    '{"a":0.30000000000000004,"b":52.37403249999999}',
    '{"a":"id 12345678901234567890","b":1}',
    "0.1234567890123456789",
  ])("%s", (text) => {
    expect(JSON.stringify(parseJson(text))).toBe(text);
  });

  test("and is plain JSON.parse where nothing is at stake", () => {
    expect(parseJson('{"a":1.5,"b":[1e3]}')).toEqual({ a: 1.5, b: [1000] });
  });

  test("and a number comes to the same whatever stands beside it", () => {
    for (const number of ["1.0", "-0", "1e21", "-1.5E-7", "1700000000.00", "12345678901234567890"]) {
      const alone = JSON.stringify(parseJson(`[${number}]`));
      expect(JSON.stringify(parseJson(`[${number},12345678901234567891]`))).toBe(
        alone.replace("]", ",12345678901234567891]"),
      );
    }
  });

  test("and a number is the same whatever stands beside it", () => {
    const alone = parseJson('{"a":10.0,"b":1E3,"c":-0}') as object;
    expect(parseJson('{"a":10.0,"b":1E3,"c":-0,"d":12345678901234567890}')).toMatchObject(alone);
  });

  test.each(["{", "[12345678901234567890.]", "[012345678901234567890]", "[1.2.3.4.5.6.7.8.9]", "[1e400e1]"])(
    "throws on what is no JSON: %s",
    (text) => {
      expect(() => parseJson(text)).toThrow(SyntaxError);
    },
  );

  test("any JSON comes to what a reviver makes of it, number by number", () => {
    const digits = fc.stringMatching(/^-?[1-9]\d{0,22}(\.\d{1,20})?([eE][+-]?\d{1,3})?$/);
    const text = fc
      .oneof(fc.string(), fc.stringMatching(/^[":,[ \\]{0,3}\d{17}$/))
      .map((one) => JSON.stringify(one));
    const { tree } = fc.letrec<{ tree: string }>((tie) => ({
      tree: fc.oneof(
        digits,
        text,
        fc.array(tie("tree"), { maxLength: 5 }).map((items) => `[ ${items.join(" , ")}]`),
        fc
          .array(fc.tuple(fc.oneof(text, fc.constant('"__proto__"')), tie("tree")), { maxLength: 5 })
          .map((members) => `{${members.map(([name, value]) => `${name}: ${value}`).join(",")}}`),
      ),
    }));
    fc.assert(
      fc.property(tree, (sent) => {
        expect(JSON.stringify(parseJson(sent))).toBe(JSON.stringify(revived(sent)));
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("cleanJson", () => {
  test.each([
    ['{"__proto__":{"admin":true},"a":1}', '{"a":1}'],
    ['{"a":[{"\\u005f_proto__":1,"b":2}]}', '{"a":[{"b":2}]}'],
    ['{"constructor":{"prototype":{"x":1}}}', "{}"],
    ['{"constructor":"Ferrari"}', '{"constructor":"Ferrari"}'],
    ['{"a":"x\\u0000y","b":["\\ud800"]}', '{"a":"x\uFFFDy","b":["\uFFFD"]}'],
    ['{"a\\u0000":1,"n":12345678901234567890}', '{"n":12345678901234567890,"a\uFFFD":1}'],
  ])("%s", (text, cleaned) => {
    expect(mayNeedCleaning(text)).toBe(true);
    const value = parseJson(text);
    cleanJson(value);
    expect(JSON.stringify(value)).toBe(cleaned);
  });

  test("walks 250,000 levels", () => {
    const value = JSON.parse(`${"[".repeat(250_000)}"\\u0000"${"]".repeat(250_000)}`) as unknown;
    cleanJson(value);
    expect(isDeeperThan(value, 249_999)).toBe(true);
    expect(isDeeperThan(value, 250_000)).toBe(false);
  });
});

test("isLargerThan counts UTF-8 bytes", () => {
  expect(isLargerThan("é".repeat(5), 10)).toBe(false);
  expect(isLargerThan("é".repeat(6), 10)).toBe(true);
});
