/**
 * DynamoDB as far as the edge uses it, in this process and fast: BatchWriteItem and UpdateItem with the
 * preconditions that the real one checks.
 */
import { createServer } from "node:http";
import type { IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import type { AttributeMap, AttributeValue } from "../../shared/item.ts";

export type TableServer = {
  readonly endpoint: string;
  readonly items: ReadonlyMap<string, AttributeMap>;
  /** How many calls it was sent. */
  readonly calls: () => number;
  readonly stop: () => Promise<void>;
};

type Fault = { readonly type: string; readonly message: string };
const invalid = (message: string): Fault => ({
  type: "com.amazon.coral.validate#ValidationException",
  message,
});

const ITEM_BYTES_MAX = 400 * 1024;
const KEY_BYTES_MAX = 2048;

function keyOf(item: AttributeMap): string | Fault {
  const pk = item["pk"];
  if (pk === undefined || !("S" in pk) || pk.S === "") return invalid("the key pk is missing or empty");
  return Buffer.byteLength(pk.S) > KEY_BYTES_MAX ? invalid("the key is too long") : pk.S;
}

function depthOf(value: AttributeValue): number {
  if ("M" in value) return 1 + Math.max(0, ...Object.values(value.M).map(depthOf));
  return "L" in value ? 1 + Math.max(0, ...value.L.map(depthOf)) : 0;
}

function faultOf(item: AttributeMap): Fault | null {
  if (Buffer.byteLength(JSON.stringify(item)) > ITEM_BYTES_MAX * 2) return invalid("Item size has exceeded");
  if (Object.values(item).some((value) => depthOf(value) > 32))
    return invalid("Nesting Levels have exceeded");
  return null;
}

type BatchWrite = {
  readonly RequestItems: Readonly<
    Record<string, readonly { readonly PutRequest: { readonly Item: AttributeMap } }[]>
  >;
};

function batchWrite(items: Map<string, AttributeMap>, { RequestItems }: BatchWrite): object | Fault {
  const puts = Object.values(RequestItems).flat();
  if (puts.length === 0 || puts.length > 25) return invalid("1-25 requests");
  const keyed = new Map<string, AttributeMap>();
  for (const { PutRequest } of puts) {
    const key = keyOf(PutRequest.Item);
    if (typeof key !== "string") return key;
    if (keyed.has(key)) return invalid("Provided list of item keys contains duplicates");
    const fault = faultOf(PutRequest.Item);
    if (fault !== null) return fault;
    keyed.set(key, PutRequest.Item);
  }
  for (const [key, item] of keyed) items.set(key, item);
  return { UnprocessedItems: {} };
}

type Update = {
  readonly Key: AttributeMap;
  readonly UpdateExpression: string;
  readonly ConditionExpression?: string;
  readonly ExpressionAttributeNames: Readonly<Record<string, string>>;
  readonly ExpressionAttributeValues: AttributeMap;
};

const numberOf = (value: AttributeValue | undefined): number =>
  value !== undefined && "N" in value ? Number(value.N) : Number.NaN;

function update(items: Map<string, AttributeMap>, request: Update): object | Fault {
  const key = keyOf(request.Key);
  if (typeof key !== "string") return key;
  if (Buffer.byteLength(request.UpdateExpression) > 4096) return invalid("Expression size has exceeded 4096");
  const standing = items.get(key) ?? { pk: { S: key } };
  const { ExpressionAttributeNames: names, ExpressionAttributeValues: values } = request;
  if (request.ConditionExpression !== undefined && standing["event_at"] !== undefined) {
    if (numberOf(standing["event_at"]) > numberOf(values[":t"])) {
      return { type: "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException", message: "older" };
    }
  }
  const next: Record<string, AttributeValue> = { ...standing };
  const fill = request.UpdateExpression.includes("if_not_exists");
  for (const [placeholder, name] of Object.entries(names)) {
    const value = values[placeholder.replace("#", ":")];
    if (value !== undefined && !(fill && Object.hasOwn(next, name))) next[name] = value;
  }
  const fault = faultOf(next);
  if (fault !== null) return fault;
  items.set(key, next);
  return {};
}

/** The body; null when some text in it is not well-formed, which DynamoDB does not read. */
function parse(text: string): unknown {
  let isWellFormed = true;
  const body: unknown = JSON.parse(text, (name, value: unknown) => {
    isWellFormed &&= name.isWellFormed() && (typeof value !== "string" || value.isWellFormed());
    return value;
  });
  return isWellFormed ? body : null;
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

/** On `port`, so that one can stop and come back; 0 picks one. */
export async function startTableServer(port = 0): Promise<TableServer> {
  const items = new Map<string, AttributeMap>();
  let calls = 0;
  const server = createServer((request, response) => {
    calls += 1;
    void textOf(request).then((text) => {
      const batch = String(request.headers["x-amz-target"]).endsWith("BatchWriteItem");
      const body = parse(text);
      const answer =
        body === null
          ? { type: "com.amazon.coral.service#SerializationException", message: "" }
          : batch
            ? batchWrite(items, body as BatchWrite)
            : update(items, body as Update);
      const fault = "type" in answer ? (answer as Fault) : null;
      response.statusCode = fault === null ? 200 : 400;
      response.end(JSON.stringify(fault === null ? answer : { __type: fault.type, message: fault.message }));
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(port, "127.0.0.1", resolve);
  });
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    items,
    calls: () => calls,
    stop: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}
