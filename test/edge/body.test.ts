/** Bodies whose length nobody tells, around the size of one read, over a real socket. */
import { once } from "node:events";
import { request as httpRequest } from "node:http";
import type { IncomingMessage } from "node:http";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startEdgeHost } from "../support/edge-host.ts";
import type { EdgeHost } from "../support/edge-host.ts";

const READ_BYTES = 64 * 1024;
let edge: EdgeHost;
beforeAll(async () => {
  edge = await startEdgeHost({ wk: { id: "body" } });
});
afterAll(() => edge.stop());

/** A batch of exactly so many bytes, in events small enough to be taken. */
function batchOf(name: string, bytes: number): { readonly text: string; readonly ids: readonly string[] } {
  const ids = Array.from({ length: Math.ceil(bytes / 20_000) }, (_, n) => `${name}-${n}`);
  const event = (messageId: string, pad: number) => ({
    type: "track",
    event: "e",
    userId: "u",
    messageId,
    properties: { pad: "x".repeat(pad) },
  });
  const textOf = (pads: readonly number[]) =>
    JSON.stringify({ writeKey: "wk", batch: ids.map((id, n) => event(id, pads[n] ?? 0)) });
  const room = bytes - textOf([]).length;
  const each = Math.floor(room / ids.length);
  return { text: textOf(ids.map((_, n) => (n === 0 ? room - each * (ids.length - 1) : each))), ids };
}

async function post(body: Uint8Array, pieceBytes: number): Promise<{ status: number; text: string }> {
  const request = httpRequest(`${edge.url}/v1/batch`, {
    method: "POST",
    headers: { "transfer-encoding": "chunked" },
  });
  for (let at = 0; at < body.length; at += pieceBytes) request.write(body.subarray(at, at + pieceBytes));
  request.end();
  const [response] = (await once(request, "response")) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return { status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() };
}

describe.each([
  ["plain", (text: string): Uint8Array => Buffer.from(text)],
  ["gzip", (text: string): Uint8Array => gzipSync(text)],
])("%s", (encoding, encode) => {
  test.each([1_000, READ_BYTES - 1, READ_BYTES, READ_BYTES + 1, 3 * READ_BYTES, 400_000])(
    "%i bytes",
    async (bytes) => {
      const { text, ids } = batchOf(`${encoding}-${bytes}`, bytes);
      expect(text).toHaveLength(bytes);
      expect(await post(encode(text), 7_001)).toEqual({ status: 200, text: '{"success":true}' });
      const items = await edge.items("body");
      expect(ids.filter((id) => !items.has(`e#body#${id}`))).toEqual([]);
    },
  );

  test("more than a request may hold is refused, and answered", async () => {
    const { text } = batchOf("large", 3_000_000);
    expect((await post(encode(text), READ_BYTES)).status).toBe(400);
  });
});
