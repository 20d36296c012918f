/**
 * A row: one line of a change file, the last change of a key in a window. Built from a stream record.
 *
 * Laws
 * - `changedMs` is never before the change was made: DynamoDB rounds creation times down to the second, so it is
 *   the end of that second, or the time of reading if that is earlier. And it is above the shard's watermark:
 *   no row ever appears at or below a watermark that a reader has been told.
 * - A resent event (MODIFY of an event item) and the removal of an event by TTL are not changes: null.
 */
import type { AttributeMap, AttributeValue } from "./item.ts";
import { attributeMapJson, objectPropertiesJson, parseItem, parsePk } from "./item.ts";
import type { SequenceNumber } from "./sequence.ts";
import { parseSequence } from "./sequence.ts";
import { VarveError } from "./errors.ts";

export const OPS = ["insert", "update", "delete"] as const;
export type Op = (typeof OPS)[number];

export type Row = {
  readonly changedMs: number;
  readonly op: Op;
  /** The item's key as JSON text, `{"pk":"..."}`. */
  readonly key: string;
  readonly seq: SequenceNumber;
  readonly shard: string;
  /** How many changes the row stands for. */
  readonly changes: number;
  readonly kind: string | null;
  readonly source: string | null;
  readonly collection: string | null;
  readonly id: string | null;
  readonly userId: string | null;
  readonly anonymousId: string | null;
  readonly event: string | null;
  readonly eventMs: number | null;
  /** JSON text after the change: an event's body, an object's properties, any other item's attributes. Null on delete. */
  readonly image: string | null;
};

/** A record as GetRecords gives it: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_Record.html */
export type StreamRecord = {
  readonly eventName: string;
  readonly userIdentity?: { readonly Type?: string; readonly PrincipalId?: string };
  readonly dynamodb: {
    /** Seconds since the epoch. */
    readonly ApproximateCreationDateTime?: number;
    readonly Keys: AttributeMap;
    readonly NewImage?: AttributeMap;
    readonly SequenceNumber: string;
    readonly SizeBytes?: number;
  };
};

const OP_OF: Readonly<Record<string, Op>> = { INSERT: "insert", MODIFY: "update", REMOVE: "delete" };

export function sequenceOf(record: StreamRecord): SequenceNumber {
  const sequence = parseSequence(record.dynamodb?.SequenceNumber ?? "");
  if (sequence !== null) return sequence;
  throw new VarveError(
    "bad_record",
    `a stream record has no usable SequenceNumber: ${JSON.stringify(record).slice(0, 200)}`,
    "The endpoint does not speak the DynamoDB Streams protocol. Check DYNAMODB_STREAMS_ENDPOINT.",
  );
}

/**
 * @param seq the record's sequence number
 * @param floorMs the shard's watermark: `changedMs` is above it
 * @param readMs when the record was read
 */
export function rowOf(
  record: StreamRecord,
  seq: SequenceNumber,
  shard: string,
  floorMs: number,
  readMs: number,
): Row | null {
  const { dynamodb } = record;
  const op = OP_OF[record.eventName];
  if (op === undefined) throw badRecord(record, `its eventName is ${JSON.stringify(record.eventName)}`);
  const createdMs = Math.ceil((dynamodb.ApproximateCreationDateTime ?? 0) * 1000);
  const latestMs = Math.min(Math.floor(createdMs / 1000) * 1000 + 999, Math.max(createdMs, readMs));
  const image = dynamodb.NewImage;
  if (op !== "delete" && image === undefined) {
    throw badRecord(
      record,
      "it has no NewImage: the table's stream view type must be NEW_IMAGE or NEW_AND_OLD_IMAGES",
    );
  }
  const pk = soleKey(dynamodb.Keys);
  const item = pk === null ? null : image === undefined ? parsePk(pk) : parseItem(pk, image);
  const changedMs = latestMs > floorMs ? latestMs : floorMs + 1;
  const key = pk === null ? attributeMapJson(dynamodb.Keys) : `{"pk":${JSON.stringify(pk)}}`;
  if (
    item !== null &&
    item.kind !== "object" &&
    (op === "update" || (op === "delete" && isTtlRemoval(record)))
  )
    return null;
  let collection: string | null = null;
  let userId: string | null = null;
  let anonymousId: string | null = null;
  let event: string | null = null;
  let json: string | null = null;
  if (item?.kind === "object") {
    collection = item.collection;
    userId = item.collection === "users" ? item.id : null;
    if (image !== undefined) json = objectPropertiesJson(image);
  } else if (item !== null) {
    collection = text(image?.["collection"]);
    userId = text(image?.["user_id"]);
    anonymousId = text(image?.["anonymous_id"]);
    event = text(image?.["event"]);
    if (image !== undefined) json = text(image["body"]) ?? attributeMapJson(image);
  } else if (image !== undefined) json = attributeMapJson(image);
  return {
    changedMs,
    op,
    key,
    seq,
    shard,
    changes: 1,
    kind: item?.kind ?? null,
    source: item?.source ?? null,
    collection,
    id: item?.id ?? null,
    userId,
    anonymousId,
    event,
    eventMs: item === null ? null : number(image?.["event_at"]),
    image: json,
  };
}

/** https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/time-to-live-ttl-streams.html */
const isTtlRemoval = (record: StreamRecord): boolean =>
  record.userIdentity?.Type === "Service" && record.userIdentity.PrincipalId === "dynamodb.amazonaws.com";

/** The partition key of an item whose whole key it is. With a sort key beside it, the table is not ours. */
function soleKey(keys: AttributeMap): string | null {
  for (const name in keys) if (name !== "pk") return null;
  return text(keys["pk"]);
}

const text = (value: AttributeValue | undefined): string | null =>
  value !== undefined && "S" in value ? value.S : null;

const number = (value: AttributeValue | undefined): number | null =>
  value !== undefined && "N" in value ? Number(value.N) : null;

function badRecord(record: StreamRecord, why: string): VarveError {
  return new VarveError(
    "bad_record",
    `stream record ${record.dynamodb.SequenceNumber} cannot be kept: ${why}.`,
    "Nothing was committed past it. Correct the stream's settings (`varve doctor` names them) and start the compactor again.",
  );
}
