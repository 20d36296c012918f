/**
 * A source's signature of its requests, server to server: `X-Varve-Signature: t=<unix seconds>,v1=<hex>`,
 * where v1 is HMAC-SHA256 of `<t>.<body as sent>` under the source's secret. A request outside the window is
 * a replay; one replayed inside it changes nothing where its events have messageIds and times.
 */
const HEADER = /^t=(\d{1,12}),v1=([0-9a-f]{64})$/;
export const SIGNATURE_WINDOW_S = 300;

export type SignatureCheck = "valid" | "absent" | "stale" | "wrong";

const encoder = new TextEncoder();

function fromHex(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(text.length / 2);
  for (let at = 0; at < bytes.length; at++) bytes[at] = Number.parseInt(text.slice(at * 2, at * 2 + 2), 16);
  return bytes;
}

function signedBytes(seconds: string, body: Uint8Array): Uint8Array<ArrayBuffer> {
  const prefix = encoder.encode(`${seconds}.`);
  const bytes = new Uint8Array(prefix.length + body.length);
  bytes.set(prefix);
  bytes.set(body, prefix.length);
  return bytes;
}

export async function checkSignature(
  header: string | null,
  secret: string,
  body: Uint8Array,
  nowMs: number,
): Promise<SignatureCheck> {
  const [, seconds, signature] = HEADER.exec(header ?? "") ?? [];
  if (seconds === undefined || signature === undefined) return "absent";
  if (Math.abs(nowMs / 1000 - Number(seconds)) > SIGNATURE_WINDOW_S) return "stale";
  const key = await crypto.subtle.importKey(
    "raw",
    encoder.encode(secret),
    { name: "HMAC", hash: "SHA-256" },
    false,
    ["verify"],
  );
  // crypto.subtle.verify compares in constant time.
  const valid = await crypto.subtle.verify("HMAC", key, fromHex(signature), signedBytes(seconds, body));
  return valid ? "valid" : "wrong";
}
