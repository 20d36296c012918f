/** What the SDKs that no test here can run put on the wire, read from their code. */
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, test } from "vitest";
import { bodiesOf, startEdgeHost } from "../support/edge-host.ts";
import type { EdgeHost } from "../support/edge-host.ts";

const KEY = "wk-wire";
const BASIC = { authorization: `Basic ${btoa(`${KEY}:`)}` };
const event = (more: object = {}) => ({ type: "track", event: "Paid", userId: "u", ...more });

type Shape = {
  readonly name: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: unknown;
  readonly gzip?: boolean;
  readonly chunked?: boolean;
  /** What the stored event must say. */
  readonly stored: Readonly<Record<string, unknown>>;
};

const SHAPES: readonly Shape[] = [
  {
    name: "analytics-python",
    path: "/v1/batch",
    headers: { "content-type": "application/json" },
    body: {
      batch: [
        event({
          messageId: "python",
          timestamp: "2026-11-23T10:00:00.123456+00:00",
          context: { library: { name: "analytics-python" } },
        }),
      ],
      sentAt: new Date().toISOString(),
      writeKey: KEY,
    },
    stored: { timestamp: "2026-11-23T10:00:00.123Z", originalTimestamp: "2026-11-23T10:00:00.123456+00:00" },
  },
  {
    name: "analytics-go",
    path: "/v1/batch",
    headers: { ...BASIC, "content-type": "application/json" },
    body: {
      messageId: "of-the-batch",
      sentAt: "2026-11-23T10:00:01.123456789Z",
      context: { library: { name: "analytics-go" } },
      batch: [event({ messageId: "go", timestamp: new Date().toISOString().replace("Z", "456789Z") })],
    },
    stored: { messageId: "go", context: { library: { name: "analytics-go" } } },
  },
  {
    name: "analytics-java",
    path: "/v1/import/",
    headers: { ...BASIC, "content-type": "application/json; charset=utf-8" },
    body: {
      sentAt: new Date().toISOString(),
      sequence: 1,
      writeKey: KEY,
      context: { library: { name: "analytics-java" } },
      batch: [event({ messageId: "java", integrations: {} })],
    },
    stored: { context: { library: { name: "analytics-java" } } },
  },
  {
    name: "analytics-ruby",
    path: "/v1/import",
    headers: { ...BASIC, "content-type": "application/json" },
    body: { sentAt: new Date().toISOString(), batch: [event({ messageId: "ruby", userId: 42 })] },
    stored: { userId: "42" },
  },
  {
    name: "analytics-php, its empty objects lists, compressed",
    path: "/v1/batch",
    headers: { ...BASIC, "content-type": "application/json", "content-encoding": "gzip" },
    gzip: true,
    body: {
      batch: [event({ messageId: "php", properties: [], context: [] })],
      sentAt: new Date().toISOString(),
    },
    stored: { context: {} },
  },
  {
    name: "analytics-swift",
    path: "/v1/b",
    headers: { "content-type": "application/json; charset=utf-8" },
    body: {
      writeKey: KEY,
      sentAt: new Date().toISOString(),
      batch: [event({ messageId: "swift", anonymousId: "a" })],
    },
    stored: { anonymousId: "a" },
  },
  {
    name: "analytics-kotlin, gzip under text/plain, chunked",
    path: "/v1/b",
    headers: { "content-type": "text/plain", "content-encoding": "gzip" },
    gzip: true,
    chunked: true,
    body: {
      writeKey: KEY,
      sentAt: new Date().toISOString(),
      batch: [event({ messageId: "kotlin", _metadata: { bundled: [] } })],
    },
    stored: { _metadata: { bundled: [] } },
  },
  {
    name: "Analytics-CSharp, without Content-Type",
    path: "/v1/b",
    headers: {},
    gzip: true,
    body: {
      writeKey: KEY,
      sentAt: new Date().toISOString(),
      batch: [event({ messageId: "csharp", integrations: null })],
    },
    stored: { integrations: {} },
  },
  {
    name: "rudder: originalTimestamp in the event, timestamp on the envelope",
    path: "/v1/batch",
    headers: { ...BASIC, anonymousid: "x", "content-type": "application/json" },
    body: {
      timestamp: "2026-11-23T10:00:05.000Z",
      batch: [
        event({
          messageId: "rudder",
          channel: "web",
          originalTimestamp: "2026-11-23T10:00:00.000Z",
          sentAt: "bad",
        }),
      ],
    },
    stored: {
      channel: "web",
      originalTimestamp: "2026-11-23T10:00:00.000Z",
      timestamp: "2026-11-23T10:00:00.000Z",
    },
  },
];

let edge: EdgeHost;
beforeAll(async () => {
  edge = await startEdgeHost({ [KEY]: { id: "wire" } });
});
afterAll(() => edge.stop());

function inChunks(bytes: Uint8Array): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>({
    start(controller) {
      for (let at = 0; at < bytes.length; at += 50) controller.enqueue(bytes.subarray(at, at + 50));
      controller.close();
    },
  });
}

test.each(SHAPES)("$name", async ({ path, headers, body, gzip, chunked, stored }) => {
  const text = Buffer.from(JSON.stringify(body));
  const bytes = gzip === true ? gzipSync(text) : text;
  const sent: RequestInit & { duplex?: "half" } =
    chunked === true ? { body: inChunks(bytes), duplex: "half" } : { body: bytes };
  const response = await fetch(`${edge.url}${path}`, { method: "POST", headers, ...sent });
  expect([response.status, await response.json()]).toEqual([200, { success: true }]);
  const { messageId } = ((body as { batch: { messageId: string }[] }).batch[0] ?? {}) as {
    messageId: string;
  };
  const kept = bodiesOf(await edge.items("wire")).find((one) => one["messageId"] === messageId);
  expect(kept).toMatchObject(stored);
  expect(JSON.stringify(kept)).not.toContain(KEY);
});
