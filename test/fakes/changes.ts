/** Rows, positions, files and logs to plan with. */
import type { Change, UploadedFile } from "../../compactor/plan.ts";
import { flushKey, planCommit, planCreate } from "../../compactor/plan.ts";
import type { Position } from "../../shared/position.ts";
import type { Row, StreamRecord } from "../../shared/row.ts";
import type { SequenceNumber } from "../../shared/sequence.ts";
import { parseSequence } from "../../shared/sequence.ts";
import type { Snapshot } from "../../shared/snapshot.ts";
import { windowStartMs } from "../../shared/window.ts";
import { encodeRows } from "./parquet.ts";

export const T0 = Date.UTC(2026, 10, 23, 13, 10);
export const STREAM = "arn:aws:dynamodb:us-east-1:0:table/items/stream/2026-11-23T00:00:00.000";

export function seq(text: string | number): SequenceNumber {
  const parsed = parseSequence(String(text));
  if (parsed === null) throw new Error(`${text} is no sequence number`);
  return parsed;
}

export const position = (some: Partial<Position> = {}): Position => ({
  from: null,
  seq: null,
  at: 0,
  parent: null,
  done: false,
  stream: STREAM,
  ...some,
});

export const row = (some: Partial<Row> = {}): Row => ({
  changedMs: T0 + 1,
  op: "insert",
  key: '{"pk":"e#shop#1"}',
  seq: seq(1),
  shard: "s1",
  changes: 1,
  kind: "event",
  source: "shop",
  collection: "tracks",
  id: "1",
  userId: null,
  anonymousId: null,
  event: null,
  eventMs: null,
  image: "{}",
  ...some,
});

let uploads = 0;
/** One file of `rows`, which are of one window. */
export function uploaded(...rows: Row[]): UploadedFile {
  const { bytes, ...file } = encodeRows(rows);
  const start = windowStartMs(0, rows[0]?.changedMs ?? T0);
  return {
    path: flushKey(start, `f${(uploads += 1)}`),
    level: 0,
    windowStartMs: start,
    sizeBytes: bytes.byteLength,
    minChangedMs: Math.min(...rows.map(({ changedMs }) => changedMs)),
    file,
  };
}

export const change = (some: Partial<Change> = {}): Change => ({
  files: [],
  positions: new Map(),
  gaps: [],
  ...some,
});

/** A log of version 0, and of one commit more for each change. */
export function logOf(...changes: readonly Change[]): Snapshot {
  let { next } = planCreate("table", { txnId: "t0", nowMs: T0 });
  for (const [index, some] of changes.entries()) {
    const plan = planCommit(next, some, { txnId: `t${index + 1}`, nowMs: T0 + index + 1 });
    if (plan.kind === "stale") throw new Error(plan.why);
    next = plan.next;
  }
  return next;
}

/** A stream record of an object item. */
export const objectRecord = (
  sequence: string | number,
  createdMs: number,
  some: { readonly id?: string; readonly eventName?: string; readonly value?: string } = {},
): StreamRecord => {
  const eventName = some.eventName ?? "MODIFY";
  const pk = { S: `o#shop#users#${some.id ?? "u1"}` };
  return {
    eventName,
    dynamodb: {
      ApproximateCreationDateTime: Math.floor(createdMs / 1000),
      Keys: { pk },
      SequenceNumber: String(sequence),
      ...(eventName === "REMOVE"
        ? {}
        : {
            NewImage: {
              pk,
              kind: { S: "object" },
              source: { S: "shop" },
              "p.v": { S: some.value ?? "x" },
              event_at: { N: "1" },
            },
          }),
    },
  };
};

export const eventRecord = (
  sequence: string | number,
  createdMs: number,
  some: { readonly id?: string; readonly eventName?: string } = {},
): StreamRecord => {
  const eventName = some.eventName ?? "INSERT";
  const pk = { S: `e#shop#${some.id ?? "m1"}` };
  return {
    eventName,
    dynamodb: {
      ApproximateCreationDateTime: Math.floor(createdMs / 1000),
      Keys: { pk },
      SequenceNumber: String(sequence),
      ...(eventName === "REMOVE"
        ? {}
        : {
            NewImage: {
              pk,
              kind: { S: "event" },
              source: { S: "shop" },
              collection: { S: "tracks" },
              body: { S: '{"n":1}' },
              event_at: { N: "5" },
            },
          }),
    },
  };
};
