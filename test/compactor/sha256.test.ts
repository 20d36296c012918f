import { expect, test } from "vitest";
import { NODE_SHA256 } from "../../compactor/sha256.ts";
import { createSigner } from "../../shared/aws/sign.ts";

test("signs as the web's SHA-256 does", async () => {
  const call = {
    host: "streams.dynamodb.eu-west-1.amazonaws.com",
    region: "eu-west-1",
    service: "dynamodb",
    target: "DynamoDBStreams_20120810.GetRecords",
    body: new TextEncoder().encode('{"ShardIterator":"here","Limit":1000}'),
    credentials: { accessKeyId: "AKID", secretAccessKey: "secret", sessionToken: "token/+=" },
    nowMs: Date.parse("2026-11-23T10:20:30.999Z"),
  };
  expect(await createSigner(NODE_SHA256)(call)).toEqual(await createSigner()(call));
});
