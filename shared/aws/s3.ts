/** The object store over S3's protocol: AWS, R2, or any endpoint that honours If-None-Match and If-Match on PUT. */
import type { S3ClientConfig } from "@aws-sdk/client-s3";
import {
  DeleteObjectCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  NoSuchKey,
  PutObjectCommand,
  S3Client,
  S3ServiceException,
} from "@aws-sdk/client-s3";
import { VarveError } from "../errors.ts";
import type { ListedObject, ObjectStore, PutCondition, PutOutcome } from "../store.ts";
import { requestHandlerLimits } from "./limits.ts";

export type S3Config = {
  readonly bucket: string;
  /** Empty, or ends with `/`. */
  readonly prefix: string;
  readonly region: string;
  readonly endpoint?: string | undefined;
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string } | undefined;
  /** How long a request may go without a byte passing. */
  readonly timeoutMs?: number;
  readonly attemptsMax?: number;
  /** Keys in one answer to a list, at most. */
  readonly listPageMax?: number;
};

/** Counts of the requests made, for their price. */
export type S3Counts = { get: number; put: number; list: number; delete: number; bytesRead: number };

export function openS3Store(
  config: S3Config,
): ObjectStore & { readonly counts: S3Counts; readonly close: () => void } {
  const { bucket, prefix } = config;
  const clientConfig: S3ClientConfig = {
    region: config.region,
    forcePathStyle: config.endpoint !== undefined,
    maxAttempts: config.attemptsMax ?? 4,
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
    // The SDK otherwise waits seconds for `100 Continue` before each larger body.
    expectContinueHeader: false,
    requestHandler: requestHandlerLimits(config.timeoutMs),
    ...(config.endpoint === undefined ? {} : { endpoint: config.endpoint }),
    ...(config.credentials === undefined ? {} : { credentials: config.credentials }),
  };
  const client = new S3Client(clientConfig);
  const counts: S3Counts = { get: 0, put: 0, list: 0, delete: 0, bytesRead: 0 };
  const where = `s3://${bucket}/${prefix}`;

  return {
    counts,
    close: () => client.destroy(),

    get: async (key, signal) => {
      counts.get += 1;
      try {
        const answer = await client.send(
          new GetObjectCommand({ Bucket: bucket, Key: prefix + key }),
          options(signal),
        );
        const body = (await answer.Body?.transformToByteArray()) ?? new Uint8Array();
        counts.bytesRead += body.byteLength;
        return { body, etag: answer.ETag ?? "" };
      } catch (error) {
        if (error instanceof NoSuchKey) return null;
        throw storeError(`GET ${where}${key}`, error, config);
      }
    },

    getRange: async (key, start, length, signal) => {
      counts.get += 1;
      try {
        const answer = await client.send(
          new GetObjectCommand({
            Bucket: bucket,
            Key: prefix + key,
            Range: `bytes=${start}-${start + length - 1}`,
          }),
          options(signal),
        );
        const body = (await answer.Body?.transformToByteArray()) ?? new Uint8Array();
        counts.bytesRead += body.byteLength;
        return body;
      } catch (error) {
        if (error instanceof NoSuchKey) return null;
        if (error instanceof Error && error.name === "InvalidRange") return new Uint8Array();
        throw storeError(`GET ${where}${key} (bytes ${start}-${start + length - 1})`, error, config);
      }
    },

    put: async (key, body, condition, signal) => {
      counts.put += 1;
      try {
        const answer = await client.send(
          new PutObjectCommand({
            Bucket: bucket,
            Key: prefix + key,
            Body: body,
            ...preconditions(condition),
          }),
          options(signal),
        );
        return { kind: "stored", etag: answer.ETag ?? "" };
      } catch (error) {
        return putOutcome(error, `PUT ${where}${key}`, config);
      }
    },

    list: async function* (under, startAfter, signal): AsyncIterable<ListedObject> {
      let token: string | undefined;
      do {
        counts.list += 1;
        const answer = await client
          .send(
            new ListObjectsV2Command({
              Bucket: bucket,
              Prefix: prefix + under,
              ...(config.listPageMax === undefined ? {} : { MaxKeys: config.listPageMax }),
              ...(token === undefined ? {} : { ContinuationToken: token }),
              ...(startAfter === undefined ? {} : { StartAfter: prefix + startAfter }),
            }),
            options(signal),
          )
          .catch((error: unknown) => {
            throw storeError(`LIST ${where}${under}`, error, config);
          });
        for (const object of answer.Contents ?? []) {
          yield {
            key: (object.Key ?? "").slice(prefix.length),
            sizeBytes: object.Size ?? 0,
            modifiedMs: object.LastModified?.getTime() ?? 0,
          };
        }
        token = answer.NextContinuationToken;
      } while (token !== undefined);
    },

    delete: async (key, signal) => {
      counts.delete += 1;
      await client
        .send(new DeleteObjectCommand({ Bucket: bucket, Key: prefix + key }), options(signal))
        .catch((error: unknown) => {
          throw storeError(`DELETE ${where}${key}`, error, config);
        });
    },
  };
}

const options = (signal: AbortSignal | undefined) => (signal === undefined ? {} : { abortSignal: signal });

function preconditions(condition: PutCondition): { IfNoneMatch?: string; IfMatch?: string } {
  if (condition.kind === "if-absent") return { IfNoneMatch: "*" };
  if (condition.kind === "if-match") return { IfMatch: condition.etag };
  return {};
}

/** 412 is a plain no. 409 (a racing conditional write) and everything from the network or a 5xx says nothing. */
function putOutcome(error: unknown, call: string, config: S3Config): PutOutcome {
  const status = error instanceof S3ServiceException ? error.$metadata.httpStatusCode : undefined;
  if (status === 412) return { kind: "refused" };
  if (
    status !== undefined &&
    status >= 400 &&
    status < 500 &&
    status !== 409 &&
    status !== 408 &&
    status !== 429
  ) {
    throw storeError(call, error, config);
  }
  return { kind: "unknown", cause: error };
}

const FIXES: Readonly<Record<string, string>> = {
  NoSuchBucket: "Create the bucket, or mend the bucket's name in VARVE_CHANGELOG.",
  AccessDenied:
    "Give these credentials s3:GetObject, s3:PutObject, s3:ListBucket and s3:DeleteObject on the changelog root.",
  SignatureDoesNotMatch: "The secret key is wrong: check S3_SECRET_ACCESS_KEY or AWS_SECRET_ACCESS_KEY.",
  InvalidAccessKeyId: "The access key is unknown: check S3_ACCESS_KEY_ID or AWS_ACCESS_KEY_ID.",
  CredentialsProviderError:
    "No credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or a profile, or a role).",
};

function storeError(call: string, error: unknown, config: S3Config): VarveError {
  const name = error instanceof Error ? error.name : "Error";
  const message = error instanceof Error ? error.message || name : String(error);
  const at = config.endpoint ?? `S3 in ${config.region}`;
  return new VarveError(
    "store_unreadable",
    `${call} failed at ${at}: ${name === message ? name : `${name}: ${message}`}`,
    FIXES[name] ?? `Check that ${at} is up and reachable from here (S3_ENDPOINT), and its credentials.`,
    error,
  );
}
