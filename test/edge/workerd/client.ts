/** What the tests inside workerd say to the worker and to its table. */
import { env, exports } from "cloudflare:workers";
import type { AttributeMap } from "../../../shared/item.ts";
import { createDynamo } from "../../../shared/aws/dynamodb.ts";
import type { Bindings } from "../../../edge/config.ts";
import { sourceKvKey } from "../../../edge/sources.ts";

declare global {
  // eslint-disable-next-line typescript/no-namespace -- the runtime's own types are extended this way
  namespace Cloudflare {
    interface Env extends Bindings {}
    interface GlobalProps {
      mainModule: typeof import("../../../edge/worker.ts");
    }
  }
}

export type TestAnswer = {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Record<string, unknown>;
};

export async function post(
  path: string,
  body: object | BodyInit,
  writeKey?: string,
  headers: Record<string, string> = {},
): Promise<TestAnswer> {
  const raw = typeof body === "string" || body instanceof ArrayBuffer || body instanceof Uint8Array;
  const auth = writeKey === undefined ? {} : { Authorization: `Basic ${btoa(`${writeKey}:`)}` };
  const response = await exports.default.fetch(`http://edge${path}`, {
    method: "POST",
    headers: { ...auth, ...headers },
    body: raw ? body : JSON.stringify(body),
  });
  const { status } = response;
  return { status, headers: response.headers, body: await response.json() };
}

export async function useSource(writeKey: string, source: object): Promise<void> {
  await env.SOURCES.put(sourceKvKey(writeKey), JSON.stringify(source));
}

export async function itemAt(pk: string): Promise<AttributeMap | null> {
  const dynamo = createDynamo({
    endpoint: String(env["DYNAMODB_ENDPOINT"]),
    region: "us-east-1",
    credentials: () => ({ accessKeyId: "local", secretAccessKey: "local" }),
    timeoutMs: 5_000,
  });
  const key = JSON.stringify({ TableName: "varve", Key: { pk: { S: pk } }, ConsistentRead: true });
  const answer = await dynamo.call("DynamoDB_20120810.GetItem", key);
  if (answer.kind !== "ok") throw new Error(`GetItem: ${answer.message}`);
  return (JSON.parse(answer.text) as { Item?: AttributeMap }).Item ?? null;
}

/** The JSON text in an item's `body`. */
export async function bodyAt(pk: string): Promise<string> {
  const body = (await itemAt(pk))?.["body"];
  if (body === undefined || !("S" in body)) throw new Error(`no body at ${pk}`);
  return body.S;
}
