import { AwsV4Signer } from "aws4fetch";
import { expect, test } from "vitest";
import { createSigner } from "../../shared/aws/sign.ts";

const encode = (text: string) => new TextEncoder().encode(text);

test.each([
  ["plain", undefined, "2026-11-23T10:20:30.999Z"],
  ["with a session token", "token/+=", "2026-01-02T03:04:05.000Z"],
])("signs as aws4fetch does, %s", async (_name, sessionToken, now) => {
  const credentials = { accessKeyId: "AKID", secretAccessKey: "secret", sessionToken };
  const target = "DynamoDB_20120810.BatchWriteItem";
  const body = encode('{"RequestItems":{}}');
  const sign = createSigner();
  const call = { host: "dynamodb.eu-west-1.amazonaws.com", region: "eu-west-1", service: "dynamodb" };
  const ours = await sign({ ...call, target, body, credentials, nowMs: Date.parse(now) });
  const theirs = await new AwsV4Signer({
    method: "POST",
    url: `https://${call.host}/`,
    headers: { "X-Amz-Target": target },
    body,
    region: call.region,
    service: call.service,
    accessKeyId: "AKID",
    secretAccessKey: "secret",
    ...(sessionToken === undefined ? {} : { sessionToken }),
    datetime: ours["X-Amz-Date"] ?? "",
  }).sign();
  expect(ours["Authorization"]).toBe(theirs.headers.get("Authorization"));
});

test("a new day derives a new key", async () => {
  const sign = createSigner();
  const at = async (now: string) => {
    const headers = await sign({
      host: "h",
      region: "r",
      service: "s",
      target: "t",
      body: encode(""),
      credentials: { accessKeyId: "a", secretAccessKey: "b" },
      nowMs: Date.parse(now),
    });
    return headers["Authorization"];
  };
  expect(await at("2026-01-01T00:00:00Z")).not.toBe(await at("2026-01-02T00:00:00Z"));
});
