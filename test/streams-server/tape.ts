/**
 * Recorded streams, and what DynamoDB Streams answers about them: shards that split, rotate and are listed late,
 * iterators that expire, records that are trimmed, streams that are switched off and on. No I/O; the same seed and
 * the same commands give the same streams.
 *
 * Laws
 * - A record stands in one shard, once. A shard's sequence numbers ascend; a child's may be less than its parent's.
 * - A shard that has ended takes no more records; its children take its keys.
 */
import type { Random } from "../fakes/random.ts";
import type { RecordBody, Recorded, Records } from "./records.ts";
import { backlog, recordText } from "./records.ts";

export type Shard = {
  readonly id: string;
  readonly parent: string | null;
  readonly arn: string;
  /** Keys whose hash is in [least, bound) are written here. */
  readonly least: number;
  readonly bound: number;
  readonly listedAtMs: number;
  readonly records: Records;
  readonly closed: boolean;
  /** How many records, from the first on, are no longer there. */
  readonly trimmed: number;
  /** Neither listed nor readable any more. */
  readonly gone: boolean;
};

export type Table = {
  readonly name: string;
  /** By time of being switched on. */
  readonly arns: readonly string[];
  readonly enabled: boolean;
};

export type Written = { readonly shard: string; readonly seq: string };

export type Tape = {
  readonly tables: ReadonlyMap<string, Table>;
  readonly shards: ReadonlyMap<string, Shard>;
  readonly create: (table: string, shards: number) => void;
  /** A table whose shards, already ended, hold `records` events in all. */
  readonly createBacklog: (table: string, shards: number, records: number, textBytes?: number) => void;
  /** Null while the stream is switched off. */
  readonly write: (table: string, key: string, body: RecordBody) => Written | null;
  /** Ends an open shard, any or the named one, which goes on in `children` others. */
  readonly end: (table: string, children: number, shard?: string) => void;
  /** Ends every open shard. */
  readonly rotateAll: (table: string) => void;
  readonly switchOff: (table: string) => void;
  readonly switchOn: (table: string, shards: number) => void;
  /** Leaves the last `keep` records of a shard, or of every one. */
  readonly trim: (table: string, keep: number, shard?: string) => void;
  /** Drops a shard as if its 24 hours had passed. */
  readonly drop: (shard: string) => void;
  /** The number that a shard's next record comes after. */
  readonly goOnFrom: (shard: string, seq: bigint) => void;
  /** How long a new shard stays out of the list, at most. */
  readonly lag: (maxMs: number) => void;
};

const HASHES = 1 << 16;

type Mutable<T> = { -readonly [name in keyof T]: T[name] };
type OwnShard = Mutable<Shard> & { readonly written: Recorded[]; next: bigint };

export function openTape(nowMs: () => number, random: Random): Tape {
  const tables = new Map<string, Mutable<Table>>();
  const shards = new Map<string, OwnShard>();
  /** Of a table, those still open, by where their keys begin. */
  const open = new Map<string, OwnShard[]>();
  let lagMaxMs = 0;
  let made = 0;

  const tableOf = (name: string): Mutable<Table> => {
    const table = tables.get(name);
    if (table === undefined) throw new Error(`there is no table ${name}`);
    return table;
  };
  const shardOf = (id: string): OwnShard => {
    const shard = shards.get(id);
    if (shard === undefined) throw new Error(`there is no shard ${id}`);
    return shard;
  };
  const openOf = (name: string): OwnShard[] => open.get(name) ?? [];
  const shardsOf = ({ arns }: Table): OwnShard[] =>
    [...shards.values()].filter(({ arn }) => arns.includes(arn));

  const add = (arn: string, parent: OwnShard | null, least: number, bound: number): OwnShard => {
    made += 1;
    const id = `shardId-${String(nowMs()).padStart(20, "0")}-${made.toString(16).padStart(8, "0")}`;
    const written: Recorded[] = [];
    const shard: OwnShard = {
      id,
      parent: parent?.id ?? null,
      arn,
      least,
      bound,
      listedAtMs: nowMs() + random.between(0, lagMaxMs),
      written,
      records: { count: () => written.length, at: (index) => written[index] as Recorded },
      closed: false,
      trimmed: 0,
      gone: false,
      // 21 to 40 digits, so that as text they often compare the other way round.
      next: 10n ** BigInt(random.between(20, 39)) + BigInt(random.between(0, 999)),
    };
    shards.set(id, shard);
    return shard;
  };
  const switchOn = (name: string, count: number): void => {
    const table = tableOf(name);
    const label = new Date(nowMs()).toISOString().slice(0, -1);
    const arn = `arn:aws:dynamodb:us-east-1:000000000000:table/${name}/stream/${label}`;
    table.arns = [...table.arns, arn];
    table.enabled = true;
    const bounds = Array.from({ length: count + 1 }, (_, index) => Math.floor((index * HASHES) / count));
    open.set(
      name,
      bounds.slice(1).map((bound, index) => add(arn, null, bounds[index] ?? 0, bound)),
    );
  };
  const create = (name: string, count: number): void => {
    tables.set(name, { name, arns: [], enabled: false });
    switchOn(name, count);
  };
  const end = (name: string, children: number, id?: string): void => {
    const standing = openOf(name);
    if (standing.length === 0) return;
    const index =
      id === undefined
        ? random.between(0, standing.length - 1)
        : standing.findIndex((shard) => shard.id === id);
    const shard = standing[index];
    if (shard === undefined) throw new Error(`${id} is not open`);
    shard.closed = true;
    const many = Math.min(children, shard.bound - shard.least);
    const bounds = Array.from({ length: many + 1 }, (_, nth) =>
      Math.floor(shard.least + (nth * (shard.bound - shard.least)) / many),
    );
    const made_ = bounds.slice(1).map((bound, nth) => add(shard.arn, shard, bounds[nth] ?? 0, bound));
    standing.splice(index, 1, ...made_);
  };

  return {
    tables,
    shards,
    create,
    createBacklog: (name, count, records, textBytes) => {
      create(name, count);
      for (const [index, shard] of openOf(name).entries()) {
        const own = Math.floor(records / count) + (index < records % count ? 1 : 0);
        shard.records = backlog(`${name}-${index}`, own, shard.next, nowMs(), textBytes);
        shard.closed = true;
      }
      open.set(name, []);
    },
    write: (name, key, body) => {
      const hash = hashOf(key);
      const shard = openOf(name).find(({ least, bound }) => least <= hash && hash < bound);
      if (shard === undefined) return null;
      shard.next += BigInt(random.between(1, 1000));
      const createdMs = nowMs();
      shard.written.push({ seq: shard.next, createdMs, text: recordText(body, shard.next, createdMs) });
      return { shard: shard.id, seq: String(shard.next) };
    },
    end,
    rotateAll: (name) => {
      for (const id of openOf(name).map((shard) => shard.id)) end(name, 1, id);
    },
    switchOff: (name) => {
      for (const shard of openOf(name)) shard.closed = true;
      open.set(name, []);
      tableOf(name).enabled = false;
    },
    switchOn,
    trim: (name, keep, id) => {
      for (const shard of shardsOf(tableOf(name))) {
        if (id !== undefined && shard.id !== id) continue;
        shard.trimmed = Math.max(shard.trimmed, shard.records.count() - keep);
      }
    },
    drop: (id) => {
      shardOf(id).gone = true;
    },
    goOnFrom: (id, seq) => {
      shardOf(id).next = seq;
    },
    lag: (maxMs) => {
      lagMaxMs = maxMs;
    },
  };
}

/** FNV-1a, mixed, its lower bits. */
function hashOf(key: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < key.length; index += 1) {
    hash = Math.imul(hash ^ key.charCodeAt(index), 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  return (hash >>> 0) % HASHES;
}
