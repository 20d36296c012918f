/**
 * A table's stream in memory, with the ways of DynamoDB Streams: shards that rotate and split, lists that lag and
 * leave shards out or are those of a while ago, iterators that expire, records that are trimmed, empty answers while records wait, answers
 * that come twice.
 */
import type { IteratorOutcome, ListedShard, PageOutcome, Streams } from "../../compactor/stream.ts";
import { VarveError } from "../../shared/errors.ts";
import type { StreamRecord } from "../../shared/row.ts";
import { compareSequence, parseSequence } from "../../shared/sequence.ts";
import type { SequenceNumber } from "../../shared/sequence.ts";
import type { Random } from "./random.ts";

export type FakeShard = {
  readonly id: string;
  readonly parent: string | null;
  readonly stream: string;
  readonly records: StreamRecord[];
  readonly last: SequenceNumber | null;
  readonly closed: boolean;
  /** How many records, from the first on, are no longer there. */
  readonly trimmed: number;
  /** Neither listed nor readable any more. */
  readonly gone: boolean;
};

export type Written = { readonly shard: string; readonly seq: SequenceNumber; readonly madeMs: number };
export type RecordBody = Pick<StreamRecord, "eventName" | "userIdentity"> & {
  readonly dynamodb: Omit<StreamRecord["dynamodb"], "SequenceNumber" | "ApproximateCreationDateTime">;
};

export type StreamFault = "throttled" | "expired" | "empty" | "repeated" | "partial" | "stale" | "failed";
export type StreamCall = "describe" | "openIterator" | "getRecords";

export type FakeStreams = Streams & {
  readonly shards: ReadonlyMap<string, FakeShard>;
  /** Null while the stream is switched off. */
  readonly write: (key: string, body: RecordBody) => Written | null;
  /** Ends an open shard, which goes on in `children` others. */
  readonly end: (children: 1 | 2) => void;
  readonly switchOff: () => void;
  /** A new stream, under a name of its own. */
  readonly switchOn: () => void;
  /** Drops what was written before; ended shards that held nothing newer go with it. */
  readonly trim: (beforeMs: number) => void;
  /** Drops what was written to one shard before. */
  readonly trimShard: (shard: string, beforeMs: number) => void;
};

export type FakeStreamsOptions = {
  readonly nowMs: () => number;
  readonly random: Random;
  /** Records in one answer, at most. */
  readonly pageMax: number;
  /** How long a new shard stays out of the list, at most. */
  readonly listLagMaxMs: number;
  /** An answer says all there is: the end of a shard comes with its last records, sisters are listed together. */
  readonly prompt?: boolean;
  readonly fault: (call: StreamCall) => StreamFault | null;
};

/** Bytes of an answer that was cut short, and of one record. */
const FULL_BYTES = 950_000;
const RECORD_BYTES = 500;
const ITERATOR_LIFE_MS = 15 * 60_000;
const HASHES = 1 << 16;
/** A listing of a while ago is one of so many. */
const LISTINGS_KEPT = 10;

type Shard = {
  -readonly [name in keyof FakeShard]: FakeShard[name];
} & {
  /** Keys whose hash is in [least, bound) are written here. */
  readonly least: number;
  readonly bound: number;
  readonly listedAtMs: number;
  readonly createdMs: number[];
  next: bigint;
};

export function fakeStreams({
  nowMs,
  random,
  pageMax,
  listLagMaxMs,
  prompt = false,
  fault,
}: FakeStreamsOptions): FakeStreams {
  const shards = new Map<string, Shard>();
  let stream: string | null = null;
  let latest = "";
  let made = 0;
  /** What listings have shown, the latest last. */
  const shown: (readonly ListedShard[])[] = [];

  const trimRecords = (shard: Shard, beforeMs: number): void => {
    while (shard.trimmed < shard.records.length && (shard.createdMs[shard.trimmed] ?? 0) < beforeMs) {
      shard.trimmed += 1;
    }
  };
  const listedAt = (): number => nowMs() + random.between(0, listLagMaxMs);
  const add = (parent: Shard | null, least: number, bound: number, listedAtMs = listedAt()): number => {
    if (stream === null) return listedAtMs;
    made += 1;
    const id = `shardId-${String(nowMs()).padStart(20, "0")}-${made.toString(16).padStart(8, "0")}`;
    shards.set(id, {
      id,
      parent: parent?.id ?? null,
      stream,
      least,
      bound,
      listedAtMs,
      records: [],
      createdMs: [],
      last: null,
      closed: false,
      trimmed: 0,
      gone: false,
      // Numbers of a child may be less than its parent's: they are only ordered within a shard.
      next: 10n ** BigInt(random.between(20, 39)) + BigInt(random.between(0, 999)),
    });
    return listedAtMs;
  };
  const open = (): Shard[] => [...shards.values()].filter((shard) => !shard.closed);
  const switchOn = (): void => {
    latest = `arn:aws:dynamodb:us-east-1:0:table/items/stream/${new Date(nowMs()).toISOString().slice(0, -1)}`;
    stream = latest;
    const listedAtMs = add(null, 0, HASHES / 2);
    add(null, HASHES / 2, HASHES, prompt ? listedAtMs : listedAt());
  };
  switchOn();

  return {
    shards,
    switchOn,
    switchOff: () => {
      for (const shard of open()) shard.closed = true;
      stream = null;
    },
    end: (children) => {
      const some = open();
      if (some.length === 0) return;
      const shard = random.pick(some);
      shard.closed = true;
      const middle = children === 1 ? shard.bound : (shard.least + shard.bound) >> 1;
      const listedAtMs = add(shard, shard.least, middle);
      if (children === 2) add(shard, middle, shard.bound, prompt ? listedAtMs : listedAt());
    },
    trim: (beforeMs) => {
      for (const shard of shards.values()) {
        trimRecords(shard, beforeMs);
        shard.gone ||= shard.closed && shard.trimmed === shard.records.length && shard.listedAtMs < beforeMs;
      }
    },
    trimShard: (id, beforeMs) => {
      const shard = shards.get(id);
      if (shard !== undefined) trimRecords(shard, beforeMs);
    },
    write: (key, body) => {
      const hash = hashOf(key);
      const shard = open().find(({ least, bound }) => least <= hash && hash < bound);
      if (shard === undefined) return null;
      shard.next += BigInt(random.between(1, 1000));
      const sequence = parseSequence(String(shard.next)) as SequenceNumber;
      shard.records.push({
        ...body,
        dynamodb: {
          ...body.dynamodb,
          SequenceNumber: sequence,
          ApproximateCreationDateTime: Math.floor(nowMs() / 1000),
        },
      });
      shard.createdMs.push(nowMs());
      shard.last = sequence;
      return { shard: shard.id, seq: sequence, madeMs: nowMs() };
    },

    describe: async (): Promise<ListedShard[]> => {
      const how = fault("describe");
      if (how === "throttled" || how === "failed") {
        throw new VarveError("table_unreachable", "DescribeTable failed: ThrottlingException", "Try again.");
      }
      if (how === "stale" && shown.length > 0) return [...random.pick(shown.slice(-LISTINGS_KEPT))];
      const listed = [...shards.values()].filter((shard) => !shard.gone && shard.listedAtMs <= nowMs());
      const given =
        how === "partial" ? listed.filter((shard) => shard.stream !== latest || random.chance(0.6)) : listed;
      shown.push(given.map(({ id, parent, stream: arn }) => ({ id, parent, stream: arn })));
      return [...(shown.at(-1) ?? [])];
    },

    openIterator: async (arn, id, after): Promise<IteratorOutcome> => {
      const how = fault("openIterator");
      if (how === "throttled" || how === "failed") return { kind: "retry", why: "LimitExceededException" };
      const shard = shards.get(id);
      if (shard === undefined || shard.gone || shard.stream !== arn) return { kind: "gone" };
      if (after === null) return { kind: "iterator", iterator: iteratorOf(shard.id, shard.trimmed, nowMs()) };
      const index = shard.records.findIndex(
        (record) => compareSequence(parseSequence(record.dynamodb.SequenceNumber), after) > 0,
      );
      const at = index < 0 ? shard.records.length : index;
      if (at - 1 < shard.trimmed) return { kind: "trimmed" };
      return { kind: "iterator", iterator: iteratorOf(shard.id, at, nowMs()) };
    },

    getRecords: async (iterator): Promise<PageOutcome> => {
      const how = fault("getRecords");
      if (how === "throttled" || how === "failed") return { kind: "retry", why: "ThrottlingException" };
      const [id = "", at = "0", issued = "0"] = iterator.split("|");
      const shard = shards.get(id);
      if (shard === undefined || shard.gone) return { kind: "gone" };
      if (how === "expired" || nowMs() - Number(issued) > ITERATOR_LIFE_MS) return { kind: "expired" };
      const asked = Number(at);
      if (asked < shard.trimmed) return { kind: "trimmed" };
      const first = how === "repeated" ? Math.max(shard.trimmed, asked - 3) : asked;
      const end = how === "empty" ? first : Math.min(shard.records.length, first + pageMax);
      const waiting = end < shard.records.length;
      const records = shard.records.slice(first, end);
      // The end of an ended shard shows with its last records, or only in an answer after them.
      const ended =
        shard.closed && !waiting && how !== "empty" && (records.length === 0 || prompt || random.chance(0.5));
      const next = ended ? null : iteratorOf(shard.id, Math.max(end, asked), nowMs());
      const bytes = waiting && how !== "empty" ? FULL_BYTES : records.length * RECORD_BYTES;
      return { kind: "page", page: { records: structuredClone(records), next, bytes } };
    },
  };
}

const iteratorOf = (shard: string, index: number, issuedMs: number): string =>
  `${shard}|${index}|${issuedMs}`;

/** FNV-1a, its lower bits. */
function hashOf(key: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < key.length; index += 1) {
    hash = Math.imul(hash ^ key.charCodeAt(index), 0x01000193);
  }
  return (hash >>> 0) % HASHES;
}
