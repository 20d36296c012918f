/** A worker that does the edge's work up to the step that its binding `STEP` names, for a batch of events. */
import { createDynamo } from "../shared/aws/dynamodb.ts";
import type { DynamoClient } from "../shared/aws/dynamodb.ts";
import { createSigner } from "../shared/aws/sign.ts";
import type { Batch } from "../edge/batch.ts";
import { batchesOf } from "../edge/batch.ts";
import { readBody } from "../edge/body.ts";
import { envelopeOf, REQUEST_LIMITS } from "../edge/ingest.ts";
import { openBatch } from "../edge/open-batch.ts";
import { readPlain } from "../edge/plain.ts";

type Bindings = { readonly STEP: string; readonly DYNAMODB_ENDPOINT: string };

const sign = createSigner();
const credentials = { accessKeyId: "bench", secretAccessKey: "bench" };
const TARGET = "DynamoDB_20120810.BatchWriteItem";

/** As the edge does where all events are plain: neither parsed nor written anew. */
async function batched(request: Request): Promise<readonly Batch[]> {
  const read = await readBody(request);
  const batch = read.kind === "refused" ? null : openBatch(read.bytes);
  const envelope = batch === null ? null : envelopeOf(batch.body, false);
  if (batch === null || envelope === null || "kind" in envelope)
    throw new Error("the body is no plain batch");
  const receivedAtMs = Date.now();
  const plain = readPlain(batch, {
    envelope,
    stamp: { source: "bench", receivedAtMs, expiresAtS: 2_000_000_000 },
    receivedAt: new Date(receivedAtMs).toISOString(),
    skewMaxMs: 60_000,
    eventsMax: REQUEST_LIMITS.eventsMax,
    table: "varve",
    isBot: () => false,
    clientIsBot: false,
  });
  if (plain === null || plain.odd.length > 0) throw new Error("some of the body's events are not plain");
  return [...plain.batches, ...batchesOf("varve", plain.puts)];
}

function signed(body: Uint8Array): Promise<Record<string, string>> {
  const nowMs = Date.now();
  return sign({
    host: "127.0.0.1",
    region: "us-east-1",
    service: "dynamodb",
    target: TARGET,
    body,
    credentials,
    nowMs,
  });
}

let dynamo: DynamoClient | undefined;

async function call(batches: readonly Batch[], endpoint: string): Promise<void> {
  dynamo ??= createDynamo({
    endpoint,
    region: "us-east-1",
    credentials: () => credentials,
    timeoutMs: 2_500,
  });
  const session = dynamo.open();
  await Promise.all(batches.map(({ body }) => session.call(TARGET, body)));
  session.close();
}

/** As large as a call of 25 of the bench's events, and with as many headers. */
const PLAIN_CALL = {
  method: "POST",
  headers: {
    "Content-Type": "application/x-amz-json-1.0",
    "X-Amz-Target": TARGET,
    "X-Amz-Date": "20261123T000000Z",
    Authorization: "x".repeat(200),
  },
  body: new Uint8Array(30_000).fill(120),
};

async function plainCalls(endpoint: string): Promise<void> {
  const calls = Array.from({ length: 4 }, async () => (await fetch(endpoint, PLAIN_CALL)).text());
  await Promise.all(calls);
}

type Sent = { readonly batch: readonly { readonly messageId: string }[] };

const encoder = new TextEncoder();

/** Nothing is checked or added: each event is a key and its own JSON as text, 25 a call, signed. */
async function storeUnchecked(text: string, endpoint: string): Promise<void> {
  const { batch } = JSON.parse(text) as Sent;
  const bodies: Uint8Array[] = [];
  for (let from = 0; from < batch.length; from += 25) {
    const puts = batch
      .slice(from, from + 25)
      .map(
        (event) =>
          `{"PutRequest":{"Item":{"pk":{"S":"${event.messageId}"},"body":{"S":${JSON.stringify(JSON.stringify(event))}}}}}`,
      );
    bodies.push(encoder.encode(`{"RequestItems":{"varve":[${puts.join(",")}]}}`));
  }
  await Promise.all(
    bodies.map(async (body) => {
      const headers = await signed(body);
      return (await fetch(endpoint, { method: "POST", headers, body })).text();
    }),
  );
}

const RUNS: Readonly<Record<string, (request: Request, endpoint: string) => Promise<unknown>>> = {
  read: (request) => request.text(),
  parse: async (request) => JSON.parse(await request.text()) as unknown,
  items: batched,
  sign: async (request) => Promise.all((await batched(request)).map(({ body }) => signed(body))),
  call: async (request, endpoint) => call(await batched(request), endpoint),
  "parse and call": async (request, endpoint) => {
    JSON.parse(await request.text());
    await plainCalls(endpoint);
  },
  least: async (request, endpoint) => storeUnchecked(await request.text(), endpoint),
};

export default {
  async fetch(request: Request, bindings: Bindings): Promise<Response> {
    if (request.method === "POST") await RUNS[bindings.STEP]?.(request, bindings.DYNAMODB_ENDPOINT);
    return Response.json({ success: true });
  },
};
