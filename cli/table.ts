/** The table as `varve verify` reads it: whole by scan, and single items again. */
import { buffer } from "node:stream/consumers";
import type { AttributeValue as SdkAttributeValue, ScanCommandInput } from "@aws-sdk/client-dynamodb";
import {
  BatchGetItemCommand,
  DescribeTableCommand,
  DynamoDBClient,
  ScanCommand,
} from "@aws-sdk/client-dynamodb";
import type { ScanPage } from "../compactor/bootstrap.ts";
import type { TableReader } from "../reader/verify.ts";
import { many } from "../shared/amounts.ts";
import { requestHandlerLimits } from "../shared/aws/limits.ts";
import type { Clock } from "../shared/clock.ts";
import { systemClock } from "../shared/clock.ts";
import { parseEnvironment, TABLE_ENV } from "../shared/config.ts";
import { VarveError } from "../shared/errors.ts";
import { parseExact } from "../shared/exact-json.ts";
import type { AttributeMap } from "../shared/item.ts";
import { attributeMapJson } from "../shared/item.ts";
import type { Environment } from "./target.ts";

/** A page of 100 items may hold more than one answer does; what is left over for another reason is throttled. */
const READS_MAX = 20;
const READ_PAUSE_MS_MAX = 5_000;
/** The SDK backs off between them: a table that throttles is waited for. */
const ATTEMPTS_MAX = 5;
/** A sample is drawn from at least so many of so many segments of the table, one page of each. */
const SEGMENTS_READ_MIN = 16;
const SEGMENTS = 256;

export type Table = TableReader & {
  readonly keyNames: readonly string[];
  /** As DescribeTable last counted them, some hours ago. */
  readonly itemsAbout: number;
  /** One page of a segment. The cursor is DynamoDB JSON text; null at the start, and at the end. */
  readonly scanSegment: (segment: number, segments: number, cursor: string | null) => Promise<ScanPage>;
  readonly close: () => void;
};

export type TableClient = {
  readonly client: DynamoDBClient;
  readonly name: string;
  /** What a call is answered with; what it fails with, as an error that says what to do. */
  readonly told: <T>(answer: Promise<T>) => Promise<T>;
};

export function openTableClient(environment: Environment): TableClient {
  const config = parseEnvironment(TABLE_ENV, environment);
  const credentials = givenCredentials(environment);
  const client = new DynamoDBClient({
    region: config.AWS_REGION,
    maxAttempts: ATTEMPTS_MAX,
    requestHandler: requestHandlerLimits(),
    ...(config.DYNAMODB_ENDPOINT === undefined ? {} : { endpoint: config.DYNAMODB_ENDPOINT }),
    ...(credentials === undefined ? {} : { credentials }),
  });
  const name = config.DYNAMODB_TABLE;
  return {
    client,
    name,
    told: (answer) =>
      answer.catch((error: unknown) => {
        throw tableError(name, config.DYNAMODB_ENDPOINT ?? config.AWS_REGION, error);
      }),
  };
}

type GivenCredentials = {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
};

/** The environment's own, which may be those of a system on this machine; without them the SDK looks elsewhere. */
export function givenCredentials(environment: Environment): GivenCredentials | undefined {
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey } = environment;
  const { AWS_SESSION_TOKEN: sessionToken } = environment;
  if (accessKeyId === undefined || secretAccessKey === undefined) return undefined;
  return { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) };
}

type Scanned = { readonly Items?: readonly AttributeMap[]; readonly LastEvaluatedKey?: AttributeMap };
type Given = { readonly Responses?: Readonly<Record<string, readonly AttributeMap[]>> };

/** The text that a command will be answered with. What the SDK makes of it may have names of its own making: see exact-json.ts. */
function textOf(command: ScanCommand | BatchGetItemCommand): () => string {
  let text = "";
  command.middlewareStack.addRelativeTo(
    <Args, Result extends { readonly response: unknown }>(next: (args: Args) => Promise<Result>) =>
      async (args: Args): Promise<Result> => {
        const result = await next(args);
        const response = result.response as { body: unknown };
        const body = await buffer(response.body as AsyncIterable<Uint8Array>);
        text = body.toString();
        response.body = body;
        return result;
      },
    { relation: "after", toMiddleware: "deserializerMiddleware", name: "varveText" },
  );
  return () => text;
}

/** Throws `no_table` when it is not there. */
export async function openTable(environment: Environment, clock: Clock = systemClock): Promise<Table> {
  const { client, name, told } = openTableClient(environment);
  const described = await told(client.send(new DescribeTableCommand({ TableName: name })));
  const keyNames = (described.Table?.KeySchema ?? []).map((key) => key.AttributeName ?? "");
  const keyOf = (item: AttributeMap): string =>
    attributeMapJson(Object.fromEntries(keyNames.map((key) => [key, item[key] ?? { NULL: true }])));

  const scanPage = async (
    how: Partial<ScanCommandInput>,
  ): Promise<{ readonly items: readonly AttributeMap[]; readonly next: AttributeMap | undefined }> => {
    const command = new ScanCommand({ TableName: name, ConsistentRead: true, ...how });
    const text = textOf(command);
    await told(client.send(command));
    const { Items: items = [], LastEvaluatedKey: next } = parseExact(text()) as Scanned;
    return { items, next };
  };

  return {
    name,
    keyOf,
    keyNames,
    itemsAbout: described.Table?.ItemCount ?? 0,
    scanSegment: async (segment, segments, cursor) => {
      const { items, next } = await scanPage({
        Segment: segment,
        TotalSegments: segments,
        ...(cursor === null ? {} : { ExclusiveStartKey: fromAttributeMap(cursor) }),
      });
      return { items, cursor: next === undefined ? null : JSON.stringify(next) };
    },
    scan: async function* () {
      let from: AttributeMap | undefined;
      do {
        const { items, next } = await scanPage(
          from === undefined ? {} : { ExclusiveStartKey: fromAttributeMap(JSON.stringify(from)) },
        );
        yield items;
        from = next;
      } while (from !== undefined);
    },
    sample: async function* (count) {
      // Segments split the table by the hash of the key: a few of many are items from all over it.
      const segments = Array.from({ length: SEGMENTS }, (_, index) => index);
      const most = Math.ceil(count / SEGMENTS_READ_MIN);
      let left = count;
      while (left > 0 && segments.length > 0) {
        const [segment = 0] = segments.splice(Math.floor(clock.random() * segments.length), 1);
        const { items } = await scanPage({
          TotalSegments: SEGMENTS,
          Segment: segment,
          Limit: Math.min(left, most),
        });
        left -= items.length;
        if (items.length > 0) yield items;
      }
    },
    read: async (keys) => {
      const found = new Map<string, AttributeMap>();
      let wanted: Record<string, SdkAttributeValue>[] = keys.map(toKey);
      for (let attempt = 0; wanted.length > 0; attempt += 1) {
        if (attempt === READS_MAX)
          throw throttled(
            name,
            `${many(wanted.length, "item was", "items were")} not given in ${READS_MAX} reads`,
          );
        if (attempt > 0) await clock.sleep(Math.min(READ_PAUSE_MS_MAX, 25 * 2 ** attempt) * clock.random());
        const command = new BatchGetItemCommand({
          RequestItems: { [name]: { Keys: wanted, ConsistentRead: true } },
        });
        const text = textOf(command);
        const { UnprocessedKeys: left } = await told(client.send(command));
        const { Responses: given } = parseExact(text()) as Given;
        for (const item of given?.[name] ?? []) found.set(keyOf(item), item);
        wanted = left?.[name]?.Keys ?? [];
      }
      return found;
    },
    close: () => client.destroy(),
  };
}

/** A key's JSON text back to DynamoDB JSON. */
function toKey(key: string): Record<string, SdkAttributeValue> {
  const values = JSON.parse(key) as Record<string, string | number>;
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [
      name,
      typeof value === "number" ? { N: String(value) } : { S: value },
    ]),
  );
}

/** DynamoDB JSON as the SDK takes it, which has binary as bytes. */
function fromAttributeMap(text: string): Record<string, SdkAttributeValue> {
  return JSON.parse(text, (name, value: unknown) =>
    name === "B" && typeof value === "string" ? Buffer.from(value, "base64") : value,
  ) as Record<string, SdkAttributeValue>;
}

function tableError(name: string, at: string, error: unknown): VarveError {
  if (error instanceof VarveError) return error;
  if (error instanceof Error && error.name === "ResourceNotFoundException") {
    return new VarveError(
      "no_table",
      `there is no table ${name} at ${at}.`,
      "Check DYNAMODB_TABLE, AWS_REGION and DYNAMODB_ENDPOINT.",
      error,
    );
  }
  const why = error instanceof Error ? error.message || error.name : String(error);
  if (error instanceof Error && THROTTLES.has(error.name)) return throttled(name, why, error);
  if (error instanceof Error && error.name === "AccessDeniedException") {
    return new VarveError(
      "table_forbidden",
      `table ${name} at ${at} is not open to these credentials: ${why}`,
      "Give these credentials the right that is named; OperatorPolicy in deploy/aws/varve.yaml has all that the commands need.",
      error,
    );
  }
  return new VarveError(
    "table_unreachable",
    `table ${name} cannot be read at ${at}: ${why}`,
    "Check that the endpoint is up (DYNAMODB_ENDPOINT), and the credentials.",
    error,
  );
}

const THROTTLES = new Set([
  "ProvisionedThroughputExceededException",
  "RequestLimitExceeded",
  "ThrottlingException",
]);

const throttled = (name: string, why: string, cause?: unknown): VarveError =>
  new VarveError(
    "table_throttled",
    `table ${name} throttles: ${why}`,
    "Run it again when the table has less to do, or give it more read capacity.",
    cause,
  );
