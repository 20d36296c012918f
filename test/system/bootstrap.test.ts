/** A table that held items before its stream was read: another program's, with a sort key, changing meanwhile. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import {
  CreateTableCommand,
  DynamoDBClient,
  PutItemCommand,
  UpdateTableCommand,
} from "@aws-sdk/client-dynamodb";
import { afterAll, beforeAll, expect, test } from "vitest";
import { targetEnvironment } from "../../cli/target.ts";
import type { RunningSystem } from "./system.ts";
import { makeDataDir, pause, rowsOf, startSystem } from "./system.ts";

const CLI = join(import.meta.dirname, "../../cli/main.ts");
const TABLE = "orders";
const ITEMS = 3000;
const CHANGED = 200;

const data = makeDataDir();
let system: RunningSystem;
let environment: Record<string, string | undefined>;
let client: DynamoDBClient;

beforeAll(async () => {
  system = await startSystem(data.dir);
  environment = {
    ...targetEnvironment({ PATH: process.env["PATH"] }, data.dir),
    DYNAMODB_TABLE: TABLE,
    VARVE_CHANGELOG: `s3://changelog/varve/local/${TABLE}`,
    VARVE_FLUSH: "200ms",
    VARVE_THREADS: "1",
  };
  client = new DynamoDBClient({
    region: system.running.dynamodbCredentials.region,
    endpoint: system.running.dynamodb,
    credentials: system.running.dynamodbCredentials,
  });
});
afterAll(async () => {
  await system.stop();
  data.remove();
});

type Ended = { readonly code: number | null; readonly stdout: string; readonly stderr: string };

function varve(args: readonly string[], killAfterMs?: number): Promise<Ended> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [CLI, ...args], { env: environment });
    const [stdout, stderr]: [string[], string[]] = [[], []];
    child.stdout.on("data", (chunk: Buffer) => stdout.push(chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => stderr.push(chunk.toString()));
    if (killAfterMs !== undefined) setTimeout(() => child.kill("SIGKILL"), killAfterMs);
    child.on("exit", (code) => resolve({ code, stdout: stdout.join(""), stderr: stderr.join("") }));
  });
}

const put = (order: number, state: string) =>
  client.send(
    new PutItemCommand({
      TableName: TABLE,
      Item: { shop: { S: `shop-${order % 7}` }, order: { N: String(order) }, state: { S: state } },
    }),
  );

test("every item is in the changelog, those that changed meanwhile once by the stream, kills and all", async () => {
  await client.send(
    new CreateTableCommand({
      TableName: TABLE,
      KeySchema: [
        { AttributeName: "shop", KeyType: "HASH" },
        { AttributeName: "order", KeyType: "RANGE" },
      ],
      AttributeDefinitions: [
        { AttributeName: "shop", AttributeType: "S" },
        { AttributeName: "order", AttributeType: "N" },
      ],
      BillingMode: "PAY_PER_REQUEST",
    }),
  );
  for (let order = 0; order < ITEMS; order += 50) {
    await Promise.all(Array.from({ length: 50 }, (_, index) => put(order + index, "old")));
  }
  await client.send(
    new UpdateTableCommand({
      TableName: TABLE,
      StreamSpecification: { StreamEnabled: true, StreamViewType: "NEW_IMAGE" },
    }),
  );
  const early = await varve(["bootstrap"]);
  expect(early.code).toBe(1);
  expect(early.stderr).toContain("varve compactor");

  const compactor = spawn(process.execPath, [CLI, "compactor"], { env: environment, stdio: "ignore" });
  const exited = new Promise((resolve) => {
    compactor.on("exit", resolve);
  });
  try {
    await pause(2500);
    const changing = (async () => {
      for (let order = 0; order < CHANGED; order += 1) await put(order, "new");
    })();
    for (const ms of [400, 600, 900]) await varve(["bootstrap", "--segments", "3"], ms);
    const ended = await varve(["bootstrap", "--segments", "3", "--json"]);
    await changing;
    expect(ended.stderr).not.toContain("varve:");
    expect(ended.code).toBe(0);
    expect(JSON.parse(ended.stdout)).toMatchObject({ items: ITEMS });

    const verified = await varve(["verify"]);
    expect(verified.stdout).toContain("nothing lost, nothing twice");
    const rows = await rowsOf(environment);
    const latest = new Map(rows.map((row) => [row.key, row]));
    expect(latest.size).toBe(ITEMS);
    const states = Map.groupBy(
      latest.values(),
      (row) => (JSON.parse(row.image ?? "{}") as { state: string }).state,
    );
    expect([states.get("new")?.length, states.get("old")?.length]).toEqual([CHANGED, ITEMS - CHANGED]);
    const scanned = rows.filter((row) => row.shard.startsWith("bootstrap"));
    const streamed = new Set(rows.filter((row) => !row.shard.startsWith("bootstrap")).map((row) => row.key));
    expect(scanned.filter((row) => streamed.has(row.key))).toEqual([]);
    const again = await varve(["bootstrap"]);
    expect(again.stderr).toContain("bootstrapped already");
  } finally {
    compactor.kill("SIGTERM");
    await exited;
  }
}, 240_000);
