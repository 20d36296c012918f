/** Addresses under which whoever has them may GET an object until they expire: Signature Version 4 in the query. */
import { defaultProvider } from "@aws-sdk/credential-provider-node";
import { AwsV4Signer } from "aws4fetch";
import { VarveError } from "../errors.ts";
import type { S3Config } from "./s3.ts";
import type { AwsCredentials } from "./sign.ts";

/** S3 allows a week at most; credentials of a role may end before the address does. */
export const URL_VALID_MS = 3_600_000;

/** @param key below the store's prefix */
export type Presigner = (key: string, nowMs: number) => Promise<string>;

/** Takes the store's credentials, or those that the AWS SDK finds. Throws `no_credentials`. */
export async function openPresigner(
  config: S3Config,
  find: () => Promise<AwsCredentials> = defaultProvider(),
): Promise<Presigner> {
  const credentials: AwsCredentials =
    config.credentials ??
    (await find().catch((error: unknown) => {
      throw noCredentials(error);
    }));
  const { accessKeyId, secretAccessKey, sessionToken } = credentials;
  const { region } = config;
  return async (key, nowMs) => {
    const url = objectUrl(config, key);
    url.searchParams.set("X-Amz-Expires", String(URL_VALID_MS / 1000));
    const signed = await new AwsV4Signer({
      service: "s3",
      signQuery: true,
      url: url.href,
      region,
      accessKeyId,
      secretAccessKey,
      ...(sessionToken === undefined ? {} : { sessionToken }),
      datetime: new Date(nowMs).toISOString().replaceAll(/[:-]|\.\d{3}/g, ""),
    }).sign();
    return signed.url.href;
  };
}

/** Where the SDK would ask for it: the bucket in the host at AWS, unless its dots would not fit the certificate. */
function objectUrl({ bucket, prefix, region, endpoint }: S3Config, key: string): URL {
  const path = (prefix + key).split("/").map(encoded).join("/");
  if (endpoint !== undefined) return new URL(`${endpoint.replace(/\/+$/, "")}/${bucket}/${path}`);
  const host = `s3.${region}.amazonaws.com${region.startsWith("cn-") ? ".cn" : ""}`;
  return new URL(
    bucket.includes(".") ? `https://${host}/${bucket}/${path}` : `https://${bucket}.${host}/${path}`,
  );
}

/** As RFC 3986 has it: Miniflare compares the path that was sent with the signature, not the one it means. */
const encoded = (segment: string): string =>
  encodeURIComponent(segment).replaceAll(
    /[!'()*]/g,
    (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`,
  );

function noCredentials(error: unknown): VarveError {
  const why = error instanceof Error ? error.message || error.name : String(error);
  return new VarveError(
    "no_credentials",
    `there are no credentials to sign addresses with: ${why}`,
    "Set S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile, or a role.",
    error,
  );
}
