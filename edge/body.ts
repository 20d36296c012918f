/**
 * A request's body, whatever its headers say: gzip by its first bytes, a cap that counts while it decodes, BOM
 * stripped from its text.
 */
import { refused, REQUEST_LIMITS } from "./ingest.ts";
import type { Refused } from "./ingest.ts";

export type Body = {
  readonly kind: "body";
  readonly bytes: Uint8Array;
  /** As sent, perhaps compressed: what a signature is made over. */
  readonly sent: Uint8Array;
};

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false });
const lenient = new TextDecoder();

/** What is no UTF-8 becomes half a surrogate pair, which no id may hold, and which is replaced elsewhere. */
export function bodyText({ bytes }: Body): string {
  try {
    return strict.decode(bytes);
  } catch {
    return lenient.decode(bytes).replaceAll("\uFFFD", "\uD800");
  }
}

const tooLarge = refused(
  400,
  "too_large",
  `the body is larger than ${REQUEST_LIMITS.bytesMax} bytes once decoded`,
  "send fewer events in one request",
);
const badGzip = refused(
  400,
  "bad_gzip",
  "the body starts as gzip but is not one whole gzip member",
  "send it again, compressed whole",
);
const cutShort = refused(400, "body_cut_short", "the body ended before it was whole", "send it again");

/** Answering before the body has been read resets the client's connection, so up to this much is read on. */
const DRAIN_MAX = 8 * 1024 * 1024;

/** A plain read gives 4 KB, and each read waits for its turn at the isolate: a flood of them starves the rest. */
const CHUNK_BYTES = 64 * 1024;

type Read =
  | { readonly kind: "bytes"; readonly bytes: Uint8Array }
  | { readonly kind: "too_large" }
  | { readonly kind: "failed" };

/** Reads up to `bytesMax`; past it reads on into nothing until `drainMax`, then gives up the stream. */
async function readBytes(
  stream: ReadableStream<Uint8Array>,
  bytesMax: number,
  drainMax: number,
): Promise<Read> {
  const reader = stream.getReader({ mode: "byob" });
  const chunks: Uint8Array[] = [];
  let size = 0;
  let buffer = new ArrayBuffer(CHUNK_BYTES);
  try {
    for (;;) {
      const { done, value } = await reader.readAtLeast(CHUNK_BYTES, new Uint8Array(buffer));
      if (done || value === undefined) break;
      size += value.byteLength;
      if (size <= bytesMax) {
        chunks.push(value);
        buffer = new ArrayBuffer(CHUNK_BYTES);
      } else buffer = value.buffer;
      if (size > drainMax) {
        // The stream is given up: how its cancelling fares matters to nobody.
        reader.cancel().catch(() => undefined);
        break;
      }
    }
  } catch {
    return { kind: "failed" };
  }
  if (size > bytesMax) return { kind: "too_large" };
  const only = chunks[0];
  if (chunks.length === 1 && only !== undefined) return { kind: "bytes", bytes: only };
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.byteLength;
  }
  return { kind: "bytes", bytes };
}

function isGzip(bytes: Uint8Array): boolean {
  return bytes[0] === 0x1f && bytes[1] === 0x8b;
}

async function gunzip(bytes: Uint8Array): Promise<Body | Refused> {
  const unzip = new DecompressionStream("gzip");
  const writer = unzip.writable.getWriter();
  // Both fail when the gzip is broken or given up; the reading side tells us so.
  writer.write(bytes).catch(() => undefined);
  writer.close().catch(() => undefined);
  const read = await readBytes(unzip.readable, REQUEST_LIMITS.bytesMax, REQUEST_LIMITS.bytesMax);
  if (read.kind === "too_large") return tooLarge;
  return read.kind === "failed" ? badGzip : { kind: "body", bytes: read.bytes, sent: bytes };
}

/** A length that is told is one that HTTP holds the client to; reading in one go is then safe, and much cheaper. */
async function readWhole(request: Request): Promise<Read> {
  try {
    return { kind: "bytes", bytes: new Uint8Array(await request.arrayBuffer()) };
  } catch {
    return { kind: "failed" };
  }
}

function isShort(request: Request): boolean {
  const length = request.headers.get("Content-Length");
  return length !== null && /^\d+$/.test(length) && Number(length) <= REQUEST_LIMITS.bytesMax;
}

/** Asking for `request.body` makes a stream of it, which a body that is read whole does not need. */
async function readSent(request: Request): Promise<Read> {
  if (isShort(request)) return readWhole(request);
  if (request.body === null) return { kind: "bytes", bytes: new Uint8Array(0) };
  return readBytes(request.body, REQUEST_LIMITS.bytesMax, DRAIN_MAX);
}

export async function readBody(request: Request): Promise<Body | Refused> {
  const read = await readSent(request);
  if (read.kind === "too_large") return tooLarge;
  if (read.kind === "failed") return cutShort;
  if (isGzip(read.bytes)) return gunzip(read.bytes);
  return { kind: "body", bytes: read.bytes, sent: read.bytes };
}

/** Reads a body that nobody wants, before an error is answered. */
export async function drainBody(request: Request): Promise<void> {
  if (request.body === null || request.bodyUsed) return;
  await readBytes(request.body, 0, DRAIN_MAX);
}
