/** What it has cost so far, and what it comes to in a month: list prices, and the log's own numbers. Pure. */
import { estimateAll } from "../../shared/cost/estimate.ts";
import type { LogFigures } from "../../shared/cost/figures.ts";
import type { PriceList } from "../../shared/cost/prices.ts";
import { costOf, priceOf } from "../../shared/cost/prices.ts";
import type { Cost } from "../state.ts";
import type { Reading } from "./samples.ts";

export type CostInput = {
  readonly prices: PriceList;
  readonly storage: "s3" | "r2";
  /** Of the commits that the console remembers. */
  readonly figures: LogFigures;
  readonly storedBytes: number;
  readonly rowsLive: number;
  readonly shardsOpen: number;
  /** Mean bytes of an item; null when no row was looked at. */
  readonly itemBytes: number | null;
  readonly reading: Reading | undefined;
  readonly startedMs: number;
};

/** By whose prices what is kept at an endpoint is paid. */
export const storageAt = (endpoint: string | undefined): "s3" | "r2" =>
  endpoint !== undefined && new URL(endpoint).hostname.endsWith(".r2.cloudflarestorage.com") ? "r2" : "s3";

const ITEM_BYTES_UNKNOWN = 600;
/** A rate over less is none. */
const SPAN_MIN_MS = 10_000;

export function costNow(input: CostInput): Cost {
  const { prices, storage, figures, storedBytes, reading } = input;
  const spanMs = figures.toMs - figures.fromMs;
  return {
    pricesAsOf: prices.asOf,
    calls: reading?.calls ?? null,
    callsSinceMs: reading === undefined ? null : input.startedMs,
    callsUsd: reading?.calls.reduce((sum, { usd }) => sum + usd, 0) ?? null,
    storedBytes,
    storedUsdMonth: costOf(priceOf(prices, `${storage}.storage`), storedBytes / 1e9),
    month: spanMs < SPAN_MIN_MS || figures.changes === 0 ? null : monthOf(input, spanMs),
  };
}

function monthOf({ prices, storage, figures, ...input }: CostInput, spanMs: number): Cost["month"] {
  const changesPerSecond = (figures.changes * 1000) / spanMs;
  const estimate = estimateAll(
    {
      items: Math.max(1, input.rowsLive),
      itemBytes: Math.max(1, Math.round(input.itemBytes ?? ITEM_BYTES_UNKNOWN)),
      changesPerSecond,
      storedRowBytes: Math.round(figures.bytes / figures.changes),
      flushSeconds: spanMs / 1000 / Math.max(1, figures.commits - 1),
      shards: Math.max(1, input.shardsOpen),
    },
    prices,
  ).find(({ id }) => id === `varve-${storage}`);
  if (estimate === undefined) return null;
  const { name, lowUsd, highUsd, lines, dominatedBy } = estimate;
  return {
    name,
    lowUsd,
    highUsd,
    lines: lines.map((line) => ({
      what: line.what,
      formula: line.formula,
      lowUsd: line.lowUsd,
      highUsd: line.highUsd,
    })),
    dominatedBy: dominatedBy.map(
      ({ input: doubled, rise }) =>
        `${doubled} (${rise > 0 ? "+" : ""}${Math.round(rise * 100)}% when doubled)`,
    ),
    changesPerSecond,
    spanMs,
  };
}
