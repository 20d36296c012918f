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

function hex(buffer: ArrayBuffer | Uint8Array): string {
  let text = "";
  for (const byte of new Uint8Array(buffer)) text += HEX[byte];
  return text;
}

type Digest = Promise<ArrayBuffer> | Uint8Array;
type Keyed = (bytes: Uint8Array) => Digest;

/** SHA-256, alone and keyed. */
export type Sha256 = {
  readonly digest: (bytes: Uint8Array) => Digest;
  readonly keyed: (secret: Uint8Array) => Promise<Keyed> | Keyed;
};

const WEB_SHA256: Sha256 = {
  digest: (bytes) => crypto.subtle.digest("SHA-256", bytes),
  keyed: async (secret) => {
    const key = await crypto.subtle.importKey("raw", secret, HMAC, false, ["sign"]);
    return (bytes) => crypto.subtle.sign("HMAC", key, bytes);
  },
};

/** Holds the derived key of the day; a new day, region or secret derives another. */
export function createSigner({ digest, keyed }: Sha256 = WEB_SHA256): Signer {
  let keyName = "";
  // The key and not its promise: in Workers a promise that another request made may never settle here.
  let key: Keyed | null = null;
  let secondMs = -1;
  let datetime = "";

  const derive = async (secret: string, ...scope: readonly string[]): Promise<Keyed> => {
    let derived = await keyed(encoder.encode(`AWS4${secret}`));
    for (const part of scope) derived = await keyed(new Uint8Array(await derived(encoder.encode(part))));
    return derived;
  };

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
      signingKey = await derive(secretAccessKey, day, region, service, "aws4_request");
      keyName = name;
      key = signingKey;
    }
    const tokenLine = sessionToken === undefined ? "" : `x-amz-security-token:${sessionToken}\n`;
    const names =
      sessionToken === undefined
        ? "host;x-amz-date;x-amz-target"
        : "host;x-amz-date;x-amz-security-token;x-amz-target";
    const bodyHash = hex(await digest(body));
    const canonical = `POST\n/\n\nhost:${host}\nx-amz-date:${signedAt}\n${tokenLine}x-amz-target:${target}\n\n${names}\n${bodyHash}`;
    const scope = `${day}/${region}/${service}/aws4_request`;
    const canonicalHash = hex(await digest(encoder.encode(canonical)));
    const toSign = `AWS4-HMAC-SHA256\n${signedAt}\n${scope}\n${canonicalHash}`;
    const signature = await signingKey(encoder.encode(toSign));
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
