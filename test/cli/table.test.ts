/** The table when it does not give what it is asked for. */
import { createServer } from "node:http";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, test } from "vitest";
import { openTable } from "../../cli/table.ts";
import { systemClock } from "../../shared/clock.ts";

type Asked = { readonly RequestItems: { readonly items: { readonly Keys: readonly object[] } } };
type Answer = { readonly status: number; readonly body: object };

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

/** A table with the key `pk` that answers everything else by `answer`. */
async function open(answer: (operation: string, asked: Asked) => Answer) {
  const server = createServer((request, response) => {
    let text = "";
    request.on("data", (chunk: Buffer) => (text += chunk.toString()));
    request.on("end", () => {
      const operation = String(request.headers["x-amz-target"]).split(".")[1] ?? "";
      const { status, body } =
        operation === "DescribeTable"
          ? { status: 200, body: { Table: { KeySchema: [{ AttributeName: "pk", KeyType: "HASH" }] } } }
          : answer(operation, JSON.parse(text) as Asked);
      response.writeHead(status, { "content-type": "application/x-amz-json-1.0" });
      response.end(JSON.stringify(body));
    });
  });
  servers.push(server);
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const environment = {
    DYNAMODB_TABLE: "items",
    DYNAMODB_ENDPOINT: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    AWS_ACCESS_KEY_ID: "local",
    AWS_SECRET_ACCESS_KEY: "local",
  };
  return openTable(environment, { ...systemClock, sleep: () => Promise.resolve() });
}

const KEYS = Array.from({ length: 10 }, (_, index) => `{"pk":"o#shop#users#u${index}"}`);

test("items that an answer leaves out are asked for again", async () => {
  const table = await open((_, { RequestItems }) => {
    const [first, ...rest] = RequestItems.items.Keys;
    const left = rest.length === 0 ? {} : { items: { Keys: rest } };
    return { status: 200, body: { Responses: { items: [first] }, UnprocessedKeys: left } };
  });
  expect([...(await table.read(KEYS)).keys()].toSorted()).toEqual(KEYS);
});

test("items that are never given are not taken for absent", async () => {
  const table = await open((_, { RequestItems }) => ({
    status: 200,
    body: { Responses: {}, UnprocessedKeys: RequestItems },
  }));
  await expect(table.read(KEYS)).rejects.toMatchObject({
    code: "table_throttled",
    message: expect.stringContaining("10 items were not given"),
  });
});

test.each([
  ["AccessDeniedException", "table_forbidden", "OperatorPolicy"],
  ["ResourceNotFoundException", "no_table", "DYNAMODB_TABLE"],
  ["ValidationException", "table_unreachable", "credentials"],
])("%s of a scan says what to do", async (type, code, fix) => {
  const table = await open(() => ({ status: 400, body: { __type: `com.amazonaws#${type}`, message: "no" } }));
  await expect(Array.fromAsync(table.scan())).rejects.toMatchObject({
    code,
    fix: expect.stringContaining(fix),
  });
});

test("names with escapes, binary and numbers are as the table has them", async () => {
  const item = (pk: string, name: string) => ({
    pk: { S: pk },
    m: { M: { a: { S: "x" }, [name]: { S: "y" } } },
    b: { B: "AP8=" },
    n: { N: "12345678901234567890.10" },
  });
  const items = [item("1", "\\"), item("2", '"')];
  const table = await open((operation) => ({
    status: 200,
    body: operation === "Scan" ? { Items: items } : { Responses: { items } },
  }));
  const scanned = [];
  for await (const page of table.scan()) scanned.push(...page);
  expect(scanned).toEqual(items);
  expect(await table.scanSegment(0, 1, null)).toEqual({ items, cursor: null });
  expect([...(await table.read(['{"pk":"1"}', '{"pk":"2"}'])).values()]).toEqual(items);
});

test("a scan goes on from a key that has binary in it", async () => {
  const asked: unknown[] = [];
  const table = await open((_, request) => {
    const { ExclusiveStartKey: from } = request as unknown as { ExclusiveStartKey?: object };
    asked.push(from);
    return { status: 200, body: from === undefined ? { LastEvaluatedKey: { pk: { B: "AP8=" } } } : {} };
  });
  const { cursor } = await table.scanSegment(0, 1, null);
  expect(await table.scanSegment(0, 1, cursor)).toEqual({ items: [], cursor: null });
  for await (const page of table.scan()) expect(page).toEqual([]);
  expect(asked).toEqual([undefined, { pk: { B: "AP8=" } }, undefined, { pk: { B: "AP8=" } }]);
});
