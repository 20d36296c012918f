/** The canned stream, in a process of its own: closed shards, served over the wire protocol of DynamoDB Streams. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { PAGE_RECORDS, SHARD, cannedPages } from "./canned.ts";

const ARN = "arn:aws:dynamodb:eu-north-1:000000000000:table/bench/stream/2026-11-23T00:00:00.000";

/** Several shards give the same answers, under names of their own. */
const shards = Array.from({ length: Number(process.argv[3] ?? 1) }, (_, index) =>
  index === 0 ? SHARD : `${SHARD}-${index}`,
);
const pages = cannedPages(Number(process.argv[2] ?? 1), Date.now()).map((page) => Buffer.from(page));

/** GetRecords answers so far: what the parent is told when it asks. */
let served = 0;

type Call = { readonly ShardIterator?: string };

function answer(operation: string, call: Call): Buffer | string {
  switch (operation) {
    case "DescribeTable":
      return JSON.stringify({
        Table: {
          TableName: "bench",
          LatestStreamArn: ARN,
          StreamSpecification: { StreamEnabled: true, StreamViewType: "NEW_IMAGE" },
        },
      });
    case "DescribeStream":
      return JSON.stringify({
        StreamDescription: {
          StreamArn: ARN,
          StreamStatus: "ENABLED",
          Shards: shards.map((shard) => ({
            ShardId: shard,
            SequenceNumberRange: { StartingSequenceNumber: "1" },
          })),
        },
      });
    case "GetShardIterator":
      return JSON.stringify({ ShardIterator: "page-0" });
    case "GetRecords":
      served += 1;
      return pages[Number(call.ShardIterator?.slice("page-".length))] ?? "{}";
    default:
      return JSON.stringify({ __type: "UnknownOperationException" });
  }
}

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => {
    const operation = String(request.headers["x-amz-target"]).split(".").at(-1) ?? "";
    const body = answer(operation, JSON.parse(Buffer.concat(chunks).toString()) as Call);
    response.writeHead(200, {
      "content-type": "application/x-amz-json-1.0",
      "content-length": Buffer.byteLength(body),
    });
    response.end(body);
  });
});
// A reader may be stopped for a while.
server.keepAliveTimeout = 60_000;
server.listen(0, "127.0.0.1", () => {
  const { port } = server.address() as AddressInfo;
  process.send?.({ endpoint: `http://127.0.0.1:${port}`, records: pages.length * PAGE_RECORDS });
});
process.on("message", () => process.send?.({ records: served * PAGE_RECORDS }));
process.on("disconnect", () => process.exit());
