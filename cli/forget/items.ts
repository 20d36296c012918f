/** The items of the table: reading, deleting, and the scan that finds what the changelog does not name. */
import type { AttributeValue as SdkAttributeValue, DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { BatchWriteItemCommand, DescribeTableCommand } from "@aws-sdk/client-dynamodb";
import type { TableReader } from "../../reader/verify.ts";
import { many } from "../../shared/amounts.ts";
import type { Clock } from "../../shared/clock.ts";
import { VarveError } from "../../shared/errors.ts";
import { openTable, openTableClient } from "../table.ts";
import type { Environment } from "../target.ts";
import type { Person } from "./person.ts";
import { isItemOf } from "./person.ts";
import type { Progress } from "./rows.ts";

export type Items = {
  /** Those of the keys (JSON text) whose items are there. */
  readonly present: (keys: readonly string[]) => Promise<readonly string[]>;
  readonly remove: (keys: readonly string[], progress: Progress) => Promise<void>;
  /** Keys of the person's items, by reading the whole table. */
  readonly scan: (person: Person, progress: (items: number) => void) => Promise<readonly string[]>;
  /** By DynamoDB's own count, which is some hours old. */
  readonly sizeBytes: () => Promise<number>;
  readonly close: () => void;
};

const KEYS_A_READ = 100;
const KEYS_A_WRITE = 25;
const ATTEMPTS_MAX = 12;

export async function openItems(environment: Environment, clock: Clock): Promise<Items> {
  const reader: TableReader & { readonly close: () => void } = await openTable(environment);
  const { client, name: table, told } = openTableClient(environment);

  return {
    present: async (keys) => {
      const found: string[] = [];
      for (let start = 0; start < keys.length; start += KEYS_A_READ)
        found.push(...(await reader.read(keys.slice(start, start + KEYS_A_READ))).keys());
      return found;
    },
    remove: async (keys, progress) => {
      for (let start = 0; start < keys.length; start += KEYS_A_WRITE) {
        await told(removeBatch(client, table, keys.slice(start, start + KEYS_A_WRITE), clock));
        progress(Math.min(start + KEYS_A_WRITE, keys.length), keys.length);
      }
    },
    scan: async (person, progress) => {
      const found: string[] = [];
      let items = 0;
      for await (const page of reader.scan()) {
        for (const item of page) if (isItemOf(person, item)) found.push(reader.keyOf(item));
        items += page.length;
        progress(items);
      }
      return found;
    },
    sizeBytes: async () => {
      const { Table: described } = await told(client.send(new DescribeTableCommand({ TableName: table })));
      return described?.TableSizeBytes ?? 0;
    },
    close: () => {
      reader.close();
      client.destroy();
    },
  };
}

async function removeBatch(
  client: DynamoDBClient,
  table: string,
  keys: readonly string[],
  clock: Clock,
): Promise<void> {
  let requests = keys.map((key) => ({ DeleteRequest: { Key: toKey(key) } }));
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt += 1) {
    if (attempt > 0) await clock.sleep(Math.min(5_000, 50 * 2 ** attempt) * (0.5 + clock.random() / 2));
    const answer = await client.send(new BatchWriteItemCommand({ RequestItems: { [table]: requests } }));
    const left = answer.UnprocessedItems?.[table] ?? [];
    requests = left.flatMap((one) =>
      one.DeleteRequest?.Key === undefined ? [] : [{ DeleteRequest: { Key: one.DeleteRequest.Key } }],
    );
    if (requests.length === 0) return;
  }
  throw new VarveError(
    "table_throttled",
    `${many(requests.length, "item was", "items were")} not deleted in ${ATTEMPTS_MAX} attempts: the table throttles.`,
    "Run it again: what is deleted is not deleted twice.",
  );
}

/** `{"pk":"…"}` */
function toKey(key: string): Record<string, SdkAttributeValue> {
  const { pk } = JSON.parse(key) as { readonly pk: string };
  return { pk: { S: pk } };
}
