/** A workload: the few numbers that a changelog's price follows from. */
import type { PriceList } from "./prices.ts";
import { assumptionOf } from "./prices.ts";

export type Workload = {
  readonly items: number;
  readonly itemBytes: number;
  /** The table's key and the index's key together. */
  readonly keyBytes: number;
  readonly changesPerSecond: number;
  /** Who read all that changed. */
  readonly consumers: number;
  /** Those of them that are outside of the cloud region. */
  readonly remoteConsumers: number;
  /** Open shards of the stream. */
  readonly shards: number;
  readonly flushSeconds: number;
  readonly flushBytes: number;
  /** The longest delay between two reads of a shard. */
  readonly pollMaxSeconds: number;
  /** The least and the most that is asked for. */
  readonly retentionDays: readonly [number, number];
  /** Stored bytes a row; undefined: from the item's size. */
  readonly storedRowBytes: number | undefined;
};

export type GivenWorkload = Pick<Workload, "items" | "itemBytes" | "changesPerSecond"> &
  Partial<{ [Name in keyof Workload]: Workload[Name] | undefined }>;

const WRITES_PER_PARTITION = 1000;
const SHARDS_LEAST = 4;

/** What is not given follows from what is. */
export function completeWorkload(given: GivenWorkload, prices: PriceList): Workload {
  const flushSeconds = given.flushSeconds ?? 60;
  return {
    items: given.items,
    itemBytes: given.itemBytes,
    keyBytes: given.keyBytes ?? 108,
    changesPerSecond: given.changesPerSecond,
    consumers: given.consumers ?? 1,
    remoteConsumers: given.remoteConsumers ?? 0,
    shards: given.shards ?? shardsOf(given, prices),
    flushSeconds,
    flushBytes: given.flushBytes ?? 64 * 1024 ** 2,
    // As the compactor chooses it: half of a flush, at most a minute.
    pollMaxSeconds: given.pollMaxSeconds ?? Math.min(60, Math.max(0.1, flushSeconds / 2)),
    retentionDays: given.retentionDays ?? [7, 30],
    storedRowBytes: given.storedRowBytes,
  };
}

/** DynamoDB opens a shard a partition: by size, or by writes. */
function shardsOf({ items, itemBytes, changesPerSecond }: GivenWorkload, prices: PriceList): number {
  const gb = (items * itemBytes) / 1e9;
  const writeUnits = changesPerSecond * Math.ceil(itemBytes / 1024);
  return Math.ceil(
    Math.max(
      SHARDS_LEAST,
      gb * assumptionOf(prices, "varve.shardsPerGB", "low"),
      writeUnits / WRITES_PER_PARTITION,
    ),
  );
}
