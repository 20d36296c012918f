import { expect, test } from "vitest";
import { batchesOf, putsOf } from "../../edge/batch.ts";
import type { Puts } from "../../edge/items.ts";
import { packSpill, spill, unpackSpill, workFor } from "../../edge/spill.ts";
import { systemClock } from "../../shared/clock.ts";
import type { TableWork } from "../../edge/table.ts";

const putOf = (index: number, bytes: number): Puts => ({
  bytes: new TextEncoder().encode(JSON.stringify({ PutRequest: `${index}"é`.padEnd(bytes, "x") })),
  indexes: [index],
});
const work = (puts: number, bytes: number, updates = 0): TableWork => ({
  batches: batchesOf(
    "varve",
    Array.from({ length: puts }, (_, index) => putOf(index, bytes)),
  ),
  updates: Array.from({ length: updates }, (_, index) => ({
    set: `s${index}`,
    fill: `f${index}`,
    indexes: [index],
  })),
});

const textOf = ({ bytes }: Puts): string => new TextDecoder().decode(bytes);
const textsOf = ({ batches }: TableWork): string[] => batches.flatMap(putsOf).map(textOf);

test("what is packed comes out again, in messages and calls within the platform's limits", () => {
  const sent = work(300, 3_000, 50);
  const packed = packSpill("eu", sent);
  if (packed.kind !== "packed") throw new Error("too large");
  for (const call of packed.calls) {
    const sizes = call.map((text) => Buffer.byteLength(text));
    expect(Math.max(...sizes)).toBeLessThan(128_000);
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThan(256_000);
    expect(call.length).toBeLessThanOrEqual(100);
  }
  const unpacked = packed.calls.flat().map(unpackSpill);
  expect(unpacked.every((one) => one?.region === "eu")).toBe(true);
  expect(unpacked.flatMap((one) => one?.puts.map(textOf) ?? [])).toEqual(textsOf(sent));
  expect(unpacked.flatMap((one) => one?.updates.map(({ set }) => set) ?? [])).toHaveLength(50);
});

test("what is drained goes to the table that its region has by then", () => {
  const put = new TextEncoder().encode('{"PutRequest":{"Item":{}}}');
  const update = (fill: string) =>
    `{"TableName":"typo","Key":{"pk":{"S":"o#a#b#c"}},"UpdateExpression":"${fill}"}`;
  const packed = packSpill("eu", {
    batches: batchesOf("typo", [{ bytes: put, indexes: [0] }]),
    updates: [{ set: update("SET 1"), fill: update("SET 2"), indexes: [0] }],
  });
  const unpacked = packed.kind === "packed" ? unpackSpill(packed.calls[0]?.[0]) : null;
  if (unpacked === null) throw new Error("nothing was packed");
  const { batches, updates } = workFor("varve", unpacked);
  expect(batches.map(({ table }) => table)).toEqual(["varve"]);
  const texts = updates.flatMap(({ set, fill }) => [set, fill]);
  expect(texts.map((text) => JSON.parse(text) as object)).toEqual(
    ["SET 1", "SET 2"].map((expression) => ({
      ...(JSON.parse(update(expression)) as object),
      TableName: "varve",
    })),
  );
});

test("what no message can hold is not half spilled", async () => {
  const calls: unknown[] = [];
  const queue = { sendBatch: async (messages: Iterable<unknown>) => calls.push([...messages]) };
  expect(await spill(queue, "eu", work(2, 130_000), systemClock)).toBe(false);
  expect(calls).toEqual([]);
  expect(await spill(queue, "eu", work(2, 100), systemClock)).toBe(true);
  expect(await spill(null, "eu", work(1, 10), systemClock)).toBe(false);
});

test("a queue that fails is no place to keep anything", async () => {
  const queue = { sendBatch: () => Promise.reject(new Error("down")) };
  expect(await spill(queue, "eu", work(1, 10), systemClock)).toBe(false);
});

test("a queue that does not answer is given up", async () => {
  const queue = { sendBatch: () => new Promise(() => undefined) };
  const clock = { ...systemClock, sleep: () => Promise.resolve() };
  expect(await spill(queue, "eu", work(1, 10), clock)).toBe(false);
});

test.each([[null], ["{"], ['{"v":2,"region":"eu"}'], [{ v: 1 }]])("%j is none of ours", (body) => {
  expect(unpackSpill(body)).toBeNull();
});
