/**
 * Signed calls to DynamoDB and DynamoDB Streams over fetch. Web standards only: the edge and Node both use it.
 * It never retries: who calls knows how long it may take.
 */
import * as z from "zod";
import { createSigner } from "./sign.ts";
import type { AwsCredentials } from "./sign.ts";

export type { AwsCredentials } from "./sign.ts";

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

const encoder = new TextEncoder();

/** Without an AbortSignal a call, which costs a third of a call in workerd: a late answer goes unread. */
function lateAfter(ms: number): { readonly late: Promise<"late">; readonly cancel: () => void } {
  const { promise, resolve } = Promise.withResolvers<"late">();
  const timer = setTimeout(() => resolve("late"), ms);
  return { late: promise, cancel: () => clearTimeout(timer) };
}

export function createDynamo(options: DynamoOptions): DynamoClient {
  const { host, href } = new URL(options.endpoint);
  const sign = createSigner();
  const send = options.fetch ?? ((input: string, init: RequestInit) => fetch(input, init));

  async function post(target: string, body: string): Promise<DynamoAnswer> {
    const bytes = encoder.encode(body);
    const credentials = await options.credentials();
    const nowMs = Date.now();
    const { region } = options;
    const headers = await sign({
      host,
      region,
      service: "dynamodb",
      target,
      body: bytes,
      credentials,
      nowMs,
    });
    try {
      const response = await send(href, { method: "POST", headers, body: bytes });
      return answerOf(response.status, await response.text());
    } catch (error) {
      return { kind: "unavailable", message: error instanceof Error ? error.message : String(error) };
    }
  }

  async function call(target: string, body: string): Promise<DynamoAnswer> {
    const { late, cancel } = lateAfter(options.timeoutMs);
    const answer = await Promise.race([post(target, body), late]);
    cancel();
    if (answer !== "late") return answer;
    return { kind: "unavailable", message: `no answer within ${options.timeoutMs} ms` };
  }
  return { call };
}
