/**
 * Signed calls to DynamoDB and DynamoDB Streams over fetch. Web standards only: the edge and Node both use it.
 * It never retries: who calls knows how long it may take.
 */
import { AwsV4Signer } from "aws4fetch";
import { z } from "zod";

export type AwsCredentials = {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
};

/** Expected outcomes of a call. `refused` is for good: the same call would fail again. */
export type DynamoAnswer =
  | { readonly kind: "ok"; readonly text: string }
  | { readonly kind: "throttled"; readonly errorType: string; readonly message: string }
  | { readonly kind: "refused"; readonly errorType: string; readonly message: string }
  | { readonly kind: "unavailable"; readonly message: string };

export type DynamoClient = {
  /** `target` is the X-Amz-Target, such as `DynamoDB_20120810.BatchWriteItem`; `body` its JSON text. */
  readonly call: (target: string, body: string) => Promise<DynamoAnswer>;
};

export type DynamoOptions = {
  readonly endpoint: string;
  readonly region: string;
  /** Asked before each call, so that they may rotate. */
  readonly credentials: () => AwsCredentials | Promise<AwsCredentials>;
  readonly timeoutMs: number;
  readonly fetch?: typeof fetch;
};

/** DynamoDB reports throttling as HTTP 400: only the type tells it from a mistake. */
const THROTTLES = new Set([
  "ProvisionedThroughputExceededException",
  "ThrottlingException",
  "RequestLimitExceeded",
  "LimitExceededException",
  "TransactionConflictException",
]);

const ERROR_BODY = z
  .object({ __type: z.string(), message: z.string().optional(), Message: z.string().optional() })
  .transform(({ __type: type, message, Message }) => {
    const errorType = type.slice(type.lastIndexOf("#") + 1);
    return { errorType, message: message ?? Message ?? errorType };
  });

function errorOf(text: string): { readonly errorType: string; readonly message: string } {
  try {
    return ERROR_BODY.parse(JSON.parse(text));
  } catch {
    return { errorType: "Unreadable", message: "the answer is not DynamoDB's" };
  }
}

function answerOf(status: number, text: string): DynamoAnswer {
  if (status === 200) return { kind: "ok", text };
  const error = errorOf(text);
  if (THROTTLES.has(error.errorType)) return { kind: "throttled", ...error };
  if (status >= 500) return { kind: "unavailable", message: `HTTP ${status}: ${error.message}` };
  return { kind: "refused", ...error };
}

export function createDynamo(options: DynamoOptions): DynamoClient {
  const url = new URL(options.endpoint).href;
  /** The derived signing keys, which aws4fetch makes once a day and region. */
  const keys = new Map<string, ArrayBuffer>();
  const send = options.fetch ?? ((input: string, init: RequestInit) => fetch(input, init));
  const encoder = new TextEncoder();

  async function call(target: string, body: string): Promise<DynamoAnswer> {
    const bytes = encoder.encode(body);
    const { accessKeyId, secretAccessKey, sessionToken } = await options.credentials();
    const signer = new AwsV4Signer({
      method: "POST",
      url,
      region: options.region,
      service: "dynamodb",
      accessKeyId,
      secretAccessKey,
      ...(sessionToken === undefined ? {} : { sessionToken }),
      headers: { "Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": target },
      body: bytes,
      cache: keys,
    });
    const signed = await signer.sign();
    try {
      const response = await send(url, {
        method: "POST",
        headers: signed.headers,
        body: bytes,
        signal: AbortSignal.timeout(options.timeoutMs),
      });
      return answerOf(response.status, await response.text());
    } catch (error) {
      return { kind: "unavailable", message: error instanceof Error ? error.message : String(error) };
    }
  }
  return { call };
}
