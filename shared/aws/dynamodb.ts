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

/** `target` is the X-Amz-Target, such as `DynamoDB_20120810.BatchWriteItem`; `body` its JSON text. */
export type DynamoCall = (target: string, body: string) => Promise<DynamoAnswer>;

/** Calls that share one timer, each with its own time-out. To be closed when no call is under way. */
export type DynamoSession = {
  /** As `DynamoCall`, with the body in UTF-8. */
  readonly call: (target: string, body: Uint8Array) => Promise<DynamoAnswer>;
  readonly close: () => void;
};

export type DynamoClient = {
  readonly call: DynamoCall;
  readonly open: () => DynamoSession;
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

type Waiting = { readonly dueMs: number; readonly giveUp: () => void };
type Post = (signal: AbortSignal) => Promise<DynamoAnswer>;

/**
 * Time-outs with one timer for calls that start about together: AbortSignal.timeout, with one each, would cost a third
 * of a call in workerd. What is late is called off, since a Worker's request has six connections that wait.
 */
function createTimeouts(timeoutMs: number): {
  readonly bound: (post: Post) => Promise<DynamoAnswer>;
  readonly close: () => void;
} {
  const waiting = new Set<Waiting>();
  const late: DynamoAnswer = { kind: "unavailable", message: `no answer within ${timeoutMs} ms` };
  let timer: ReturnType<typeof setTimeout> | null = null;

  function ring(): void {
    timer = null;
    const nowMs = Date.now();
    for (const call of waiting) {
      if (call.dueMs > nowMs) {
        timer = setTimeout(ring, call.dueMs - nowMs);
        return;
      }
      waiting.delete(call);
      call.giveUp();
    }
  }
  return {
    bound: (post) =>
      new Promise((resolve, reject) => {
        const controller = new AbortController();
        const giveUp = (): void => {
          resolve(late);
          controller.abort();
        };
        const call = { dueMs: Date.now() + timeoutMs, giveUp };
        waiting.add(call);
        timer ??= setTimeout(ring, timeoutMs);
        const ended = (): boolean => waiting.delete(call);
        post(controller.signal).finally(ended).then(resolve, reject);
      }),
    close: () => {
      if (timer !== null) clearTimeout(timer);
    },
  };
}

export function createDynamo(options: DynamoOptions): DynamoClient {
  const { host, href } = new URL(options.endpoint);
  const sign = createSigner();
  const send = options.fetch ?? ((input: string, init: RequestInit) => fetch(input, init));

  async function post(target: string, body: Uint8Array, signal: AbortSignal): Promise<DynamoAnswer> {
    const credentials = await options.credentials();
    const nowMs = Date.now();
    const { region } = options;
    const headers = await sign({
      host,
      region,
      service: "dynamodb",
      target,
      body,
      credentials,
      nowMs,
    });
    try {
      const response = await send(href, { method: "POST", headers, body, signal });
      return answerOf(response.status, await response.text());
    } catch (error) {
      return { kind: "unavailable", message: error instanceof Error ? error.message : String(error) };
    }
  }

  function open(): DynamoSession {
    const { bound, close } = createTimeouts(options.timeoutMs);
    return { call: (target, body) => bound((signal) => post(target, body, signal)), close };
  }

  async function call(target: string, body: string): Promise<DynamoAnswer> {
    const session = open();
    try {
      return await session.call(target, encoder.encode(body));
    } finally {
      session.close();
    }
  }
  return { call, open };
}
