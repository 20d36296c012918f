import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, test } from "vitest";
import { openStreams, parsePage } from "../../compactor/stream.ts";
import { STREAM, T0, objectRecord } from "../fakes/changes.ts";
import { startSilent } from "../support/silent.ts";

const failed = (type: string, message = "no"): string =>
  JSON.stringify({ __type: `com.amazonaws#${type}`, message });

describe("an answer to GetRecords", () => {
  test("with records", () => {
    const records = [objectRecord(1, T0)];
    const text = JSON.stringify({ Records: records, NextShardIterator: "next" });
    expect(parsePage(200, text)).toMatchObject({ kind: "page", page: { records, next: "next" } });
  });

  test("keeps each name of an item, whatever names came before it", () => {
    for (const name of ["\\", '"', "\n", "\\n", "\\\\", "é\\", 'é"', "\ud800", "a"]) {
      const dynamodb = {
        SequenceNumber: "1",
        ApproximateCreationDateTime: 1_700_000_000.5,
        Keys: { pk: { S: "o#s#rooms#1" } },
        NewImage: { pk: { S: "o#s#rooms#1" }, [`p.${name}`]: { M: { a: { N: "1" }, [name]: { S: name } } } },
      };
      const outcome = parsePage(200, JSON.stringify({ Records: [{ eventName: "INSERT", dynamodb }] }));
      expect(outcome).toMatchObject({ page: { records: [{ eventName: "INSERT", dynamodb }] } });
    }
  });

  test.each([
    ["that is the last of its shard", { Records: [] }],
    ["that says so", { Records: [], NextShardIterator: null }],
  ])("%s", (_, json) => {
    expect(parsePage(200, JSON.stringify(json))).toMatchObject({ kind: "page", page: { next: null } });
  });

  test.each([
    ["ExpiredIteratorException", "expired"],
    ["TrimmedDataAccessException", "trimmed"],
    ["ResourceNotFoundException", "gone"],
    ["LimitExceededException", "retry"],
    ["ThrottlingException", "retry"],
    ["InternalServerError", "retry"],
  ])("%s is %s", (type, kind) => {
    expect(parsePage(400, failed(type)).kind).toBe(kind);
  });

  test.each([
    ["a page of a proxy", 502, "<html>Bad Gateway</html>"],
    ["a body cut short", 200, '{"Records":[{"dyn'],
    ["no records at all", 200, "{}"],
    ["records that are no list", 200, '{"Records":{}}'],
    ["nothing", 200, ""],
    ["null", 200, "null"],
  ])("%s is tried again, never taken for an empty page", (_, status, text) => {
    expect(parsePage(status, text)).toMatchObject({ kind: "retry", why: expect.stringContaining("HTTP") });
  });
});

test("an endpoint that says nothing is not waited for", async () => {
  Object.assign(process.env, { AWS_ACCESS_KEY_ID: "local", AWS_SECRET_ACCESS_KEY: "local" });
  const { endpoint, stop } = await startSilent();
  const streams = openStreams({ table: "items", region: "us-east-1", endpoint, timeoutMs: 50 });
  await expect(streams.describe()).rejects.toMatchObject({ code: "table_unreachable" });
  expect(await streams.openIterator(STREAM, "s1", null)).toMatchObject({ kind: "retry" });
  expect(await streams.getRecords("i")).toMatchObject({ kind: "retry" });
  await stop();
});

test.each([
  ["ten minutes ahead", 600_000, "page"],
  ["ten minutes behind", -600_000, "page"],
  ["hours ahead", 7_200_000, "retry"],
] as const)("a machine whose clock is %s of the service's", async (_, aheadMs, kind) => {
  Object.assign(process.env, { AWS_ACCESS_KEY_ID: "local", AWS_SECRET_ACCESS_KEY: "local" });
  const SIGNED_WITHIN_MS = 300_000;
  const server = createServer((request, response) => {
    const nowMs = Date.now() - aheadMs;
    const signed = String(request.headers["x-amz-date"]).replace(
      /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/,
      "$1-$2-$3T$4:$5:$6Z",
    );
    const isCurrent = Math.abs(Date.parse(signed) - nowMs) < SIGNED_WITHIN_MS;
    response.writeHead(isCurrent ? 200 : 400, { date: new Date(nowMs).toUTCString() });
    response.end(isCurrent ? '{"Records":[]}' : failed("InvalidSignatureException", "Signature expired"));
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const streams = openStreams({ table: "items", region: "us-east-1", endpoint });
  expect(await streams.getRecords("i")).toMatchObject({ kind: "retry" });
  expect(await streams.getRecords("i")).toMatchObject({ kind });
  server.closeAllConnections();
  server.close();
});
