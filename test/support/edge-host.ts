/** The worker in workerd, over a real socket, with a DynamoDB of its own. */
import { join } from "node:path";
import { startWorker } from "../../bench/worker-host.ts";
import { bundleWorker } from "../../local/worker-bundle.ts";
import type { WorkerHost } from "../../bench/worker-host.ts";
import type { AttributeMap } from "../../shared/item.ts";
import { startDynoxide, testDynamoClient } from "./dynoxide.ts";

export type EdgeHost = WorkerHost & {
  /** Every item of a source, by its key. */
  readonly items: (source: string) => Promise<ReadonlyMap<string, AttributeMap>>;
};

async function scan(endpoint: string, source: string): Promise<ReadonlyMap<string, AttributeMap>> {
  const dynamo = testDynamoClient(endpoint);
  const items = new Map<string, AttributeMap>();
  let from: unknown;
  do {
    const request = {
      TableName: "varve",
      ConsistentRead: true,
      FilterExpression: "#s = :s",
      ExpressionAttributeNames: { "#s": "source" },
      ExpressionAttributeValues: { ":s": { S: source } },
      ...(from === undefined ? {} : { ExclusiveStartKey: from }),
    };
    const answer = await dynamo.call("DynamoDB_20120810.Scan", JSON.stringify(request));
    if (answer.kind !== "ok") throw new Error(`Scan: ${answer.message}`);
    const page = JSON.parse(answer.text) as { Items: AttributeMap[]; LastEvaluatedKey?: unknown };
    for (const item of page.Items) items.set((item["pk"] as { S: string }).S, item);
    from = page.LastEvaluatedKey;
  } while (from !== undefined);
  return items;
}

const WORKER = join(import.meta.dirname, "../../edge/worker.ts");

/** The worker as Miniflare takes it. */
export async function edgeModules(): Promise<
  { type: "ESModule" | "CompiledWasm"; path: string; contents: Uint8Array<ArrayBuffer> }[]
> {
  const modules = await bundleWorker(WORKER);
  return modules.map(({ name, kind, contents }) => ({
    type: kind === "esm" ? "ESModule" : "CompiledWasm",
    path: name,
    contents,
  }));
}

/** `sources` by write key. */
export async function startEdgeHost(sources: Readonly<Record<string, object>>): Promise<EdgeHost> {
  const dynamo = await startDynoxide();
  const keys = Object.entries(sources).map(([key, source]) => [`key:${key}`, JSON.stringify(source)]);
  const host = await startWorker({
    modules: await bundleWorker(WORKER),
    bindings: {
      DYNAMODB_ENDPOINT: dynamo.endpoint,
      DYNAMODB_TABLE: "varve",
      AWS_REGION: "us-east-1",
      AWS_ACCESS_KEY_ID: "local",
      AWS_SECRET_ACCESS_KEY: "local",
    },
    kv: { SOURCES: Object.fromEntries(keys) as Record<string, string> },
  });
  return {
    ...host,
    items: (source) => scan(dynamo.endpoint, source),
    stop: async () => {
      await host.stop();
      await dynamo.stop();
    },
  };
}

export function bodiesOf(items: ReadonlyMap<string, AttributeMap>): Record<string, unknown>[] {
  return [...items.values()].flatMap((item) => {
    const body = item["body"];
    return body !== undefined && "S" in body ? [JSON.parse(body.S) as Record<string, unknown>] : [];
  });
}

/** Waits until `ready` holds, for at most `withinMs`. */
export async function until(ready: () => Promise<boolean>, withinMs: number): Promise<boolean> {
  for (const endMs = Date.now() + withinMs; Date.now() < endMs;) {
    if (await ready()) return true;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return ready();
}
