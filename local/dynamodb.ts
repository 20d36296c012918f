import { createRequire } from "node:module";
import { DatabaseSync } from "node:sqlite";
import {
  CreateTableCommand,
  DescribeTableCommand,
  DynamoDBClient,
  ResourceInUseException,
  ResourceNotFoundException,
  UpdateTableCommand,
  UpdateTimeToLiveCommand,
} from "@aws-sdk/client-dynamodb";
import { VarveError, describeError } from "../shared/errors.ts";

const fromHere = createRequire(import.meta.url);

export function dynoxideBinary(resolvePath: (name: string) => string = fromHere.resolve): string {
  try {
    return resolvePath("@dynoxide/linux-x64/dynoxide");
  } catch (error) {
    throw new VarveError(
      "dynamodb_missing",
      `There is no local DynamoDB for this system (${process.platform}-${process.arch}): the package @dynoxide/linux-x64 is not installed.`,
      "On Linux x64 run `npm install`; elsewhere start any DynamoDB with Streams and set DYNAMODB_ENDPOINT to its address.",
      error,
    );
  }
}

/** Whether anything speaks HTTP at this address. */
export async function answers(endpoint: string): Promise<boolean> {
  try {
    const response = await fetch(endpoint, { method: "POST", body: "{}" });
    await response.arrayBuffer();
    return true;
  } catch {
    return false;
  }
}

/**
 * dynoxide looks up the last sequence number with each write; without these two indexes that
 * reads every stream record it holds. It takes them while it runs, and keeps them.
 */
export function makeStreamIndexes(dbPath: string): void {
  const db = new DatabaseSync(dbPath, { timeout: 10_000 });
  try {
    db.exec(`
      CREATE INDEX IF NOT EXISTS x1 ON _stream_records(table_name, CAST(sequence_number AS INTEGER));
      CREATE INDEX IF NOT EXISTS x2 ON _stream_records(table_name, shard_id, CAST(sequence_number AS INTEGER));
    `);
  } finally {
    db.close();
  }
}

/** Makes the items' table if it is absent, and waits until it and its stream are there. */
export async function ensureTable(client: DynamoDBClient, table: string, endpoint: string): Promise<void> {
  try {
    await createIfAbsent(client, table);
    await waitUntilActive(client, table);
  } catch (error) {
    if (error instanceof VarveError) throw error;
    throw new VarveError(
      "table_failed",
      `The table '${table}' at ${endpoint} can be neither read nor made: ${describeError(error)}.`,
      "See that DynamoDB answers there, and that the credentials may use it.",
      error,
    );
  }
  // Not every DynamoDB has it; then items stay, and nothing else changes.
  await client
    .send(
      new UpdateTimeToLiveCommand({
        TableName: table,
        TimeToLiveSpecification: { Enabled: true, AttributeName: "expires_at" },
      }),
    )
    .catch(() => {});
}

async function createIfAbsent(client: DynamoDBClient, table: string): Promise<void> {
  try {
    const { Table } = await client.send(new DescribeTableCommand({ TableName: table }));
    if (Table?.StreamSpecification?.StreamEnabled !== true) {
      await client.send(new UpdateTableCommand({ TableName: table, StreamSpecification: STREAM }));
    }
  } catch (error) {
    if (!(error instanceof ResourceNotFoundException)) throw error;
    try {
      await client.send(
        new CreateTableCommand({
          TableName: table,
          KeySchema: [{ AttributeName: "pk", KeyType: "HASH" }],
          AttributeDefinitions: [{ AttributeName: "pk", AttributeType: "S" }],
          BillingMode: "PAY_PER_REQUEST",
          StreamSpecification: STREAM,
        }),
      );
    } catch (made) {
      if (!(made instanceof ResourceInUseException)) throw made;
    }
  }
}

const STREAM = { StreamEnabled: true, StreamViewType: "NEW_IMAGE" } as const;
const ACTIVE_MS_MAX = 60_000;

async function waitUntilActive(client: DynamoDBClient, table: string): Promise<void> {
  const untilMs = Date.now() + ACTIVE_MS_MAX;
  while (Date.now() < untilMs) {
    const { Table } = await client.send(new DescribeTableCommand({ TableName: table }));
    if (Table?.TableStatus === "ACTIVE" && Table.LatestStreamArn !== undefined) return;
    await new Promise((resolve) => {
      setTimeout(resolve, 200);
    });
  }
  throw new VarveError(
    "table_not_active",
    `The table '${table}' was not ACTIVE within ${ACTIVE_MS_MAX / 1000} s.`,
    "Wait for it and start again.",
  );
}
