import { describe, expect, test } from "vitest";
import { batchesOf } from "../../edge/batch.ts";
import { BREAKER_LIMITS, createBreaker, ONLY_REGION_LIMITS } from "../../edge/breaker.ts";
import { REGION } from "../../edge/regions.ts";
import { storeWork } from "../../edge/store.ts";
import type { Site } from "../../edge/store.ts";
import type { TableWork } from "../../edge/table.ts";
import type { Clock } from "../../shared/clock.ts";
import type { DynamoAnswer, DynamoSession } from "../../shared/aws/dynamodb.ts";

let nowMs = 0;
const clock: Clock = {
  nowMs: () => nowMs,
  sleep: async (ms) => {
    nowMs += ms;
  },
  uuid: () => "id",
  random: () => 0.5,
};

type TestSite = Site & {
  readonly calls: string[];
  up: boolean;
  /** Its answer while it is up. */
  answer: (body: string) => DynamoAnswer;
};

const OK: DynamoAnswer = { kind: "ok", text: '{"UnprocessedItems":{}}' };
const THROTTLED: DynamoAnswer = { kind: "throttled", errorType: "ThrottlingException", message: "slow down" };
const OLDER: DynamoAnswer = {
  kind: "refused",
  errorType: "ConditionalCheckFailedException",
  message: "older",
};

/** A region that takes everything while it is up. */
function site(name: string, up = true, limits = BREAKER_LIMITS): TestSite {
  const calls: string[] = [];
  const call = async (_target: string, body: string): Promise<DynamoAnswer> => {
    calls.push(body);
    return self.up ? self.answer(body) : { kind: "unavailable", message: "down" };
  };
  const inSession: DynamoSession["call"] = (target, body) => call(target, new TextDecoder().decode(body));
  const self: TestSite = {
    region: REGION.parse({ name, endpoint: "https://example.com", table: `table-${name}` }),
    breaker: createBreaker(limits),
    calls,
    up,
    answer: () => OK,
    dynamo: { call, open: () => ({ call: inSession, close: () => undefined }) },
  };
  return self;
}

function queue() {
  const messages: string[] = [];
  let sends = 0;
  const sendBatch = async (batch: Iterable<{ body: string }>) => {
    sends += 1;
    messages.push(...[...batch].map(({ body }) => body));
  };
  return { messages, sends: () => sends, sendBatch };
}

const work = (puts: number, updates: number, setBytes = 0): TableWork => ({
  batches: batchesOf(
    "varve",
    Array.from({ length: puts }, (_, index) => ({
      bytes: new TextEncoder().encode(`{"put":${index}}`),
      indexes: [index],
    })),
  ),
  updates: Array.from({ length: updates }, (_, index) => ({
    set: `set${index}`.padEnd(setBytes),
    fill: "".padEnd(setBytes),
    indexes: [index],
  })),
});
const DURABLE = { kind: "durable", unwritable: [] };

describe("events", () => {
  test("go to the next region when the nearest is down", async () => {
    const [near, far] = [site("near", false), site("far")];
    expect(await storeWork({ events: [near, far], objects: far }, work(30, 1), null, clock)).toEqual(DURABLE);
    expect(far.calls.filter((body) => body.includes("table-far"))).toHaveLength(2);
  });

  test("of a pinned source wait in the queue", async () => {
    const home = site("home", false);
    const spilled = queue();
    expect(await storeWork({ events: [home], objects: home }, work(3, 0), spilled, clock)).toEqual(DURABLE);
    expect(spilled.messages.join("")).toContain('"region":"home"');
  });

  test("without a queue they are not durable, and nobody is told so", async () => {
    const home = site("home", false);
    expect(await storeWork({ events: [home], objects: home }, work(3, 0), null, clock)).toMatchObject({
      kind: "unavailable",
      reason: "down",
    });
  });

  test("a dead region is not called again and again", async () => {
    const [near, far] = [site("near", false), site("far")];
    const route = { events: [near, far], objects: far };
    for (let request = 0; request < 20; request++) await storeWork(route, work(1, 0), null, clock);
    const calledMs = nowMs;
    const calls = near.calls.length;
    await storeWork(route, work(1, 0), null, clock);
    expect([near.calls.length, nowMs]).toEqual([calls, calledMs]);
    near.up = true;
    nowMs += BREAKER_LIMITS.openMaxMs;
    await storeWork(route, work(1, 0), null, clock);
    const farCalls = far.calls.length;
    await storeWork(route, work(1, 0), null, clock);
    expect(far.calls.length).toBe(farCalls);
  });
});

describe("a region that answers is not out", () => {
  test("because requests use up their own calls", async () => {
    const home = site("home");
    home.answer = (body) => (body.startsWith("set") ? OLDER : OK);
    const spilled = queue();
    const route = { events: [home], objects: home };
    for (let request = 0; request < 5; request++) {
      expect(await storeWork(route, work(0, 700), spilled, clock)).toEqual(DURABLE);
    }
    expect(spilled.messages).not.toEqual([]);
    const before = spilled.messages.length;
    await storeWork(route, work(1, 0), spilled, clock);
    expect(spilled.messages).toHaveLength(before);
  });

  test("because it throttles the call that was to find out", async () => {
    const home = site("home", false, ONLY_REGION_LIMITS);
    const route = { events: [home], objects: home };
    for (let request = 0; request < 3; request++) await storeWork(route, work(1, 0), null, clock);
    home.up = true;
    home.answer = () => THROTTLED;
    nowMs += ONLY_REGION_LIMITS.openMaxMs;
    expect(await storeWork(route, work(1, 0), null, clock)).toMatchObject({ throttled: true });
    home.answer = () => OK;
    expect(await storeWork(route, work(1, 0), null, clock)).toEqual(DURABLE);
  });
});

test("what nobody can be told of, since no client waits for it, is not durable when the table refuses it", async () => {
  const home = site("home");
  home.answer = () => ({ kind: "refused", errorType: "ValidationException", message: "no such key" });
  const puts = [{ bytes: new TextEncoder().encode('{"put":1}'), indexes: [null] }];
  const kept = { batches: batchesOf("varve", puts), updates: [] };
  expect(await storeWork({ events: [home], objects: home }, kept, queue(), clock)).toMatchObject({
    kind: "unavailable",
    reason: "no such key",
  });
});

describe("objects", () => {
  test("wait in the queue for their home, and never go elsewhere", async () => {
    const [near, home] = [site("near"), site("home", false)];
    const spilled = queue();
    expect(await storeWork({ events: [near, home], objects: home }, work(1, 2), spilled, clock)).toEqual(
      DURABLE,
    );
    expect(near.calls).toHaveLength(1);
    expect(spilled.messages).toHaveLength(1);
    expect(spilled.messages[0]).toContain("set1");
    expect(spilled.messages[0]).toContain(`"puts":[]`);
  });

  test("past a request's subrequests go to the queue at once", async () => {
    const home = site("home");
    const spilled = queue();
    const route = { events: [home], objects: home };
    expect(await storeWork(route, work(2500, 2500, 200), spilled, clock)).toEqual(DURABLE);
    // The platform's 1,000, less those for the source's record.
    expect(home.calls.length + spilled.sends()).toBeLessThan(990);
    const [spilledSets] = [spilled.messages.join("").match(/"set":/g)?.length ?? 0];
    expect(home.calls.filter((body) => body.startsWith("set")).length + spilledSets).toBe(2500);
  });

  test("past them are those that a message of the queue can hold", async () => {
    const home = site("home");
    const large = { set: "large".padEnd(70_000), fill: "".padEnd(70_000), indexes: [1999] };
    const { updates } = work(0, 1_999);
    const route = { events: [home], objects: home };
    const all = { batches: [], updates: [...updates, large] };
    expect(await storeWork(route, all, queue(), clock)).toEqual(DURABLE);
    expect(home.calls.some((body) => body.startsWith("large"))).toBe(true);
  });

  test("past them and without a queue, the request is refused; what is not past them fits, however old", async () => {
    const home = site("home");
    const route = { events: [home], objects: home };
    const refused = await storeWork(route, work(100, 2500), null, clock);
    if (refused.kind !== "too_many_objects") throw new Error(refused.kind);
    expect(home.calls).toEqual([]);
    home.answer = (body) => (body.startsWith("set") ? OLDER : OK);
    expect(await storeWork(route, work(100, refused.objectsMax), null, clock)).toEqual(DURABLE);
  });
});
