/** What requests hold while they wait for a slow table. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { expect, test } from "vitest";
import { startWorker } from "../../bench/worker-host.ts";
import { bundleWorker } from "../../local/worker-bundle.ts";

const ANSWER_AFTER_MS = 1_500;

test("rejected events do not wait as what they were parsed to", { timeout: 120_000 }, async () => {
  const table = createServer((request, response) => {
    request.resume().once("end", () => {
      setTimeout(() => response.end('{"UnprocessedItems":{}}'), ANSWER_AFTER_MS);
    });
  });
  await new Promise<void>((resolve) => {
    table.listen(0, "127.0.0.1", resolve);
  });
  const edge = await startWorker({
    modules: await bundleWorker(join(import.meta.dirname, "../../edge/worker.ts")),
    bindings: {
      DYNAMODB_ENDPOINT: `http://127.0.0.1:${(table.address() as AddressInfo).port}`,
      DYNAMODB_TABLE: "varve",
      AWS_REGION: "us-east-1",
      AWS_ACCESS_KEY_ID: "local",
      AWS_SECRET_ACCESS_KEY: "local",
    },
    kv: { SOURCES: { "key:wk": '{"id":"web"}' } },
  });
  // 27 KB of an event come to some 500 KB as values.
  const event = `{"type":"track","event":"e","x":[${"{},".repeat(9_000)}{}]}`;
  const body = `{"writeKey":"wk","batch":[${Array.from({ length: 16 }, () => event).join(",")}]}`;
  const send = async (): Promise<number> => {
    const response = await fetch(`${edge.url}/v1/batch`, { method: "POST", body });
    await response.arrayBuffer();
    return response.status;
  };
  try {
    const before = edge.memoryBytes();
    let most = 0;
    const watch = setInterval(() => (most = Math.max(most, edge.memoryBytes())), 20);
    for (let times = 0; times < 2; times++) {
      const statuses = await Promise.all(Array.from({ length: 60 }, send));
      // Past what an isolate can hold it sheds.
      expect(statuses.filter((status) => status === 200).length).toBeGreaterThan(15);
    }
    clearInterval(watch);
    expect((most - before) / 1e6).toBeLessThan(350);
  } finally {
    await edge.stop();
    table.closeAllConnections();
    table.close();
  }
});
