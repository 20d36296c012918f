/**
 * One end of an estimate: a workload at the prices and assumptions of the low or of the high end.
 * A month is 730 hours; a GB is 10^9 bytes, as bills count.
 */
import { short } from "../amounts.ts";
import type { End, PriceList } from "./prices.ts";
import { assumptionOf, costOf, priceOf, priceText } from "./prices.ts";
import type { Workload } from "./workload.ts";

export type Case = {
  readonly end: End;
  readonly workload: Workload;
  readonly retentionDays: number;
  readonly price: (name: string, amount: number) => number;
  /** At the first tier's price: what is paid where other use has not filled the tiers, or no tiers are granted. */
  readonly firstTierPrice: (name: string, amount: number) => number;
  readonly priceText: (name: string) => string;
  readonly assume: (name: string) => number;
};

/** A line of a bill at one end. */
export type CaseLine = { readonly what: string; readonly formula: string; readonly usd: number };

export const HOURS_A_MONTH = 730;
export const SECONDS_A_MONTH = HOURS_A_MONTH * 3600;
export const SECONDS_A_DAY = 86_400;

export const monthly = (c: Case): number => c.workload.changesPerSecond * SECONDS_A_MONTH;
export const kept = (c: Case): number => c.workload.changesPerSecond * SECONDS_A_DAY * c.retentionDays;
export const millions = (count: number): number => count / 1e6;
export const gb = (bytes: number): number => bytes / 1e9;

export function caseOf(workload: Workload, prices: PriceList, end: End): Case {
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

export function storedRowBytes(c: Case): number {
  return (
    c.workload.storedRowBytes ??
    Math.round(c.assume("varve.storedRowBytes") + c.workload.itemBytes * c.assume("varve.imageCompression"))
  );
}

export function storageLine(
  c: Case,
  store: "s3" | "r2",
  what: string,
  bytes: number,
  days: string,
): CaseLine {
  return {
    what,
    formula: `${short(c.workload.changesPerSecond)}/s x ${days} x ${storedRowBytes(c)} B x ${c.priceText(`${store}.storage`)}/GB`,
    usd: c.price(`${store}.storage`, gb(bytes)),
  };
}
