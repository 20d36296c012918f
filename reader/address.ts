/** From an address to the store behind it. */
import { fileURLToPath } from "node:url";
import { openS3Store } from "../shared/aws/s3.ts";
import { openDirectoryStore } from "../shared/directory.ts";
import { VarveError } from "../shared/errors.ts";
import { parseRoot } from "../shared/keys.ts";
import type { ObjectStore } from "../shared/store.ts";

/** Where an `s3://` address is served, and by whose leave. All default to the usual variables of the environment. */
export type S3Options = {
  /** An S3 other than AWS's, such as `https://<account>.r2.cloudflarestorage.com`. Default: S3_ENDPOINT. */
  readonly endpoint?: string | undefined;
  /** Default: S3_REGION, AWS_REGION, `us-east-1`. For R2: `auto`. */
  readonly region?: string | undefined;
  /** Default: S3_ACCESS_KEY_ID with S3_SECRET_ACCESS_KEY, or whatever the AWS SDK finds (profiles and roles work). */
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string } | undefined;
  /** How long a request may go without a byte passing, ms. Default: 30,000. */
  readonly timeoutMs?: number | undefined;
};

export type OpenStore = ObjectStore & { readonly close: () => void };

type Environment = Readonly<Record<string, string | undefined>>;

/** @param address `s3://bucket/prefix/region/table`, or `file:///directory` */
export function openStore(
  address: string,
  options: S3Options = {},
  env: Environment = process.env,
): OpenStore {
  if (address.startsWith("file:")) {
    return { ...openDirectoryStore(directoryOf(address)), close: () => undefined };
  }
  const root = parseRoot(address);
  if (root === null) {
    throw new VarveError(
      "bad_address",
      `${JSON.stringify(address)} is not the address of a changelog.`,
      "Give s3://bucket/prefix/region/table, or file:///directory.",
    );
  }
  const { S3_ACCESS_KEY_ID: accessKeyId, S3_SECRET_ACCESS_KEY: secretAccessKey } = env;
  const found =
    accessKeyId === undefined || secretAccessKey === undefined ? undefined : { accessKeyId, secretAccessKey };
  return openS3Store({
    ...root,
    region: options.region ?? env["S3_REGION"] ?? env["AWS_REGION"] ?? "us-east-1",
    endpoint: options.endpoint ?? env["S3_ENDPOINT"],
    credentials: options.credentials ?? found,
    ...(options.timeoutMs === undefined ? {} : { timeoutMs: options.timeoutMs }),
  });
}

export function directoryOf(address: string): string {
  try {
    return fileURLToPath(address);
  } catch (cause) {
    throw new VarveError(
      "bad_address",
      `${JSON.stringify(address)} is not the address of a directory.`,
      "Give it with three slashes and its whole path: file:///directory.",
      cause,
    );
  }
}
