/**
 * What "what changed since T" costs as the table grows: 10,000, 100,000 and 1,000,000 objects, of which 1,000 have
 * changed. Beside it the two ways without a changelog, over the same objects in the embedded DynamoDB: a scan of the
 * table, and a query of a global secondary index on the modification time.
 *
 * The changelog is laid down as the compactor would, in a directory: 10 commits, a checkpoint, and one commit of the
 * changes. The table is made and changed through DynamoDB's own calls; the bulk of its items is put straight into the
 * embedded DynamoDB's file, which takes them a hundred times faster than its API does.
 */
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { dynoxideBinary } from "../local/dynamodb.ts";
import { openChangelog } from "../reader/changelog.ts";
import type { DynamoClient } from "../shared/aws/dynamodb.ts";
import { createDynamo } from "../shared/aws/dynamodb.ts";
import { writeCheckpoint } from "../shared/checkpoint.ts";
import { openDirectoryStore } from "../shared/directory.ts";
import type { ObjectStore } from "../shared/store.ts";
import { layDown, object } from "./laid.ts";
import type { BenchRow } from "./report.ts";

const SIZES = [10_000, 100_000, 1_000_000] as const;
const CHANGED = 1000;
const COMMITS = 10;
/** The table is made and asked at sizes that the embedded DynamoDB can be scanned at: it sorts all of it for each page. */
const TABLE_SIZES: ReadonlySet<number> = new Set([10_000, 100_000]);
/** The best of them stands: the machine is shared. */
const ROUNDS = 15;
/** A GSI query takes its pages and items one after the other, as a client must. */
const QUERY_ROUNDS = 3;
const FLAT_LIMIT = 1.3;

const T0 = Date.UTC(2026, 10, 20, 0, 0);
const WINDOW_MS = 300_000;
const CHANGED_AT = T0 + COMMITS * WINDOW_MS;
const TABLE = "objects";

const idOf = (index: number): string => `u${String(index).padStart(8, "0")}`;
/** Some 300 bytes, as an object of a dozen properties has. */
const imageSql = `'{"name":"' || md5('n' || i) || '","email":"user' || i || '@example.com","plan":"pro","company":"company ' ||
  (i % 5000) || '","city":"Zürich","visits":' || (i % 977) || ',"token":"' || md5('t' || i) || '"}'`;
const changedImage = (index: number): string =>
  JSON.stringify({ name: `changed ${index}`, email: `u${index}@example.com`, plan: "free", visits: index });

type Cost = { readonly ms: number; readonly requests: number; readonly bytes: number };
/** `cpuMs`: of this process, which a busy machine disturbs less than the clock. */
type SinceCost = Cost & { readonly cpuMs: number };

export async function benchSince(progress: (what: string) => void): Promise<BenchRow[]> {
  const dir = await mkdtemp(join(tmpdir(), "varve-bench-since-"));
  try {
    const changelogs = new Map<number, { readonly root: string; readonly bytes: number }>();
    for (const size of SIZES) {
      progress(`laying down a changelog of ${size} objects`);
      const root = join(dir, `changelog-${size}`);
      changelogs.set(size, { root, bytes: await layChangelog(root, size) });
    }
    const since = await measureSince(changelogs, progress);
    const rows: BenchRow[] = [];
    const smallest = since.get(SIZES[0]) ?? NO_SINCE_COST;
    for (const size of SIZES) {
      const name = `${size.toLocaleString("en-US")} objects`;
      const cost = since.get(size) ?? NO_SINCE_COST;
      const flat = { limit: size === SIZES[0] ? null : FLAT_LIMIT };
      const changelogBytes = changelogs.get(size)?.bytes ?? 0;
      const tableBytes = size * ITEM_BYTES;
      rows.push(
        row(`${name}: since T, time`, cost.ms, "ms", { ...flat, ratio: cost.ms / smallest.ms }),
        row(`${name}: since T, processor time`, cost.cpuMs, "ms", {
          ...flat,
          ratio: cost.cpuMs / smallest.cpuMs,
        }),
        row(`${name}: since T, requests`, cost.requests, "", {
          ...flat,
          ratio: cost.requests / smallest.requests,
        }),
        row(`${name}: since T, read`, cost.bytes, "bytes", { ...flat, ratio: cost.bytes / smallest.bytes }),
      );
      if (TABLE_SIZES.has(size)) {
        const { query, scan } = await measureTable(dir, size, progress);
        rows.push(
          row(`${name}: GSI query + items, time / since T`, query.ms, "ms", { ratio: query.ms / cost.ms }),
          row(`${name}: GSI query + items, requests`, query.requests, ""),
          row(`${name}: GSI query + items, read`, query.bytes, "bytes"),
          row(`${name}: table scan, time / since T`, scan.ms, "ms", { ratio: scan.ms / cost.ms }),
          row(`${name}: table scan, requests`, scan.requests, ""),
        );
      }
      rows.push(
        row(`${name}: table scan, read / since T`, tableBytes, "bytes", { ratio: tableBytes / cost.bytes }),
        row(`${name}: stored by the changelog / by the table`, changelogBytes, "bytes", {
          ratio: changelogBytes / tableBytes,
        }),
        row(`${name}: stored by a GSI, keys only / by the table`, size * ENTRY_BYTES, "bytes", {
          ratio: ENTRY_BYTES / ITEM_BYTES,
        }),
      );
    }
    return rows;
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

const NO_COST: Cost = { ms: 0, requests: 0, bytes: 0 };
const NO_SINCE_COST: SinceCost = { ...NO_COST, cpuMs: 0 };

const row = (
  name: string,
  value: number,
  unit: string,
  { limit = null, ratio = null }: { readonly limit?: number | null; readonly ratio?: number | null } = {},
): BenchRow => ({ name, value, unit, limit, ratio });

/** The bytes that its files take. */
async function layChangelog(root: string, size: number): Promise<number> {
  const store = openDirectoryStore(root);
  const laid = await layDown(store, T0);
  try {
    const count = size / COMMITS;
    for (let commit = 0; commit < COMMITS; commit += 1) {
      await laid.commitQuery({
        count,
        columns: {
          changedMs: `${T0 + commit * WINDOW_MS} + 1 + i % 1000`,
          collection: "'users'",
          id: `'u' || lpad((i + ${commit * count})::VARCHAR, 8, '0')`,
          image: imageSql,
        },
        watermarkMs: T0 + (commit + 1) * WINDOW_MS - 1,
      });
    }
    await writeCheckpoint(store, laid.snapshot());
    const step = size / CHANGED;
    const changed = Array.from({ length: CHANGED }, (_, index) =>
      object("users", idOf(index * step), CHANGED_AT + 1 + index, {
        op: "update",
        image: changedImage(index),
      }),
    );
    const { files } = await laid.commit(changed, CHANGED_AT + CHANGED + 1);
    return [...files.values()].reduce((sum, file) => sum + file.sizeBytes, 0);
  } finally {
    await laid.close();
  }
}

/** The sizes take turns, so that a busy moment of the machine meets them all. */
async function measureSince(
  changelogs: ReadonlyMap<number, { readonly root: string }>,
  progress: (what: string) => void,
): Promise<ReadonlyMap<number, SinceCost>> {
  progress(`since T, ${ROUNDS} rounds`);
  const costs = new Map<number, SinceCost[]>();
  for (let round = -1; round < ROUNDS; round += 1) {
    for (const [size, { root }] of changelogs) {
      const cost = await sinceOnce(root);
      if (round >= 0) costs.set(size, [...(costs.get(size) ?? []), cost]);
    }
  }
  return new Map(
    [...costs].map(([size, some]) => [
      size,
      { ...NO_SINCE_COST, ...best(some), cpuMs: Math.min(...some.map(({ cpuMs }) => cpuMs)) },
    ]),
  );
}

const best = (costs: readonly Cost[]): Cost => costs.toSorted((a, b) => a.ms - b.ms)[0] ?? NO_COST;

/** From nothing: the log is opened, and every row read. */
async function sinceOnce(root: string): Promise<SinceCost> {
  const { store, asked } = counting(openDirectoryStore(root));
  const began = performance.now();
  const cpu = process.cpuUsage();
  const changelog = await openChangelog(store);
  const { rows } = await changelog.changesSince({ kind: "time", ms: CHANGED_AT });
  let count = 0;
  for await (const { image } of rows) count += image === null ? 0 : 1;
  const ms = performance.now() - began;
  const { user, system } = process.cpuUsage(cpu);
  if (count !== CHANGED) throw new Error(`since T gave ${count} rows, not ${CHANGED}`);
  return { ms, cpuMs: (user + system) / 1000, ...asked };
}

function counting(store: ObjectStore): {
  readonly store: ObjectStore;
  readonly asked: { requests: number; bytes: number };
} {
  const asked = { requests: 0, bytes: 0 };
  const { getRange } = store;
  const note = (bytes: number | undefined): void => {
    asked.requests += 1;
    asked.bytes += bytes ?? 0;
  };
  return {
    asked,
    store: {
      ...store,
      get: async (key, signal) => {
        const found = await store.get(key, signal);
        note(found?.body.byteLength);
        return found;
      },
      ...(getRange === undefined
        ? {}
        : {
            getRange: async (key, start, length, signal) => {
              const body = await getRange(key, start, length, signal);
              note(body?.byteLength);
              return body;
            },
          }),
      list: (prefix, startAfter, signal) => {
        note(0);
        return store.list(prefix, startAfter, signal);
      },
    },
  };
}

type TableCosts = { readonly query: Cost; readonly scan: Cost };

async function measureTable(
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
const ENTRY_BYTES = KEYS_BYTES + OVERHEAD_BYTES;
const ITEM_BYTES = ENTRY_BYTES + "kindobject".length + "image".length + bulkImage(100_000).length;

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

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
