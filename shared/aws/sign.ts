/**
 * AWS Signature Version 4 for calls whose path is `/` and that have no query, which is all that DynamoDB
 * takes. Against aws4fetch it saves parsing the URL and building Headers at each call, and imports the
 * derived key once a day: half the cost of signing.
 */
export type AwsCredentials = {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
};

export type Signable = {
  readonly host: string;
  readonly region: string;
  readonly service: string;
  readonly target: string;
  readonly body: Uint8Array;
  readonly credentials: AwsCredentials;
  readonly nowMs: number;
};

export type Signer = (call: Signable) => Promise<Record<string, string>>;

const encoder = new TextEncoder();
const HMAC = { name: "HMAC", hash: "SHA-256" };
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

function hex(buffer: ArrayBuffer): string {
  let text = "";
  for (const byte of new Uint8Array(buffer)) text += HEX[byte];
  return text;
}

const importKey = (raw: BufferSource): Promise<CryptoKey> =>
  crypto.subtle.importKey("raw", raw, HMAC, false, ["sign"]);

const hmac = (key: CryptoKey, text: string): Promise<ArrayBuffer> =>
  crypto.subtle.sign("HMAC", key, encoder.encode(text));

async function deriveKey(secret: string, day: string, region: string, service: string): Promise<CryptoKey> {
  let key = await importKey(encoder.encode(`AWS4${secret}`));
  for (const part of [day, region, service, "aws4_request"]) key = await importKey(await hmac(key, part));
  return key;
}

/** Holds the derived key of the day; a new day, region or secret derives another. */
export function createSigner(): Signer {
  let keyName = "";
  // The key and not its promise: in Workers a promise that another request made may never settle here.
  let key: CryptoKey | null = null;
  let secondMs = -1;
  let datetime = "";

  return async ({ host, region, service, target, body, credentials, nowMs }) => {
    const second = Math.trunc(nowMs / 1000);
    if (second !== secondMs) {
      secondMs = second;
      datetime = `${new Date(second * 1000).toISOString().slice(0, 19).replaceAll(/[-:]/g, "")}Z`;
    }
    const signedAt = datetime;
    const day = signedAt.slice(0, 8);
    const { accessKeyId, secretAccessKey, sessionToken } = credentials;
    const name = `${day} ${region} ${service} ${secretAccessKey}`;
    let signingKey = key;
    if (signingKey === null || name !== keyName) {
      signingKey = await deriveKey(secretAccessKey, day, region, service);
      keyName = name;
      key = signingKey;
    }
    const tokenLine = sessionToken === undefined ? "" : `x-amz-security-token:${sessionToken}\n`;
    const names =
      sessionToken === undefined
        ? "host;x-amz-date;x-amz-target"
        : "host;x-amz-date;x-amz-security-token;x-amz-target";
    const bodyHash = hex(await crypto.subtle.digest("SHA-256", body));
    const canonical = `POST\n/\n\nhost:${host}\nx-amz-date:${signedAt}\n${tokenLine}x-amz-target:${target}\n\n${names}\n${bodyHash}`;
    const scope = `${day}/${region}/${service}/aws4_request`;
    const canonicalHash = hex(await crypto.subtle.digest("SHA-256", encoder.encode(canonical)));
    const signature = await hmac(signingKey, `AWS4-HMAC-SHA256\n${signedAt}\n${scope}\n${canonicalHash}`);
    const headers: Record<string, string> = {
      "Content-Type": "application/x-amz-json-1.0",
      "X-Amz-Target": target,
      "X-Amz-Date": signedAt,
      Authorization: `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${scope}, SignedHeaders=${names}, Signature=${hex(signature)}`,
    };
    if (sessionToken !== undefined) headers["X-Amz-Security-Token"] = sessionToken;
    return headers;
  };
}
