/**
 * DynamoDB Streams' wire protocol over a tape: what each call answers, and the ways in which an answer goes wrong.
 * https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Operations_Amazon_DynamoDB_Streams.html
 */
import type { Random } from "../fakes/random.ts";
import { indexFrom } from "./records.ts";
import type { Shard, Tape } from "./tape.ts";

export type Answer = { readonly status: number; readonly body: string };

/**
 * throttled, limited, internal, expired, trimmed: these errors; garbled: a gateway's page instead of JSON;
 * dropped: the connection ends without an answer; slow: it comes late; empty: no records while some wait;
 * repeated: the shard's answer before it once more, word by word; partial: a listing that leaves shards out.
 */
export const FAULTS = [
  "throttled",
  "limited",
  "internal",
  "expired",
  "trimmed",
  "garbled",
  "dropped",
  "slow",
  "empty",
  "repeated",
  "partial",
] as const;
export type FaultKind = (typeof FAULTS)[number];

/** What the calls carry, together. */
export type Call = {
  readonly TableName?: string;
  readonly StreamArn?: string;
  readonly ExclusiveStartStreamArn?: string;
  readonly ExclusiveStartShardId?: string;
  readonly ShardFilter?: { readonly ShardId?: string };
  readonly ShardId?: string;
  readonly ShardIteratorType?: string;
  readonly SequenceNumber?: string;
  readonly ShardIterator?: string;
  readonly Limit?: number;
};

export type Wire = {
  readonly answer: (operation: string, call: Call, fault: FaultKind | null) => Answer;
  /** The shard that a GetRecords call is about. */
  readonly shardOf: (call: Call) => string | null;
  /** From now on every iterator given out so far is too old. */
  readonly expireIterators: () => void;
  /** Records in one answer, at most. */
  readonly pageMax: (records: number) => void;
};

const RECORDS_MAX = 1000;
const BYTES_MAX = 1024 * 1024;
const SHARDS_MAX = 100;
const ITERATOR_LIFE_MS = 15 * 60_000;
/** Of a listing that is not whole, how many shards are in it. */
const PARTIAL = 0.6;

const error = (status: number, type: string, message: string): Answer => ({
  status,
  body: JSON.stringify({ __type: type, message }),
});
const modelled = (name: string, message: string): Answer =>
  error(400, `com.amazonaws.dynamodb.v20120810#${name}`, message);

const ERRORS: Readonly<Partial<Record<FaultKind, Answer>>> = {
  throttled: error(
    400,
    "com.amazon.coral.availability#ThrottlingException",
    "Rate of requests exceeds the allowed throughput.",
  ),
  limited: modelled("LimitExceededException", "There is no limit to the number of daily on-demand backups."),
  internal: error(
    500,
    "com.amazonaws.dynamodb.v20120810#InternalServerError",
    "The request could not be processed because of an internal failure.",
  ),
  expired: modelled("ExpiredIteratorException", "Iterator expired."),
  trimmed: modelled(
    "TrimmedDataAccessException",
    "The operation attempted to read past the oldest stream record.",
  ),
  garbled: { status: 502, body: "<html><body><h1>502 Bad Gateway</h1></body></html>" },
};

const notFound = (what: string): Answer =>
  modelled("ResourceNotFoundException", `Requested resource not found: ${what}`);
const invalid = (what: string): Answer => error(400, "com.amazon.coral.validate#ValidationException", what);
const good = (body: object): Answer => ({ status: 200, body: JSON.stringify(body) });

type ShardIterator = { readonly shard: string; readonly index: number; readonly issuedMs: number };

export function openWire(tape: Tape, nowMs: () => number, random: Random): Wire {
  const { tables, shards } = tape;
  /** By the iterator that an answer gave to go on with. */
  const answers = new Map<string, Answer>();
  let issued = 0;
  let expiredUpTo = 0;
  let recordsMax = RECORDS_MAX;

  const encode = (iterator: ShardIterator): string => {
    issued += 1;
    return `${shards.get(iterator.shard)?.arn}|${issued}|${Buffer.from(JSON.stringify(iterator)).toString("base64")}`;
  };
  const decode = (text: string): (ShardIterator & { readonly expired: boolean }) | null => {
    const [, number, encoded] = /^.*\|(\d+)\|([A-Za-z0-9+/=]+)$/.exec(text) ?? [];
    if (number === undefined || encoded === undefined) return null;
    const iterator = JSON.parse(Buffer.from(encoded, "base64").toString()) as ShardIterator;
    const old = nowMs() - iterator.issuedMs > ITERATOR_LIFE_MS;
    return { ...iterator, expired: old || Number(number) <= expiredUpTo };
  };

  const describeTable = (call: Call): Answer => {
    const table = tables.get(call.TableName ?? "");
    if (table === undefined) return notFound(`Table: ${call.TableName ?? ""} not found`);
    return good({
      Table: {
        TableName: table.name,
        TableStatus: "ACTIVE",
        KeySchema: [{ AttributeName: "pk", KeyType: "HASH" }],
        LatestStreamArn: table.arns.at(-1),
        ...(table.enabled
          ? { StreamSpecification: { StreamEnabled: true, StreamViewType: "NEW_IMAGE" } }
          : {}),
      },
    });
  };

  const listStreams = (call: Call): Answer => {
    const limit = call.Limit ?? SHARDS_MAX;
    const all = [...tables.values()]
      .filter(({ name }) => call.TableName === undefined || name === call.TableName)
      .flatMap(({ name, arns }) => arns.map((arn) => ({ StreamArn: arn, TableName: name })));
    const after = all.findIndex(({ StreamArn: arn }) => arn === call.ExclusiveStartStreamArn);
    const page = all.slice(after + 1, after + 1 + limit);
    const more = after + 1 + limit < all.length;
    return good({ Streams: page, ...(more ? { LastEvaluatedStreamArn: page.at(-1)?.StreamArn } : {}) });
  };

  const describeStream = (call: Call, partial: boolean): Answer => {
    const arn = call.StreamArn ?? "";
    const table = [...tables.values()].find(({ arns }) => arns.includes(arn));
    if (table === undefined) return notFound(`Stream: ${arn} not found`);
    const limit = Math.min(SHARDS_MAX, call.Limit ?? SHARDS_MAX);
    const after = call.ExclusiveStartShardId;
    const filter = call.ShardFilter;
    const listed = [...shards.values()]
      .filter((shard) => shard.arn === arn && !shard.gone && shard.listedAtMs <= nowMs())
      .filter(({ parent }) => filter?.ShardId === undefined || parent === filter.ShardId)
      .filter(() => !partial || random.chance(PARTIAL))
      .filter(({ id }) => after === undefined || id > after)
      .toSorted((a, b) => (a.id < b.id ? -1 : 1));
    const page = listed.slice(0, limit);
    return good({
      StreamDescription: {
        StreamArn: arn,
        StreamLabel: arn.split("/").at(-1),
        StreamStatus: table.enabled && arn === table.arns.at(-1) ? "ENABLED" : "DISABLED",
        StreamViewType: "NEW_IMAGE",
        TableName: table.name,
        KeySchema: [{ AttributeName: "pk", KeyType: "HASH" }],
        Shards: page.map(described),
        ...(listed.length > limit ? { LastEvaluatedShardId: page.at(-1)?.id } : {}),
      },
    });
  };

  const getShardIterator = (call: Call): Answer => {
    const shard = shards.get(call.ShardId ?? "");
    if (shard === undefined || shard.gone || shard.arn !== call.StreamArn)
      return notFound(`Shard: ${call.ShardId ?? ""} not found`);
    const index = startOf(shard, call.ShardIteratorType ?? "", call.SequenceNumber);
    if (typeof index !== "number") return index;
    return good({ ShardIterator: encode({ shard: shard.id, index, issuedMs: nowMs() }) });
  };

  const getRecords = (call: Call, empty: boolean): Answer => {
    const iterator = decode(call.ShardIterator ?? "");
    if (iterator === null) return invalid("Invalid ShardIterator");
    const shard = shards.get(iterator.shard);
    if (shard === undefined || shard.gone) return notFound(`Shard: ${iterator.shard} not found`);
    if (iterator.expired) return ERRORS.expired as Answer;
    if (iterator.index < shard.trimmed) return ERRORS.trimmed as Answer;
    const texts: string[] = [];
    const most = empty ? 0 : Math.min(RECORDS_MAX, recordsMax, call.Limit ?? RECORDS_MAX);
    let [index, bytes] = [iterator.index, 0];
    for (; index < shard.records.count() && texts.length < most; index += 1) {
      const { text } = shard.records.at(index);
      bytes += text.length;
      if (bytes > BYTES_MAX && texts.length > 0) break;
      texts.push(text);
    }
    const ended = shard.closed && !empty && index === shard.records.count();
    const next = ended
      ? ""
      : `,"NextShardIterator":${JSON.stringify(encode({ shard: shard.id, index, issuedMs: nowMs() }))}`;
    return { status: 200, body: `{"Records":[${texts.join(",")}]${next}}` };
  };

  return {
    shardOf: (call) => decode(call.ShardIterator ?? "")?.shard ?? null,
    expireIterators: () => {
      expiredUpTo = issued;
    },
    pageMax: (records) => {
      recordsMax = records;
    },
    answer: (operation, call, fault) => {
      const wrong = fault === null ? undefined : ERRORS[fault];
      if (wrong !== undefined) return wrong;
      switch (operation) {
        case "DescribeTable":
          return describeTable(call);
        case "ListStreams":
          return listStreams(call);
        case "DescribeStream":
          return describeStream(call, fault === "partial");
        case "GetShardIterator":
          return getShardIterator(call);
        case "GetRecords": {
          // The answer before it in the same chain: what another reader of the shard was told is no repetition.
          const before = answers.get(call.ShardIterator ?? "");
          if (fault === "repeated" && before !== undefined) return before;
          const answer = getRecords(call, fault === "empty");
          const { NextShardIterator: next } = JSON.parse(answer.body) as { NextShardIterator?: string };
          answers.delete(call.ShardIterator ?? "");
          if (next !== undefined) answers.set(next, answer);
          return answer;
        }
        default:
          return error(400, "com.amazon.coral.service#UnknownOperationException", operation);
      }
    },
  };
}

function described({ id, parent, records, closed }: Shard): object {
  const count = records.count();
  const first = count === 0 ? "1" : String(records.at(0).seq);
  return {
    ShardId: id,
    ...(parent === null ? {} : { ParentShardId: parent }),
    SequenceNumberRange: {
      StartingSequenceNumber: first,
      ...(closed ? { EndingSequenceNumber: count === 0 ? first : String(records.at(count - 1).seq) } : {}),
    },
  };
}

/** Where an iterator begins, or why it cannot. */
function startOf({ records, trimmed }: Shard, type: string, sequence: string | undefined): number | Answer {
  if (type === "TRIM_HORIZON") return trimmed;
  if (type === "LATEST") return records.count();
  if (type !== "AT_SEQUENCE_NUMBER" && type !== "AFTER_SEQUENCE_NUMBER")
    return invalid(`ShardIteratorType ${type}`);
  if (sequence === undefined || !/^\d{21,40}$/.test(sequence))
    return invalid("SequenceNumber must have 21 to 40 digits");
  const at = BigInt(sequence);
  const index = indexFrom(records, type === "AT_SEQUENCE_NUMBER" ? at : at + 1n);
  // The record that is named must still be there.
  const named = type === "AT_SEQUENCE_NUMBER" ? index : index - 1;
  return named < trimmed ? (ERRORS.trimmed as Answer) : index;
}
