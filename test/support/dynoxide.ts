/** A DynamoDB of one's own for a test: dynoxide, in memory, on a free port, with Varve's table. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { freePort } from "../../local/ports.ts";
import { createDynamo } from "../../shared/aws/dynamodb.ts";
import type { DynamoClient } from "../../shared/aws/dynamodb.ts";

const BINARY = join(import.meta.dirname, "../../node_modules/@dynoxide/linux-x64/dynoxide");

export type TestDynamo = {
  readonly endpoint: string;
  readonly table: string;
  readonly stop: () => Promise<void>;
};

export const testDynamoClient = (endpoint: string): DynamoClient =>
  createDynamo({
    endpoint,
    region: "us-east-1",
    credentials: () => ({ accessKeyId: "local", secretAccessKey: "local" }),
    timeoutMs: 5_000,
  });

async function createTable(dynamo: DynamoClient, table: string): Promise<void> {
  const body = JSON.stringify({
    TableName: table,
    KeySchema: [{ AttributeName: "pk", KeyType: "HASH" }],
    AttributeDefinitions: [{ AttributeName: "pk", AttributeType: "S" }],
    BillingMode: "PAY_PER_REQUEST",
    StreamSpecification: { StreamEnabled: true, StreamViewType: "NEW_IMAGE" },
  });
  for (let attempt = 0; attempt < 100; attempt++) {
    const answer = await dynamo.call("DynamoDB_20120810.CreateTable", body);
    if (answer.kind === "ok") return;
    if (answer.kind === "refused") throw new Error(`CreateTable: ${answer.message}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("dynoxide did not answer within 5 s");
}

export async function startDynoxide(table = "varve"): Promise<TestDynamo> {
  if (!existsSync(BINARY)) {
    throw new Error(
      "dynoxide is missing: `npm install --include=optional` on linux-x64 brings @dynoxide/linux-x64",
    );
  }
  const port = await freePort();
  const child = spawn(BINARY, ["serve", "--port", String(port)], { stdio: "ignore" });
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const endpoint = `http://127.0.0.1:${port}`;
  const stop = async (): Promise<void> => {
    child.kill("SIGKILL");
    await exited;
  };
  try {
    await createTable(testDynamoClient(endpoint), table);
  } catch (error) {
    await stop();
    throw error;
  }
  return { endpoint, table, stop };
}
