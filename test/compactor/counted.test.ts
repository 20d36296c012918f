import { expect, test } from "vitest";
import { countedStore, countedStreams } from "../../compactor/counted.ts";
import type { Streams } from "../../compactor/stream.ts";
import { memoryStore } from "../fakes/store.ts";

function counting() {
  const counted: string[] = [];
  return {
    counted,
    called: (call: string) => void counted.push(call),
    retried: (call: string) => void counted.push(`${call} again`),
  };
}
const out = (): Promise<never> => Promise.reject(new Error("out"));

test("what fails is counted as made again, whatever was called", async () => {
  const counter = counting();
  const store = countedStore({ ...memoryStore(), get: out, delete: out }, counter);
  const streams = countedStreams({ describe: out } as unknown as Streams, counter);
  await expect(store.get("a")).rejects.toThrow("out");
  await expect(store.delete("a")).rejects.toThrow("out");
  await expect(streams.describe()).rejects.toThrow("out");
  expect(counter.counted).toEqual(
    ["S3 GET", "S3 DELETE", "DescribeStream"].flatMap((c) => [c, `${c} again`]),
  );
});

test("but not what was cut short by the order to stop", async () => {
  const counter = counting();
  const streams = countedStreams({ describe: out } as unknown as Streams, counter);
  await expect(streams.describe(AbortSignal.abort())).rejects.toThrow("out");
  expect(counter.counted).toEqual(["DescribeStream"]);
});
