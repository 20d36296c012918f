/** What changed since T without a changelog: a query of a secondary index on the modification time, and a scan. */
import { spawn } from "node:child_process";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { freePort } from "../local/ports.ts";
import { dynoxideBinary } from "../local/dynamodb.ts";
import type { DynamoClient } from "../shared/aws/dynamodb.ts";
import { createDynamo } from "../shared/aws/dynamodb.ts";
import type { Cost } from "./since-objects.ts";
import { CHANGED, CHANGED_AT, COMMITS, T0, WINDOW_MS, best, changedImage, idOf } from "./since-objects.ts";

const TABLE = "objects";
/** A GSI query takes its pages and items one after the other, as a client must. */
const QUERY_ROUNDS = 3;

type TableCosts = { readonly query: Cost; readonly scan: Cost };

/** The table of `size` objects in the embedded DynamoDB, asked by its index and scanned. */
export async function measureTable(
  dir: string,
  size: number,
  progress: (what: string) => void,
): Promise<TableCosts> {
  const path = join(dir, `table-${size}.db`);
  progress(`a table of ${size} objects with a GSI on the modification time`);
  const port = await freePort();
  const child = spawn(dynoxideBinary(), ["serve", "--port", String(port), "--db-path", path], {
    stdio: "ignore",
  });
  const exited = new Promise((resolve) => {
    child.once("exit", resolve);
  });
  const dynamo = createDynamo({
    endpoint: `http://127.0.0.1:${port}`,
    region: "us-east-1",
    credentials: () => ({ accessKeyId: "bench", secretAccessKey: "bench" }),
    timeoutMs: 120_000,
  });
  try {
    await createTable(dynamo);
    const step = size / CHANGED;
    const changed = Array.from({ length: CHANGED }, (_, index) =>
      itemOf(index * step, CHANGED_AT + 1 + index, changedImage(index)),
    );
    // One item through the API first: it is the pattern for the rest.
    await putAll(dynamo, [itemOf(0, T0 + 1, "{}")]);
    bulkLoad(path, size);
    await putAll(dynamo, changed);
    progress(`GSI query, ${size} objects`);
    const queries: Cost[] = [];
    for (let round = 0; round < QUERY_ROUNDS; round += 1) queries.push(await queryOnce(dynamo));
    progress(`table scan, ${size} objects`);
    const scan = await scanOnce(dynamo);
    return { query: best(queries), scan };
  } finally {
    child.kill("SIGKILL");
    await exited;
    await rm(path, { force: true });
  }
}

type Text = { readonly S: string };
type Item = Readonly<Record<string, Text | { readonly N: string }>>;
type StoredItem = {
  readonly pk: Text;
  readonly kind: Text;
  readonly changed_day: Text;
  readonly changed_ms: { readonly N: string };
  readonly image: Text;
};

const itemOf = (index: number, changedMs: number, image: string): StoredItem => ({
  pk: { S: `o#shop#users#${idOf(index)}` },
  kind: { S: "object" },
  changed_day: { S: new Date(changedMs).toISOString().slice(0, 10) },
  changed_ms: { N: String(changedMs) },
  image: { S: image },
});

async function call(
  dynamo: DynamoClient,
  action: string,
  body: unknown,
): Promise<{ json: unknown; bytes: number }> {
  const answer = await dynamo.call(`DynamoDB_20120810.${action}`, JSON.stringify(body));
  if (answer.kind !== "ok") throw new Error(`${action}: ${answer.message}`);
  return { json: JSON.parse(answer.text), bytes: Buffer.byteLength(answer.text) };
}

async function createTable(dynamo: DynamoClient): Promise<void> {
  const key = (name: string, type: string) => ({ AttributeName: name, AttributeType: type });
  const body = {
    TableName: TABLE,
    KeySchema: [{ AttributeName: "pk", KeyType: "HASH" }],
    AttributeDefinitions: [key("pk", "S"), key("changed_day", "S"), key("changed_ms", "N")],
    BillingMode: "PAY_PER_REQUEST",
    GlobalSecondaryIndexes: [
      {
        IndexName: "by_time",
        KeySchema: [
          { AttributeName: "changed_day", KeyType: "HASH" },
          { AttributeName: "changed_ms", KeyType: "RANGE" },
        ],
        Projection: { ProjectionType: "KEYS_ONLY" },
      },
    ],
  };
  for (let attempt = 0; ; attempt += 1) {
    try {
      await call(dynamo, "CreateTable", body);
      return;
    } catch (error) {
      if (attempt >= 100) throw error;
      await new Promise((resolve) => {
        setTimeout(resolve, 50);
      });
    }
  }
}

async function putAll(dynamo: DynamoClient, items: readonly Item[]): Promise<void> {
  for (let start = 0; start < items.length; start += 25) {
    const requests = items.slice(start, start + 25).map((Item) => ({ PutRequest: { Item } }));
    await call(dynamo, "BatchWriteItem", { RequestItems: { [TABLE]: requests } });
  }
}

/** The rest of the items, in the form that the embedded DynamoDB gave the first. */
function bulkLoad(path: string, size: number): void {
  const db = new DatabaseSync(path, { timeout: 30_000 });
  const index = `"${TABLE}::gsi::by_time"`;
  try {
    const [pattern] = db.prepare(`SELECT gsi_sk FROM ${index}`).all() as { gsi_sk: string }[];
    const sortKey = pattern?.gsi_sk ?? "";
    const item = db.prepare(
      `INSERT OR REPLACE INTO "${TABLE}" (pk, sk, item_json, item_size, hash_prefix) VALUES (?, '', ?, ?, ?)`,
    );
    const entry = db.prepare(
      `INSERT OR REPLACE INTO ${index} (gsi_pk, gsi_sk, table_pk, table_sk, item_json) VALUES (?, ?, ?, '', ?)`,
    );
    db.exec("BEGIN");
    for (let number = 1; number < size; number += 1) {
      const changedMs = T0 + 1 + (number % (COMMITS * WINDOW_MS - 1));
      const { pk, changed_day: day, changed_ms: ms, ...rest } = itemOf(number, changedMs, bulkImage(number));
      const hash = (Math.imul(number, 2_654_435_761) >>> 8).toString(16).padStart(6, "0");
      const keys = { pk, changed_day: day, changed_ms: ms };
      item.run(`S:${pk.S}`, JSON.stringify({ ...keys, ...rest }), ITEM_BYTES - OVERHEAD_BYTES, hash);
      const time = sortKey.replace(String(T0 + 1), ms.N);
      entry.run(`S:${day.S}`, time, `S:${pk.S}`, JSON.stringify(keys));
    }
    db.exec("COMMIT");
  } finally {
    db.close();
  }
}

const HEX = "0123456789abcdef0123456789abcdef";
const bulkImage = (index: number): string =>
  `{"name":"${HEX}","email":"user${index}@example.com","plan":"pro","company":"company ${index % 5000}","city":"Zürich","visits":${index % 977},"token":"${HEX}"}`;

/**
 * What DynamoDB stores and charges for: names and values, and 100 bytes an item and an index entry.
 * https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
 */
const OVERHEAD_BYTES = 100;
const KEYS_BYTES =
  "pk".length + "o#shop#users#u00000000".length + "changed_day2026-11-20".length + "changed_ms".length + 8;
export const ENTRY_BYTES = KEYS_BYTES + OVERHEAD_BYTES;
export const ITEM_BYTES = ENTRY_BYTES + "kindobject".length + "image".length + bulkImage(100_000).length;

type Page = {
  readonly Items?: readonly Item[];
  readonly Count?: number;
  readonly LastEvaluatedKey?: Item;
  readonly Responses?: Readonly<Record<string, readonly Item[]>>;
};

const SINCE = {
  ExpressionAttributeNames: { "#ms": "changed_ms" },
  ExpressionAttributeValues: { ":t": { N: String(CHANGED_AT) } },
};

/** The keys by the index, and the items by their keys. */
async function queryOnce(dynamo: DynamoClient): Promise<Cost> {
  const began = performance.now();
  const cost = { requests: 0, bytes: 0 };
  const ask = async (action: string, body: unknown): Promise<Page> => {
    const { json, bytes } = await call(dynamo, action, body);
    cost.requests += 1;
    cost.bytes += bytes;
    return json as Page;
  };
  const keys: Item[] = [];
  let from: Item | undefined;
  do {
    const page = await ask("Query", {
      TableName: TABLE,
      IndexName: "by_time",
      KeyConditionExpression: "changed_day = :day AND #ms > :t",
      ExpressionAttributeNames: SINCE.ExpressionAttributeNames,
      ExpressionAttributeValues: { ...SINCE.ExpressionAttributeValues, ":day": { S: "2026-11-20" } },
      ...(from === undefined ? {} : { ExclusiveStartKey: from }),
    });
    for (const { pk } of page.Items ?? []) if (pk !== undefined) keys.push({ pk });
    from = page.LastEvaluatedKey;
  } while (from !== undefined);
  let count = 0;
  for (let start = 0; start < keys.length; start += 100) {
    const page = await ask("BatchGetItem", {
      RequestItems: { [TABLE]: { Keys: keys.slice(start, start + 100) } },
    });
    count += page.Responses?.[TABLE]?.length ?? 0;
  }
  if (count !== CHANGED) throw new Error(`the query gave ${count} items, not ${CHANGED}`);
  return { ms: performance.now() - began, ...cost };
}

/** What it reads, at DynamoDB, is the whole table; what passes the filter comes back. */
async function scanOnce(dynamo: DynamoClient): Promise<Cost> {
  const began = performance.now();
  const cost = { requests: 0, bytes: 0 };
  let count = 0;
  let from: Item | undefined;
  do {
    const { json, bytes } = await call(dynamo, "Scan", {
      TableName: TABLE,
      FilterExpression: "#ms > :t",
      ...SINCE,
      ...(from === undefined ? {} : { ExclusiveStartKey: from }),
    });
    const page = json as Page;
    cost.requests += 1;
    cost.bytes += bytes;
    count += page.Count ?? 0;
    from = page.LastEvaluatedKey;
  } while (from !== undefined);
  if (count !== CHANGED) throw new Error(`the scan gave ${count} items, not ${CHANGED}`);
  return { ms: performance.now() - began, ...cost };
}
