/**
 * Calls to DynamoDB Streams. The control plane (which shards there are) goes through the SDK; GetRecords is
 * signed and parsed here, because the SDK's deserialiser costs several times what JSON.parse does.
 */
import { DynamoDBClient, DescribeTableCommand } from "@aws-sdk/client-dynamodb";
import {
  DescribeStreamCommand,
  DynamoDBStreamsClient,
  GetShardIteratorCommand,
  ListStreamsCommand,
} from "@aws-sdk/client-dynamodb-streams";
import { defaultProvider } from "@aws-sdk/credential-provider-node";
import { createSigner } from "../shared/aws/sign.ts";
import { timeLimits } from "../shared/aws/time-limits.ts";
import { VarveError } from "../shared/errors.ts";
import { hasDoubtfulName, parseExact } from "../shared/exact-json.ts";
import type { StreamRecord } from "../shared/row.ts";
import type { SequenceNumber } from "../shared/sequence.ts";
import { openPost } from "./http.ts";
import { NODE_SHA256 } from "./sha256.ts";

export type ListedShard = {
  readonly id: string;
  readonly parent: string | null;
  /** ARN. A table has one a time its stream was switched on; they are named by that time, so they sort by it. */
  readonly stream: string;
};

export type Page = {
  readonly records: readonly StreamRecord[];
  /** Null at the end of a closed shard. */
  readonly next: string | null;
  readonly bytes: number;
};

/**
 * `expired`: the iterator is older than 15 minutes; `trimmed`: what it points at is older than 24 hours;
 * `gone`: the shard or the stream no longer exists; `retry`: throttled, or the service faltered.
 */
export type PageOutcome =
  | { readonly kind: "page"; readonly page: Page }
  | { readonly kind: "expired" | "trimmed" | "gone" }
  | { readonly kind: "retry"; readonly why: string };

export type IteratorOutcome =
  | { readonly kind: "iterator"; readonly iterator: string }
  | { readonly kind: "trimmed" | "gone" }
  | { readonly kind: "retry"; readonly why: string };

export type Streams = {
  /** Every shard of the table's stream, and of its earlier streams that can still be read; all pages. */
  readonly describe: (signal?: AbortSignal) => Promise<readonly ListedShard[]>;
  /** Null: from the oldest record there is. */
  readonly openIterator: (
    arn: string,
    shard: string,
    after: SequenceNumber | null,
    signal?: AbortSignal,
  ) => Promise<IteratorOutcome>;
  readonly getRecords: (iterator: string, signal?: AbortSignal) => Promise<PageOutcome>;
};

export type StreamsConfig = {
  readonly table: string;
  readonly region: string;
  readonly endpoint?: string | undefined;
  readonly streamsEndpoint?: string | undefined;
  /** How long one request may stand still, retries apart. */
  readonly timeoutMs?: number;
};

const RECORDS_MAX = 1000;
const TIMEOUT_MS = 30_000;
/**
 * The service takes signatures of its last minutes; the SDK mends them for a clock that is off, as is done here. One
 * that is off by more is not to read: the watermark would follow it.
 */
const SKEW_MAX_MS = 900_000;

const encoder = new TextEncoder();

const OUTCOME_OF: Readonly<Record<string, "expired" | "trimmed" | "gone">> = {
  ExpiredIteratorException: "expired",
  TrimmedDataAccessException: "trimmed",
  ResourceNotFoundException: "gone",
};

export function openStreams(config: StreamsConfig): Streams {
  const streamsEndpoint = config.streamsEndpoint ?? config.endpoint;
  const credentials = defaultProvider();
  const timeoutMs = config.timeoutMs ?? TIMEOUT_MS;
  const base = { region: config.region, credentials, maxAttempts: 5, requestHandler: timeLimits(timeoutMs) };
  const tables = new DynamoDBClient({
    ...base,
    ...(config.endpoint === undefined ? {} : { endpoint: config.endpoint }),
  });
  const streams = new DynamoDBStreamsClient({
    ...base,
    ...(streamsEndpoint === undefined ? {} : { endpoint: streamsEndpoint }),
  });
  const { host, href } = new URL(
    streamsEndpoint ?? `https://streams.dynamodb.${config.region}.amazonaws.com/`,
  );
  const post = openPost();
  const sign = createSigner(NODE_SHA256);
  /** How far this machine's clock is ahead of the service's, as its last refusal has it. */
  let aheadMs = 0;

  return {
    describe: async (signal) => {
      const latest = await streamArn(tables, config, signal);
      const arns = await streamArns(streams, config, signal);
      const shards: ListedShard[] = [];
      for (const arn of new Set([...arns, latest])) {
        try {
          shards.push(...(await listShards(streams, arn, signal)));
        } catch (error) {
          // An earlier stream that has passed its 24 hours between the two calls.
          if (arn === latest || !isNamed(error, "ResourceNotFoundException")) throw error;
        }
      }
      return shards;
    },

    openIterator: async (arn, shard, after, signal) => {
      try {
        const { ShardIterator: iterator } = await streams.send(
          new GetShardIteratorCommand({
            StreamArn: arn,
            ShardId: shard,
            ...(after === null
              ? { ShardIteratorType: "TRIM_HORIZON" as const }
              : { ShardIteratorType: "AFTER_SEQUENCE_NUMBER" as const, SequenceNumber: after }),
          }),
          signal === undefined ? {} : { abortSignal: signal },
        );
        return iterator === undefined ? { kind: "gone" } : { kind: "iterator", iterator };
      } catch (error) {
        const name = error instanceof Error ? error.name : "";
        const kind = OUTCOME_OF[name];
        if (kind === "trimmed" || kind === "gone") return { kind };
        return { kind: "retry", why: error instanceof Error ? `${name}: ${error.message}` : String(error) };
      }
    },

    getRecords: async (iterator, signal) => {
      const body = JSON.stringify({ ShardIterator: iterator, Limit: RECORDS_MAX });
      const timeout = AbortSignal.timeout(timeoutMs);
      try {
        const headers = await sign({
          host,
          region: config.region,
          service: "dynamodb",
          target: "DynamoDBStreams_20120810.GetRecords",
          body: encoder.encode(body),
          credentials: await credentials(),
          nowMs: Date.now() - aheadMs,
        });
        const { status, text, dateMs } = await post(
          href,
          headers,
          body,
          signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
        );
        const outcome = parsePage(status, text);
        const skewMs = Date.now() - dateMs;
        if (outcome.kind === "retry" && status < 500) aheadMs = Math.abs(skewMs) <= SKEW_MAX_MS ? skewMs : 0;
        return outcome;
      } catch (error) {
        return { kind: "retry", why: error instanceof Error ? describe(error) : String(error) };
      }
    },
  };
}

const describe = (error: Error): string =>
  error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;

/** An event's and a rejected event's names are all ours, and hold no backslash. */
function isDoubtful(answer: unknown): boolean {
  const { Records: records } = (answer ?? {}) as { readonly Records?: unknown };
  if (!Array.isArray(records)) return false;
  return (records as (Partial<StreamRecord> | null)[]).some((record) => {
    const { Keys: keys, NewImage: image } = record?.dynamodb ?? {};
    const { S: pk } = (keys?.["pk"] ?? {}) as { readonly S?: unknown };
    const { S: kind } = (image?.["kind"] ?? {}) as { readonly S?: unknown };
    if (typeof pk === "string") {
      if (kind === "event" && pk.startsWith("e#")) return false;
      if (kind === "rejected" && pk.startsWith("r#")) return false;
    }
    return hasDoubtfulName(keys) || hasDoubtfulName(image);
  });
}

/** A GetRecords answer. What is not understood is a retry with its reason, never an empty page. */
export function parsePage(status: number, text: string): PageOutcome {
  let json: { Records?: unknown; NextShardIterator?: unknown; __type?: string; message?: string };
  try {
    json = parseExact(text, isDoubtful) ?? {};
  } catch {
    return { kind: "retry", why: `HTTP ${status} with a body that is not JSON: ${text.slice(0, 100)}` };
  }
  if (status === 200 && Array.isArray(json.Records)) {
    const next = typeof json.NextShardIterator === "string" ? json.NextShardIterator : null;
    return { kind: "page", page: { records: json.Records as StreamRecord[], next, bytes: text.length } };
  }
  const type = (json.__type ?? "").split("#").at(-1) ?? "";
  const kind = OUTCOME_OF[type];
  return kind === undefined
    ? { kind: "retry", why: `HTTP ${status} ${type} ${json.message ?? ""}` }
    : { kind };
}

async function streamArns(
  client: DynamoDBStreamsClient,
  { table }: StreamsConfig,
  signal?: AbortSignal,
): Promise<string[]> {
  const arns: string[] = [];
  let last: string | undefined;
  do {
    const page = await client.send(
      new ListStreamsCommand({
        TableName: table,
        ...(last === undefined ? {} : { ExclusiveStartStreamArn: last }),
      }),
      signal === undefined ? {} : { abortSignal: signal },
    );
    for (const { StreamArn: arn } of page.Streams ?? []) if (arn !== undefined) arns.push(arn);
    last = page.LastEvaluatedStreamArn;
  } while (last !== undefined);
  return arns;
}

/** None when the stream shows no images. */
async function listShards(
  client: DynamoDBStreamsClient,
  arn: string,
  signal?: AbortSignal,
): Promise<ListedShard[]> {
  const shards: ListedShard[] = [];
  let last: string | undefined;
  do {
    const { StreamDescription: page } = await client.send(
      new DescribeStreamCommand({
        StreamArn: arn,
        ...(last === undefined ? {} : { ExclusiveStartShardId: last }),
      }),
      signal === undefined ? {} : { abortSignal: signal },
    );
    if (!showsImages(page?.StreamViewType)) return [];
    for (const { ShardId: id, ParentShardId: parent } of page?.Shards ?? []) {
      if (id !== undefined) shards.push({ id, parent: parent ?? null, stream: arn });
    }
    last = page?.LastEvaluatedShardId;
  } while (last !== undefined);
  return shards;
}

const showsImages = (view: string | undefined): boolean =>
  view === undefined || view === "NEW_IMAGE" || view === "NEW_AND_OLD_IMAGES";

const isNamed = (error: unknown, name: string): boolean => error instanceof Error && error.name === name;

async function streamArn(
  client: DynamoDBClient,
  config: StreamsConfig,
  signal?: AbortSignal,
): Promise<string> {
  const at = config.endpoint ?? config.region;
  const answer = await client
    .send(
      new DescribeTableCommand({ TableName: config.table }),
      signal === undefined ? {} : { abortSignal: signal },
    )
    .catch((error: unknown) => {
      const name = error instanceof Error ? error.name : "";
      if (isNamed(error, "ResourceNotFoundException")) {
        throw new VarveError(
          "no_table",
          `there is no table ${config.table} at ${at}.`,
          "Check DYNAMODB_TABLE, AWS_REGION and DYNAMODB_ENDPOINT; `npm start` makes the table on one machine.",
          error,
        );
      }
      throw new VarveError(
        "table_unreachable",
        `DescribeTable ${config.table} failed at ${at}: ${error instanceof Error ? error.message || name : String(error)}`,
        "Check that the endpoint is up (DYNAMODB_ENDPOINT), and the credentials.",
        error,
      );
    });
  const arn = answer.Table?.LatestStreamArn;
  const view = answer.Table?.StreamSpecification?.StreamViewType;
  if (arn === undefined) {
    throw new VarveError(
      "no_stream",
      `table ${config.table} has no stream.`,
      "Enable it: aws dynamodb update-table --table-name " +
        `${config.table} --stream-specification StreamEnabled=true,StreamViewType=NEW_IMAGE`,
    );
  }
  if (!showsImages(view)) {
    throw new VarveError(
      "wrong_stream_view",
      `the stream of ${config.table} shows ${view}; Varve needs NEW_IMAGE.`,
      "Disable the stream and enable it again with StreamViewType=NEW_IMAGE.",
    );
  }
  return arn;
}
