/**
 * What a changelog costs a month, in each of the places where it can be kept. Pure.
 *
 * - An estimate is lines; a line has its formula with the numbers in it.
 * - Everything is computed twice, for the low and for the high end of what is not known.
 */
import { short } from "../amounts.ts";
import type { CaseLine } from "./case.ts";
import { caseOf, gb, millions, monthly } from "./case.ts";
import type { PriceList } from "./prices.ts";
import type { Store, StoreId } from "./stores.ts";
import { STORES } from "./stores.ts";
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
