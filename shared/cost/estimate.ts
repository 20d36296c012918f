/**
 * What a changelog costs a month, in each of the places where it can be kept. Pure.
 *
 * - An estimate is lines; a line has its formula with the numbers in it.
 * - Everything is computed twice, for the low and for the high end of what is not known.
 * - A month is 730 hours; a GB is 10^9 bytes, as bills count.
 */
import { many, noun, short } from "../amounts.ts";
import type { End, PriceList } from "./prices.ts";
import { assumptionOf, costOf, priceOf, priceText } from "./prices.ts";
import type { GivenWorkload, Workload } from "./workload.ts";
import { completeWorkload } from "./workload.ts";

export type Line = {
  readonly what: string;
  /** With the numbers of the high end; those of the low end where they differ. */
  readonly formula: string;
  readonly lowFormula: string;
  readonly lowUsd: number;
  readonly highUsd: number;
};
/** `rise`: by how much the price grows, as a part of itself, when the input doubles. */
export type Dominant = { readonly input: string; readonly rise: number };
export type Estimate = {
  readonly id: StoreId;
  readonly name: string;
  readonly lines: readonly Line[];
  readonly lowUsd: number;
  readonly highUsd: number;
  readonly dominatedBy: readonly Dominant[];
};
export type StoreId = "index" | "bigtable" | "firehose" | "exports" | "varve-s3" | "varve-r2";

type Case = {
  readonly end: End;
  readonly workload: Workload;
  readonly retentionDays: number;
  readonly price: (name: string, amount: number) => number;
  /** At the first tier's price: what is paid where other use has not filled the tiers, or no tiers are granted. */
  readonly firstTierPrice: (name: string, amount: number) => number;
  readonly priceText: (name: string) => string;
  readonly assume: (name: string) => number;
};
type CaseLine = { readonly what: string; readonly formula: string; readonly usd: number };
type Store = { readonly id: StoreId; readonly name: string; readonly lines: (c: Case) => CaseLine[] };

const HOURS_A_MONTH = 730;
const SECONDS_A_MONTH = HOURS_A_MONTH * 3600;
const SECONDS_A_DAY = 86_400;

const monthly = (c: Case): number => c.workload.changesPerSecond * SECONDS_A_MONTH;
const kept = (c: Case): number => c.workload.changesPerSecond * SECONDS_A_DAY * c.retentionDays;
const millions = (count: number): number => count / 1e6;
const gb = (bytes: number): number => bytes / 1e9;

const index: Store = {
  id: "index",
  name: "DynamoDB GSI, keys only",
  lines: (c) => {
    const { items, keyBytes, changesPerSecond } = c.workload;
    const entryBytes = keyBytes + c.assume("index.entryOverheadBytes");
    const perChange = c.assume("index.writesPerChange");
    const use = c.assume("index.provisionedUse");
    const provisioned = (changesPerSecond * perChange) / use;
    return [
      {
        what: "index storage",
        formula: `${short(items)} items x ${entryBytes} B x ${c.priceText("dynamodb.storage")}/GB`,
        usd: c.price("dynamodb.storage", gb(items * entryBytes)),
      },
      c.end === "low"
        ? {
            what: "index writes",
            formula: `${short(changesPerSecond)}/s x ${perChange} units / ${use} used x ${HOURS_A_MONTH} h x ${c.priceText("dynamodb.provisionedWrite")}, provisioned`,
            usd: c.price("dynamodb.provisionedWrite", provisioned * HOURS_A_MONTH),
          }
        : {
            what: "index writes",
            formula: `${short(monthly(c))} changes x ${perChange} units x ${c.priceText("dynamodb.writeUnits")}/M, on demand`,
            usd: c.price("dynamodb.writeUnits", millions(monthly(c) * perChange)),
          },
    ];
  },
};

const bigtable: Store = {
  id: "bigtable",
  name: "Bigtable in another cloud",
  lines: (c) => {
    const { keyBytes, changesPerSecond, consumers } = c.workload;
    const rowBytes = keyBytes + c.assume("bigtable.rowOverheadBytes");
    const storedGB = gb(kept(c) * rowBytes);
    const movedGB = gb(monthly(c) * rowBytes);
    const nodes = Math.max(
      1,
      Math.ceil(changesPerSecond / c.assume("bigtable.writesPerNode")),
      Math.ceil(storedGB / c.assume("bigtable.gbPerNode")),
    );
    const moved = `${short(monthly(c))} changes x ${rowBytes} B`;
    return [
      {
        what: "nodes",
        formula: `${nodes} nodes x ${HOURS_A_MONTH} h x ${c.priceText("bigtable.nodeHour")}`,
        usd: c.price("bigtable.nodeHour", nodes * HOURS_A_MONTH),
      },
      {
        what: "storage",
        formula: `${short(changesPerSecond)}/s x ${c.retentionDays} d x ${rowBytes} B x ${c.priceText("bigtable.storage")}/GB`,
        usd: c.price("bigtable.storage", storedGB),
      },
      {
        what: "there: egress",
        formula: `${moved} x ${c.priceText("aws.egress")}/GB`,
        usd: c.price("aws.egress", movedGB),
      },
      {
        what: "back: egress",
        formula: `${moved} x ${consumers} consumers x ${c.priceText("gcp.egress")}/GB`,
        usd: c.price("gcp.egress", movedGB * consumers),
      },
    ];
  },
};

const firehose: Store = {
  id: "firehose",
  name: "Kinesis and Firehose to Parquet",
  lines: (c) => {
    const { changesPerSecond, itemBytes } = c.workload;
    const recordBytes = itemBytes + c.assume("kinesis.recordOverheadBytes");
    const rounding = c.assume("firehose.roundingBytes");
    const chargedBytes = Math.ceil(recordBytes / rounding) * rounding;
    const chargedGB = gb(monthly(c) * chargedBytes);
    const shards = Math.max(
      1,
      Math.ceil(changesPerSecond / 1000),
      Math.ceil((changesPerSecond * recordBytes) / 1e6),
    );
    const units = Math.ceil(recordBytes / 25_000);
    const charged = `${short(monthly(c))} changes x ${chargedBytes} B`;
    return [
      {
        what: "capture",
        formula: `${short(monthly(c))} changes x ${c.priceText("dynamodb.kinesisCapture")}/M`,
        usd: c.price("dynamodb.kinesisCapture", millions(monthly(c) * Math.ceil(itemBytes / 1024))),
      },
      {
        what: "stream",
        formula: `${many(shards, "shard")} x ${HOURS_A_MONTH} h x ${c.priceText("kinesis.shardHour")} + ${short(monthly(c))} x ${c.priceText("kinesis.putUnits")}/M`,
        usd:
          c.price("kinesis.shardHour", shards * HOURS_A_MONTH) +
          c.price("kinesis.putUnits", millions(monthly(c) * units)),
      },
      c.end === "low"
        ? {
            what: "Firehose",
            formula: `${charged} x ${c.priceText("firehose.ingest")}/GB`,
            usd: c.price("firehose.ingest", chargedGB),
          }
        : {
            what: "Firehose",
            formula: `${charged} x ${c.priceText("firehose.ingest")}/GB, all at the first`,
            usd: c.firstTierPrice("firehose.ingest", chargedGB),
          },
      {
        what: "Parquet",
        formula: `${charged} x ${c.priceText("firehose.conversion")}/GB`,
        usd: c.price("firehose.conversion", chargedGB),
      },
      storageLine(c, "s3", "storage", kept(c) * storedRowBytes(c), `${c.retentionDays} d`),
    ];
  },
};

const incrementalExports: Store = {
  id: "exports",
  name: "incremental exports",
  lines: (c) => {
    const { items, itemBytes } = c.workload;
    const images = c.end === "low" ? 1 : 2;
    const tableGB = gb(items * itemBytes);
    return [
      {
        what: "exports",
        formula: `${short(monthly(c))} changes x ${itemBytes} B x ${images === 1 ? "new image" : "both images"} x ${c.priceText("dynamodb.export")}/GB`,
        usd: c.price("dynamodb.export", gb(monthly(c) * itemBytes * images)),
      },
      c.end === "low"
        ? { what: "point-in-time recovery", formula: "0: it is on for its own sake", usd: 0 }
        : {
            what: "point-in-time recovery",
            formula: `${short(tableGB)} GB x ${c.priceText("dynamodb.pitr")}`,
            usd: c.price("dynamodb.pitr", tableGB),
          },
    ];
  },
};

function storedRowBytes(c: Case): number {
  return (
    c.workload.storedRowBytes ??
    Math.round(c.assume("varve.storedRowBytes") + c.workload.itemBytes * c.assume("varve.imageCompression"))
  );
}

function storageLine(c: Case, store: "s3" | "r2", what: string, bytes: number, days: string): CaseLine {
  return {
    what,
    formula: `${short(c.workload.changesPerSecond)}/s x ${days} x ${storedRowBytes(c)} B x ${c.priceText(`${store}.storage`)}/GB`,
    usd: c.price(`${store}.storage`, gb(bytes)),
  };
}

/** GetRecords calls a second and shard, as the compactor paces them: until an answer is well filled, within bounds. */
function callsPerShard(c: Case): number {
  const { changesPerSecond, shards, itemBytes, pollMaxSeconds } = c.workload;
  const rate = changesPerSecond / shards;
  const recordBytes = itemBytes + c.assume("kinesis.recordOverheadBytes");
  const fullPages = Math.max(rate / 1000, (rate * recordBytes) / c.assume("varve.pageBytes"));
  const paced = Math.min(rate / c.assume("varve.pageRecords"), 1 / c.assume("varve.pollMinSeconds"));
  return Math.max(1 / pollMaxSeconds, paced, fullPages);
}

function varveLines(c: Case, store: "s3" | "r2"): CaseLine[] {
  const { changesPerSecond, shards, consumers, remoteConsumers, flushSeconds, flushBytes, itemBytes } =
    c.workload;
  const calls = callsPerShard(c);
  const rowBytes = storedRowBytes(c);
  const writtenBytes = monthly(c) * rowBytes;
  const rewrites = c.assume("varve.rewrites");
  const flushesPerSecond = Math.max(
    1 / flushSeconds,
    (changesPerSecond * (itemBytes + c.assume("kinesis.recordOverheadBytes"))) / flushBytes,
  );
  const flushes = flushesPerSecond * SECONDS_A_MONTH;
  const merged = (writtenBytes * rewrites) / c.assume("varve.mergedFileBytes");
  const gets = flushes * 2 * consumers + flushes + merged;
  const cores = Math.max(
    c.assume("varve.coresLeast"),
    (changesPerSecond / c.assume("varve.rowsPerCore") +
      (changesPerSecond * rewrites) / c.assume("varve.mergedRowsPerCore")) /
      c.assume("varve.coreUse"),
  );
  const memory = c.assume("varve.memoryPerCore");
  const tasks = Math.ceil(cores / c.assume("varve.coresPerTask"));
  const beats = (2 * tasks * SECONDS_A_MONTH) / c.assume("varve.beatSeconds");
  const puts = flushes * (2 + 1 / c.assume("varve.checkpointEvery")) + merged + beats;
  const replacedDays = c.assume("varve.replacedDays");
  const lines: CaseLine[] = [
    {
      what: "GetRecords",
      formula: `${short(shards)} ${noun(shards, "shard")}, each every ${Number((1 / calls).toPrecision(3))} s x ${c.priceText("streams.getRecords")}/M`,
      usd: c.price("streams.getRecords", millions(shards * calls * SECONDS_A_MONTH)),
    },
    {
      what: "compactor",
      formula: `${Number(cores.toPrecision(3))} vCPU with ${memory} GB each x ${HOURS_A_MONTH} h x (${c.priceText("fargate.vcpuHour")} + ${memory} x ${c.priceText("fargate.gbHour")})`,
      usd:
        c.price("fargate.vcpuHour", cores * HOURS_A_MONTH) +
        c.price("fargate.gbHour", cores * memory * HOURS_A_MONTH),
    },
    {
      what: "PUT",
      formula: `(${short(flushes)} flushes x (file + commit) + ${short(merged)} merged files + ${short(beats)} signs of life) x ${c.priceText(`${store}.put`)}/M`,
      usd: c.price(`${store}.put`, millions(puts)),
    },
    {
      what: "GET",
      formula: `${short(flushes)} flushes x (2 x ${consumers} consumers + 1 merge) x ${c.priceText(`${store}.get`)}/M`,
      usd: c.price(`${store}.get`, millions(gets)),
    },
    storageLine(c, store, "storage", kept(c) * rowBytes, `${c.retentionDays} d`),
    storageLine(
      c,
      store,
      "merged-away files",
      changesPerSecond * SECONDS_A_DAY * replacedDays * rewrites * rowBytes,
      `${replacedDays} d x ${rewrites} copies`,
    ),
  ];
  if (store === "r2") {
    lines.push({
      what: "egress to R2",
      formula: `${short(monthly(c))} changes x ${rowBytes} B x ${1 + rewrites} writes x ${c.priceText("aws.egress")}/GB, the compactor being in AWS`,
      usd: c.price("aws.egress", gb(writtenBytes * (1 + rewrites))),
    });
  } else if (remoteConsumers > 0) {
    lines.push({
      what: "egress to consumers",
      formula: `${short(monthly(c))} changes x ${rowBytes} B x ${remoteConsumers} outside the region x ${c.priceText("aws.egress")}/GB`,
      usd: c.price("aws.egress", gb(writtenBytes * remoteConsumers)),
    });
  }
  return lines;
}

const STORES: readonly Store[] = [
  index,
  bigtable,
  firehose,
  incrementalExports,
  { id: "varve-s3", name: "Varve on S3", lines: (c) => varveLines(c, "s3") },
  { id: "varve-r2", name: "Varve on R2", lines: (c) => varveLines(c, "r2") },
];

function caseOf(workload: Workload, prices: PriceList, end: End): Case {
  return {
    end,
    workload,
    retentionDays: workload.retentionDays[end === "low" ? 0 : 1],
    price: (name, amount) => costOf(priceOf(prices, name), amount),
    firstTierPrice: (name, amount) => {
      const price = priceOf(prices, name);
      return (typeof price === "number" ? price : (price[0]?.price ?? 0)) * amount;
    },
    priceText: (name) => priceText(priceOf(prices, name)),
    assume: (name) => assumptionOf(prices, name, end),
  };
}

const total = (lines: readonly CaseLine[]): number => lines.reduce((sum, { usd }) => sum + usd, 0);

function rangeOf(store: Store, workload: Workload, prices: PriceList): readonly [number, number] {
  return [
    total(store.lines(caseOf(workload, prices, "low"))),
    total(store.lines(caseOf(workload, prices, "high"))),
  ];
}

export const middle = (low: number, high: number): number => Math.sqrt(low * high);

/** Each input, and the workload in which it is doubled. */
function doubled(given: GivenWorkload, prices: PriceList): readonly (readonly [string, Workload])[] {
  const whole = completeWorkload(given, prices);
  const once = (change: Partial<GivenWorkload>): Workload =>
    completeWorkload({ ...given, ...change }, prices);
  return [
    ["items", once({ items: given.items * 2 })],
    ["item bytes", once({ itemBytes: given.itemBytes * 2 })],
    ["key bytes", { ...whole, keyBytes: whole.keyBytes * 2 }],
    ["changes a second", once({ changesPerSecond: given.changesPerSecond * 2 })],
    ["consumers", { ...whole, consumers: whole.consumers * 2 }],
    ["consumers elsewhere", { ...whole, remoteConsumers: whole.remoteConsumers * 2 }],
    ["shards", { ...whole, shards: whole.shards * 2 }],
    ["poll delay", { ...whole, pollMaxSeconds: whole.pollMaxSeconds * 2 }],
    ["flush interval", { ...whole, flushSeconds: whole.flushSeconds * 2 }],
    ["flush bytes", { ...whole, flushBytes: whole.flushBytes * 2 }],
    [
      "retention",
      { ...whole, retentionDays: [whole.retentionDays[0] * 2, whole.retentionDays[1] * 2] as const },
    ],
  ];
}

const RISE_LEAST = 0.05;
const DOMINANT_MAX = 5;

function dominant(store: Store, given: GivenWorkload, prices: PriceList): Dominant[] {
  const usd = middle(...rangeOf(store, completeWorkload(given, prices), prices));
  return doubled(given, prices)
    .map(([input, workload]) => ({ input, rise: middle(...rangeOf(store, workload, prices)) / usd - 1 }))
    .filter(({ rise }) => Math.abs(rise) >= RISE_LEAST)
    .toSorted((a, b) => Math.abs(b.rise) - Math.abs(a.rise))
    .slice(0, DOMINANT_MAX);
}

export function estimateAll(given: GivenWorkload, prices: PriceList): readonly Estimate[] {
  const workload = completeWorkload(given, prices);
  return STORES.map((store) => {
    const low = store.lines(caseOf(workload, prices, "low"));
    const high = store.lines(caseOf(workload, prices, "high"));
    const lines = high.map((line, at): Line => ({
      what: line.what,
      formula: line.formula,
      lowFormula: low[at]?.formula ?? line.formula,
      lowUsd: low[at]?.usd ?? line.usd,
      highUsd: line.usd,
    }));
    return {
      id: store.id,
      name: store.name,
      lines,
      lowUsd: total(low),
      highUsd: total(high),
      dominatedBy: dominant(store, given, prices),
    };
  });
}

export type ScalePoint = {
  readonly changesPerSecond: number;
  readonly usd: Readonly<Record<StoreId, readonly [number, number]>>;
};

/** The same workload at other sizes: items and changes a second grow together. */
export function estimateScale(
  given: GivenWorkload,
  prices: PriceList,
  changesPerSecond: readonly number[],
): readonly ScalePoint[] {
  return changesPerSecond.map((rate) => {
    const scale = rate / given.changesPerSecond;
    const shards = given.shards === undefined ? undefined : Math.ceil(given.shards * scale);
    const sized = { ...given, items: given.items * scale, changesPerSecond: rate, shards };
    const workload = completeWorkload(sized, prices);
    const usd = Object.fromEntries(STORES.map((store) => [store.id, rangeOf(store, workload, prices)]));
    return { changesPerSecond: rate, usd: usd as ScalePoint["usd"] };
  });
}

/** What every one of the stores needs besides: the table itself, and the edge. */
export function estimateRest(given: GivenWorkload, prices: PriceList): readonly CaseLine[] {
  const c = caseOf(completeWorkload(given, prices), prices, "high");
  const { items, itemBytes } = c.workload;
  const units = Math.ceil(itemBytes / 1024);
  const perRequest = c.assume("edge.eventsPerRequest");
  return [
    {
      what: "the table's storage",
      formula: `${short(items)} items x ${itemBytes} B x ${c.priceText("dynamodb.storage")}/GB`,
      usd: c.price("dynamodb.storage", gb(items * itemBytes)),
    },
    {
      what: "the table's writes",
      formula: `${short(monthly(c))} changes x ${units} units x ${c.priceText("dynamodb.writeUnits")}/M`,
      usd: c.price("dynamodb.writeUnits", millions(monthly(c) * units)),
    },
    {
      what: "the edge",
      formula: `${short(monthly(c))} changes / ${perRequest} a request x ${c.priceText("workers.requests")}/M + ${c.assume("edge.cpuMsPerEvent")} ms each x ${c.priceText("workers.cpuMs")}/M`,
      usd:
        c.price("workers.requests", millions(monthly(c) / perRequest)) +
        c.price("workers.cpuMs", millions(monthly(c) * c.assume("edge.cpuMsPerEvent"))),
    },
  ];
}
