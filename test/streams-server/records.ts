/** The records of one shard: written one by one, or a backlog of any length that is made as it is read. */
import { eventPk } from "../../shared/item.ts";
import type { StreamRecord } from "../../shared/row.ts";

export type Recorded = {
  readonly seq: bigint;
  readonly createdMs: number;
  /** The record as GetRecords gives it, JSON. */
  readonly text: string;
};

export type Records = {
  readonly count: () => number;
  readonly at: (index: number) => Recorded;
};

/** The least index whose sequence number is `seq` or more. */
export function indexFrom(records: Records, seq: bigint): number {
  let [least, bound] = [0, records.count()];
  while (least < bound) {
    const middle = (least + bound) >> 1;
    if (records.at(middle).seq < seq) least = middle + 1;
    else bound = middle;
  }
  return least;
}

export type RecordBody = Pick<StreamRecord, "eventName" | "userIdentity"> & {
  readonly dynamodb: Omit<StreamRecord["dynamodb"], "SequenceNumber" | "ApproximateCreationDateTime">;
};

export function recordText(body: RecordBody, seq: bigint, createdMs: number): string {
  const { dynamodb, ...rest } = body;
  return JSON.stringify({
    eventID: seq.toString(16),
    eventVersion: "1.1",
    eventSource: "aws:dynamodb",
    awsRegion: "us-east-1",
    ...rest,
    dynamodb: {
      ...dynamodb,
      ApproximateCreationDateTime: Math.floor(createdMs / 1000),
      SequenceNumber: String(seq),
      SizeBytes: 900,
      StreamViewType: "NEW_IMAGE",
    },
  });
}

const STEP = 7919n;
const TEXT_BYTES = 300;
const PROPERTIES = "abcdefghijklmnopqrstuvwxyz 0123456789 ";

/** A stream keeps its records for a day. */
const BACKLOG_MS_MAX = 20 * 3_600_000;
const EVENT_EVERY_MS = 20;

/** Events of some 900 bytes, unless their text is longer; none of them twice, spread over the hours before `endMs`. */
export function backlog(
  name: string,
  count: number,
  first: bigint,
  endMs: number,
  textBytes = TEXT_BYTES,
): Records {
  const text = PROPERTIES.repeat(Math.ceil(textBytes / PROPERTIES.length) + 1);
  const startMs = endMs - Math.min(count * EVENT_EVERY_MS, BACKLOG_MS_MAX);
  return {
    count: () => count,
    at: (index) => {
      const createdMs = startMs + Math.floor((index / count) * (endMs - startMs));
      const seq = first + BigInt(index) * STEP;
      const id = `${name}-${index}`;
      const pk = eventPk(`shop-${index % 40}`, id);
      const shown = text.slice(index % 30, (index % 30) + textBytes);
      const body = `{\\"type\\":\\"track\\",\\"messageId\\":\\"${id}\\",\\"properties\\":{\\"n\\":${index},\\"text\\":\\"${shown}\\"}}`;
      const record = `{"eventID":"${seq.toString(16)}","eventName":"INSERT","eventVersion":"1.1","eventSource":"aws:dynamodb","awsRegion":"us-east-1","dynamodb":{"ApproximateCreationDateTime":${Math.floor(createdMs / 1000)},"Keys":{"pk":{"S":"${pk}"}},"NewImage":{"pk":{"S":"${pk}"},"kind":{"S":"event"},"source":{"S":"shop"},"collection":{"S":"tracks"},"event":{"S":"Product Viewed"},"user_id":{"S":"user-${index % 5000}"},"received_at":{"N":"${createdMs}"},"event_at":{"N":"${createdMs}"},"expires_at":{"N":"2000000000"},"body":{"S":"${body}"}},"SequenceNumber":"${seq}","SizeBytes":900,"StreamViewType":"NEW_IMAGE"}}`;
      return { seq, createdMs, text: record };
    },
  };
}
