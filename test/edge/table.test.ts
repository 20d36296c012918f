import { describe, expect, test } from "vitest";
import type { Clock } from "../../shared/clock.ts";
import type { DynamoAnswer, DynamoClient, DynamoSession } from "../../shared/aws/dynamodb.ts";
import { batchesOf } from "../../edge/batch.ts";
import type { Batch } from "../../edge/batch.ts";
import { NO_WORK, TABLE_LIMITS, writeTable } from "../../edge/table.ts";

type Call = { readonly target: string; readonly body: string };

/** Time passes only in sleep. */
function testClock(): Clock & { readonly sleptMs: () => number } {
  let nowMs = 0;
  return {
    nowMs: () => nowMs,
    sleep: async (ms) => {
      nowMs += ms;
    },
    uuid: () => "id",
    random: () => 0.5,
    sleptMs: () => nowMs,
  };
}

function scripted(
  answer: (call: Call, nth: number) => DynamoAnswer,
): DynamoClient & { readonly calls: Call[] } {
  const calls: Call[] = [];
  const call = async (target: string, body: string): Promise<DynamoAnswer> => {
    calls.push({ target, body });
    return answer({ target, body }, calls.length);
  };
  const inSession: DynamoSession["call"] = (target, body) => call(target, new TextDecoder().decode(body));
  return { calls, call, open: () => ({ call: inSession, close: () => undefined }) };
}

const ok = (text = '{"UnprocessedItems":{}}'): DynamoAnswer => ({ kind: "ok", text });
const throttled: DynamoAnswer = { kind: "throttled", errorType: "ThrottlingException", message: "slow down" };
const invalid = { kind: "refused", errorType: "ValidationException", message: "too big" } as const;
const unreadable = { kind: "refused", errorType: "SerializationException", message: "" } as const;
const invalidCredentials: DynamoAnswer = {
  kind: "refused",
  errorType: "UnrecognizedClientException",
  message: "who are you",
};
const old: DynamoAnswer = { kind: "refused", errorType: "ConditionalCheckFailedException", message: "older" };

const batches = (count: number): readonly Batch[] =>
  batchesOf(
    "varve",
    Array.from({ length: count }, (_, index) => ({
      bytes: new TextEncoder().encode(`{"PutRequest":{"n":${index}}}`),
      indexes: [index],
    })),
  );

const write = (dynamo: DynamoClient, work: Partial<Parameters<typeof writeTable>[1]>, clock = testClock()) =>
  writeTable(
    { dynamo, name: "varve", clock, limits: TABLE_LIMITS, budget: { left: 1000 } },
    { ...NO_WORK, ...work },
  );

const DONE = { unwritable: [], left: NO_WORK, failure: null };

describe("events", () => {
  test("go 25 a call", async () => {
    const dynamo = scripted(() => ok());
    expect(await write(dynamo, { batches: batches(60) })).toEqual(DONE);
    expect(dynamo.calls).toHaveLength(3);
  });

  test("that are left unprocessed are sent again, alone", async () => {
    const left = '{"UnprocessedItems":{"varve":[{"PutRequest":{"n":1}}]}}';
    const dynamo = scripted((_call, nth) => (nth === 1 ? ok(left) : ok()));
    expect(await write(dynamo, { batches: batches(3) })).toEqual(DONE);
    expect(dynamo.calls[1]?.body).toBe('{"RequestItems":{"varve":[{"PutRequest":{"n":1}}]}}');
  });

  test("wait longer at each throttling, within a bound", async () => {
    const clock = testClock();
    const dynamo = scripted(() => throttled);
    expect(await write(dynamo, { batches: batches(1) }, clock)).toMatchObject({
      failure: { cause: "throttled" },
      left: { batches: batches(1) },
    });
    expect(dynamo.calls).toHaveLength(TABLE_LIMITS.attemptsMax);
    expect(clock.sleptMs()).toBeLessThan(TABLE_LIMITS.totalMs);
  });

  test("no further call starts once the table is down", async () => {
    const dynamo = scripted(() => ({ kind: "unavailable", message: "refused" }));
    await write(dynamo, { batches: batches(2500) });
    expect(dynamo.calls.length).toBeLessThanOrEqual(TABLE_LIMITS.callsAtOnce * TABLE_LIMITS.attemptsMax);
  });

  test("what one call wrote is not left when another fails", async () => {
    const dynamo = scripted((call) => (call.body.includes('"n":30}') ? invalidCredentials : ok()));
    const { left } = await write(dynamo, { batches: batches(50) });
    expect(left.batches.flatMap(({ indexes }) => indexes)).toEqual(
      Array.from({ length: 25 }, (_, n) => n + 25),
    );
  });

  test("no more calls are made than the request has", async () => {
    const dynamo = scripted(() => ok());
    const { left, failure } = await writeTable(
      { dynamo, name: "varve", clock: testClock(), limits: TABLE_LIMITS, budget: { left: 2 } },
      { batches: batches(75), updates: [] },
    );
    expect(failure?.reason).toContain("used up");
    expect([dynamo.calls.length, left.batches.length]).toEqual([2, 1]);
  });

  test.each([invalid, unreadable])(
    "one that the table refuses for good ($errorType) is named, and the rest is written",
    async (refusal) => {
      const dynamo = scripted((call) => (call.body.includes('"n":7}') ? refusal : ok()));
      expect(await write(dynamo, { batches: batches(10) })).toEqual({
        ...DONE,
        unwritable: [{ index: 7, what: "item", message: refusal.message }],
      });
    },
  );

  test("a missing table is not the events' fault", async () => {
    const missing: DynamoAnswer = {
      kind: "refused",
      errorType: "ResourceNotFoundException",
      message: "no table",
    };
    const dynamo = scripted(() => missing);
    expect(await write(dynamo, { batches: batches(2) })).toMatchObject({ failure: { cause: "down" } });
    expect(dynamo.calls).toHaveLength(1);
  });
});

describe("a 200 that is not DynamoDB's", () => {
  const updates = [{ set: "SET", fill: "FILL", indexes: [0] }];
  test.each(["", "<html>502</html>", '{"UnprocessedItems":{"varve":[{"PutReq', "null", "[]", '"ok"'])(
    "is no sign of anything: %j",
    async (text) => {
      const failure = { reason: "the answer is not DynamoDB's", cause: "down" };
      const dynamo = scripted(() => ok(text));
      expect(await write(dynamo, { batches: batches(1) })).toMatchObject({ failure });
      expect(await write(dynamo, { updates })).toMatchObject({ failure, left: { updates } });
    },
  );

  test.each(["{}", '{"UnprocessedItems":null}', '{"status":"ok"}'])(
    "does not say what of a batch was written: %j",
    async (text) => {
      const { left } = await write(
        scripted(() => ok(text)),
        { batches: batches(1) },
      );
      expect(left.batches).toHaveLength(1);
    },
  );
});

describe("objects", () => {
  const updates = [{ set: "SET", fill: "FILL", indexes: [4, 5] }];
  test("that are older fill in", async () => {
    const dynamo = scripted((call) => (call.body === "SET" ? old : ok("{}")));
    expect(await write(dynamo, { updates })).toEqual(DONE);
    expect(dynamo.calls.map((call) => call.body)).toEqual(["SET", "FILL"]);
  });

  test("that the table refuses for good are named by all their places", async () => {
    const outcome = await write(
      scripted(() => invalid),
      { updates },
    );
    expect(outcome).toMatchObject({ unwritable: [{ index: 4 }, { index: 5 }] });
  });
});
