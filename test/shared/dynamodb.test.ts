import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { expect, test } from "vitest";
import { createDynamo } from "../../shared/aws/dynamodb.ts";
import type { DynamoOptions } from "../../shared/aws/dynamodb.ts";

const answering = (response: () => Promise<Response>, more: Partial<DynamoOptions> = {}) =>
  createDynamo({
    endpoint: "http://127.0.0.1:1",
    region: "us-east-1",
    credentials: () => ({ accessKeyId: "a", secretAccessKey: "b" }),
    timeoutMs: 5000,
    fetch: response,
    ...more,
  });
const failing = (status: number, type: string, message = "why") =>
  answering(
    async () => new Response(JSON.stringify({ __type: `com.amazonaws#${type}`, message }), { status }),
  );

test.each<[string, number, string, string]>([
  ["throttling, which comes as a 400", 400, "ProvisionedThroughputExceededException", "throttled"],
  ["throttling that no model names", 400, "ThrottlingException", "throttled"],
  ["a condition that failed", 400, "ConditionalCheckFailedException", "refused"],
  ["a server's fault", 500, "InternalServerError", "unavailable"],
])("%s", async (_name, status, type, kind) => {
  expect(await failing(status, type).call("T.Op", "{}")).toMatchObject({ kind });
});

test("what is no answer of DynamoDB's is said", async () => {
  const dynamo = answering(async () => new Response("<html>", { status: 403 }));
  expect(await dynamo.call("T.Op", "{}")).toMatchObject({ kind: "refused", errorType: "Unreadable" });
});

test("a broken connection and a silent server are unavailable", async () => {
  const broken = answering(() => Promise.reject(new Error("reset")));
  expect(await broken.call("T.Op", "{}")).toEqual({ kind: "unavailable", message: "reset" });
  const silent = answering(() => new Promise(() => undefined), { timeoutMs: 50 });
  expect(await silent.call("T.Op", "{}")).toEqual({ kind: "unavailable", message: "no answer within 50 ms" });
});

test("a call that had no answer in its time leaves no connection open", async () => {
  let open = 0;
  const server = createServer((socket) => {
    open += 1;
    socket.resume().on("error", () => undefined);
    socket.on("close", () => (open -= 1));
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const { port } = server.address() as AddressInfo;
  const dynamo = createDynamo({
    endpoint: `http://127.0.0.1:${port}`,
    region: "us-east-1",
    credentials: () => ({ accessKeyId: "a", secretAccessKey: "b" }),
    timeoutMs: 300,
  });
  expect(await dynamo.call("T.Op", "{}")).toMatchObject({ kind: "unavailable" });
  await expect.poll(() => open).toBe(0);
  server.close();
});

test("calls of one session time out each on its own", async () => {
  const isSilent = (init: RequestInit | undefined) =>
    new Headers(init?.headers).get("X-Amz-Target") === "T.Silent";
  const dynamo = createDynamo({
    endpoint: "http://127.0.0.1:1",
    region: "us-east-1",
    credentials: () => ({ accessKeyId: "a", secretAccessKey: "b" }),
    timeoutMs: 500,
    fetch: (_input, init) =>
      isSilent(init) ? new Promise(() => undefined) : Promise.resolve(new Response("{}")),
  });
  const session = dynamo.open();
  const targets = ["T.Silent", "T.Op", "T.Silent", "T.Op"];
  const answers = await Promise.all(
    targets.map((target) => session.call(target, new TextEncoder().encode("{}"))),
  );
  session.close();
  expect(answers.map(({ kind }) => kind)).toEqual(["unavailable", "ok", "unavailable", "ok"]);
});

test("credentials that cannot be had are the caller's to hear of", async () => {
  const dynamo = answering(async () => new Response("{}"), {
    credentials: () => Promise.reject(new Error("no credentials")),
  });
  await expect(dynamo.call("T.Op", "{}")).rejects.toThrow("no credentials");
});
