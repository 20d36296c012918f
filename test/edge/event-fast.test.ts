import fc from "fast-check";
import { expect, test } from "vitest";
import { EVENT_SCHEMAS, EVENT_TYPES, isPlainlyValid } from "../../shared/event.ts";

const FIELDS = [
  "messageId",
  "userId",
  "anonymousId",
  "previousId",
  "groupId",
  "event",
  "name",
  "category",
  "properties",
  "traits",
  "context",
  "integrations",
];

const value = fc.oneof(
  fc.string(),
  fc.string({ minLength: 99, maxLength: 101 }),
  fc.string({ minLength: 499, maxLength: 501 }),
  fc.constantFrom(null, undefined, true, 5, "", [], {}, [1], { a: 1 }),
);
const raw = fc.dictionary(fc.constantFrom(...FIELDS), value);

test("what is plainly valid is valid", () => {
  fc.assert(
    fc.property(fc.constantFrom(...EVENT_TYPES), raw, (type, event) => {
      if (isPlainlyValid(type, event)) expect(EVENT_SCHEMAS[type].safeParse(event).success).toBe(true);
    }),
    { numRuns: 2_000 },
  );
});
