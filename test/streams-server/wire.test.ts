import type { _Record } from "@aws-sdk/client-dynamodb-streams";
import {
  DescribeStreamCommand,
  DynamoDBStreamsClient,
  GetRecordsCommand,
  GetShardIteratorCommand,
  ListStreamsCommand,
} from "@aws-sdk/client-dynamodb-streams";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openStreams } from "../../compactor/stream.ts";
import type { StreamsServer } from "./server.ts";
import { startStreamsServer } from "./server.ts";

const TABLE = "items";
const credentials = { accessKeyId: "local", secretAccessKey: "local" };
let server: StreamsServer;
let client: DynamoDBStreamsClient;
const arn = (): string => server.tape.tables.get(TABLE)?.arns.at(-1) ?? "";
const firstShard = (): string => [...server.tape.shards.keys()][0] ?? "";

beforeEach(async () => {
  Object.assign(process.env, { AWS_ACCESS_KEY_ID: "local", AWS_SECRET_ACCESS_KEY: "local" });
  server = await startStreamsServer({ seed: 7 });
  client = new DynamoDBStreamsClient({
    region: "us-east-1",
    endpoint: server.endpoint,
    credentials,
    maxAttempts: 1,
  });
});
afterEach(async () => {
  client.destroy();
  await server.stop();
});

async function iteratorOf(
  type: "TRIM_HORIZON" | "LATEST" | "AT_SEQUENCE_NUMBER" | "AFTER_SEQUENCE_NUMBER",
  sequence?: string,
  shard = firstShard(),
): Promise<string> {
  const { ShardIterator: iterator } = await client.send(
    new GetShardIteratorCommand({
      StreamArn: arn(),
      ShardId: shard,
      ShardIteratorType: type,
      ...(sequence === undefined ? {} : { SequenceNumber: sequence }),
    }),
  );
  return iterator ?? "";
}
const read = async (iterator: string, limit?: number) =>
  client.send(
    new GetRecordsCommand({ ShardIterator: iterator, ...(limit === undefined ? {} : { Limit: limit }) }),
  );
const sequences = (records: readonly _Record[] | undefined) =>
  (records ?? []).map(({ dynamodb }) => dynamodb?.SequenceNumber ?? "");

test("a stream's shards come a hundred a page", async () => {
  server.command({ do: "create", table: TABLE, shards: 230 });
  const pages: number[] = [];
  let last: string | undefined;
  do {
    const { StreamDescription: page } = await client.send(
      new DescribeStreamCommand({
        StreamArn: arn(),
        ...(last === undefined ? {} : { ExclusiveStartShardId: last }),
      }),
    );
    pages.push(page?.Shards?.length ?? 0);
    last = page?.LastEvaluatedShardId;
  } while (last !== undefined);
  expect(pages).toEqual([100, 100, 30]);
});

test("the compactor's client lists them all, and those of the stream before", async () => {
  server.command({ do: "create", table: TABLE, shards: 130 });
  await new Promise((resolve) => setTimeout(resolve, 2));
  server.command({ do: "switchOff", table: TABLE }, { do: "switchOn", table: TABLE, shards: 101 });
  const streams = openStreams({ table: TABLE, region: "us-east-1", endpoint: server.endpoint });
  const listed = await streams.describe();
  expect(listed).toHaveLength(231);
  const { Streams: arns } = await client.send(new ListStreamsCommand({ TableName: TABLE }));
  expect(arns).toHaveLength(2);
});

test("where an iterator begins", async () => {
  server.command({ do: "create", table: TABLE, shards: 1 }, { do: "write", table: TABLE, count: 5 });
  const all = sequences((await read(await iteratorOf("TRIM_HORIZON"))).Records);
  expect(all).toHaveLength(5);
  for (const sequence of all) expect(sequence).toMatch(/^\d{21,40}$/);
  expect(sequences((await read(await iteratorOf("AT_SEQUENCE_NUMBER", all[2]))).Records)).toEqual(
    all.slice(2),
  );
  expect(sequences((await read(await iteratorOf("AFTER_SEQUENCE_NUMBER", all[2]))).Records)).toEqual(
    all.slice(3),
  );
  expect((await read(await iteratorOf("LATEST"))).Records).toEqual([]);
  expect(sequences((await read(await iteratorOf("TRIM_HORIZON"), 2)).Records)).toEqual(all.slice(0, 2));
});

test("an answer holds at most a thousand records and a megabyte", async () => {
  for (const [textBytes, most] of [
    [10, 1000],
    [2_000, 450],
  ] as const) {
    server.command({ do: "backlog", table: TABLE, shards: 1, records: 2500, textBytes });
    const shard = [...server.tape.shards.keys()].at(-1) ?? "";
    let iterator: string | undefined = await iteratorOf("TRIM_HORIZON", undefined, shard);
    const sizes: number[] = [];
    while (iterator !== undefined) {
      const page = await read(iterator);
      sizes.push(page.Records?.length ?? 0);
      iterator = page.NextShardIterator;
    }
    expect(Math.max(...sizes)).toBeLessThanOrEqual(most);
    expect(Math.max(...sizes)).toBeGreaterThan(0.8 * most);
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(2500);
  }
});

test("a shard that ended ends with no next iterator, and its children name it", async () => {
  server.command({ do: "create", table: TABLE, shards: 1 }, { do: "write", table: TABLE, count: 3 });
  const parent = firstShard();
  server.command({ do: "end", table: TABLE, children: 2 });
  const page = await read(await iteratorOf("TRIM_HORIZON"));
  expect(page.Records).toHaveLength(3);
  expect(page.NextShardIterator).toBeUndefined();
  const { StreamDescription: stream } = await client.send(
    new DescribeStreamCommand({
      StreamArn: arn(),
      ShardFilter: { Type: "CHILD_SHARDS", ShardId: parent },
    }),
  );
  expect(stream?.Shards?.map(({ ParentShardId: id }) => id)).toEqual([parent, parent]);
});

describe("errors have the names that clients go by", () => {
  beforeEach(() => {
    server.command({ do: "create", table: TABLE, shards: 1 }, { do: "write", table: TABLE, count: 4 });
  });

  test("ExpiredIteratorException", async () => {
    const iterator = await iteratorOf("TRIM_HORIZON");
    server.command({ do: "expireIterators" });
    await expect(read(iterator)).rejects.toMatchObject({
      name: "ExpiredIteratorException",
      $metadata: { httpStatusCode: 400 },
    });
    expect((await read(await iteratorOf("TRIM_HORIZON"))).Records).toHaveLength(4);
  });

  test("TrimmedDataAccessException, for an iterator and for a sequence number", async () => {
    const iterator = await iteratorOf("TRIM_HORIZON");
    const [first] = sequences((await read(iterator)).Records);
    server.command({ do: "trim", table: TABLE, keep: 1 });
    await expect(read(iterator)).rejects.toMatchObject({ name: "TrimmedDataAccessException" });
    await expect(iteratorOf("AFTER_SEQUENCE_NUMBER", first)).rejects.toMatchObject({
      name: "TrimmedDataAccessException",
    });
    expect((await read(await iteratorOf("TRIM_HORIZON"))).Records).toHaveLength(1);
  });

  test.each([
    ["throttled", "ThrottlingException", 400],
    ["limited", "LimitExceededException", 400],
    ["internal", "InternalServerError", 500],
  ] as const)("%s", async (kind, name, status) => {
    const iterator = await iteratorOf("TRIM_HORIZON");
    server.command({ do: "fault", operation: "GetRecords", kind, times: 1 });
    await expect(read(iterator)).rejects.toMatchObject({ name, $metadata: { httpStatusCode: status } });
    expect((await read(iterator)).Records).toHaveLength(4);
  });

  test("ResourceNotFoundException", async () => {
    const iterator = await iteratorOf("TRIM_HORIZON");
    server.command({ do: "drop", shard: firstShard() });
    await expect(read(iterator)).rejects.toMatchObject({ name: "ResourceNotFoundException" });
  });
});

test("past its rate a call is throttled", async () => {
  server.command(
    { do: "create", table: TABLE, shards: 1 },
    { do: "limit", operation: "DescribeStream", perSecond: 3 },
  );
  const calls = Array.from({ length: 5 }, () =>
    client.send(new DescribeStreamCommand({ StreamArn: arn() })).then(
      () => "answered",
      (error: Error) => error.name,
    ),
  );
  expect((await Promise.all(calls)).toSorted()).toEqual([
    "ThrottlingException",
    "ThrottlingException",
    "answered",
    "answered",
    "answered",
  ]);
});

test("the same seed and commands give the same stream", async () => {
  const fixed = 1_790_000_000_000;
  const states = [];
  for (let run = 0; run < 2; run += 1) {
    const one = await startStreamsServer({ seed: 3, nowMs: () => fixed });
    one.command(
      { do: "lag", maxMs: 100 },
      { do: "create", table: TABLE, shards: 4 },
      { do: "write", table: TABLE, count: 40 },
      { do: "end", table: TABLE, children: 2 },
      { do: "write", table: TABLE, count: 40 },
    );
    states.push(one.state());
    await one.stop();
  }
  expect(states[0]).toEqual(states[1]);
});

test("commands come over HTTP too", async () => {
  const answer = await fetch(`${server.endpoint}/control`, {
    method: "POST",
    body: JSON.stringify([
      { do: "create", table: TABLE, shards: 2 },
      { do: "write", table: TABLE, count: 10 },
    ]),
  });
  expect(answer.status).toBe(200);
  const state: unknown = await (await fetch(`${server.endpoint}/control`)).json();
  expect(state).toMatchObject({ shards: [{ parent: null }, { parent: null }] });
  const truth: unknown = await (await fetch(`${server.endpoint}/control/truth/${TABLE}`)).json();
  expect(truth).toContainEqual([expect.any(String), expect.any(Array)]);
  const refused = await fetch(`${server.endpoint}/control`, { method: "POST", body: '{"do":"dance"}' });
  expect(refused.status).toBe(400);
});
