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
const HEX_DIGITS = encoder.encode("0123456789abcdef");

function hex(digest: ArrayBuffer | Uint8Array): string {
  let text = "";
  for (const byte of new Uint8Array(digest)) text += HEX[byte];
  return text;
}

/** `start`, and a digest in hex. */
function withHex(start: Uint8Array, digest: ArrayBuffer | Uint8Array): Uint8Array {
  const bytes = new Uint8Array(start.length + 2 * digest.byteLength);
  bytes.set(start);
  let at = start.length;
  for (const byte of new Uint8Array(digest)) {
    bytes[at++] = HEX_DIGITS[byte >> 4] as number;
    bytes[at++] = HEX_DIGITS[byte & 15] as number;
  }
  return bytes;
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

/** What does not change from one call to the next of a second, before the digest that each ends with. */
type Starts = {
  readonly canonical: Uint8Array;
  readonly toSign: Uint8Array;
  readonly authorization: string;
};

function startsOf(call: Signable, datetime: string): Starts {
  const { host, region, service, target, credentials } = call;
  const { accessKeyId, sessionToken } = credentials;
  const tokenLine = sessionToken === undefined ? "" : `x-amz-security-token:${sessionToken}\n`;
  const names =
    sessionToken === undefined
      ? "host;x-amz-date;x-amz-target"
      : "host;x-amz-date;x-amz-security-token;x-amz-target";
  const scope = `${datetime.slice(0, 8)}/${region}/${service}/aws4_request`;
  return {
    canonical: encoder.encode(
      `POST\n/\n\nhost:${host}\nx-amz-date:${datetime}\n${tokenLine}x-amz-target:${target}\n\n${names}\n`,
    ),
    toSign: encoder.encode(`AWS4-HMAC-SHA256\n${datetime}\n${scope}\n`),
    authorization: `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${scope}, SignedHeaders=${names}, Signature=`,
  };
}

/** Holds the derived key of the day; a new day, region or secret derives another. */
export function createSigner({ digest, keyed }: Sha256 = WEB_SHA256): Signer {
  let keyName = "";
  // The key and not its promise: in Workers a promise that another request made may never settle here.
  let key: Keyed | null = null;
  let secondMs = -1;
  let datetime = "";
  let starts: Starts | null = null;
  let startsName = "";

  const derive = async (secret: string, ...scope: readonly string[]): Promise<Keyed> => {
    let derived = await keyed(encoder.encode(`AWS4${secret}`));
    for (const part of scope) derived = await keyed(new Uint8Array(await derived(encoder.encode(part))));
    return derived;
  };

  return async (call) => {
    const { host, region, service, target, body, credentials, nowMs } = call;
    const { accessKeyId, secretAccessKey, sessionToken } = credentials;
    const second = Math.trunc(nowMs / 1000);
    if (second !== secondMs) {
      secondMs = second;
      datetime = `${new Date(second * 1000).toISOString().slice(0, 19).replaceAll(/[-:]/g, "")}Z`;
    }
    const signedAt = datetime;
    const day = signedAt.slice(0, 8);
    const name = `${day} ${region} ${service} ${secretAccessKey}`;
    const callName = `${signedAt} ${host} ${region} ${service} ${target} ${accessKeyId} ${sessionToken ?? ""}`;
    if (starts === null || callName !== startsName) {
      starts = startsOf(call, signedAt);
      startsName = callName;
    }
    const { canonical, toSign, authorization } = starts;
    let signingKey = key;
    if (signingKey === null || name !== keyName) {
      signingKey = await derive(secretAccessKey, day, region, service, "aws4_request");
      keyName = name;
      key = signingKey;
    }
    const request = withHex(canonical, await digest(body));
    const signature = await signingKey(withHex(toSign, await digest(request)));
    const headers: Record<string, string> = {
      "Content-Type": "application/x-amz-json-1.0",
      "X-Amz-Target": target,
      "X-Amz-Date": signedAt,
      Authorization: authorization + hex(signature),
    };
    if (sessionToken !== undefined) headers["X-Amz-Security-Token"] = sessionToken;
    return headers;
  };
}
