/** `varve cost`: what the changelog costs a month, here and elsewhere. */
import { writeFile } from "node:fs/promises";
import { VarveError } from "../shared/errors.ts";
import type { Estimate } from "../shared/cost/estimate.ts";
import { estimateAll, estimateRest, estimateScale, short } from "../shared/cost/estimate.ts";
import type { Measured } from "./cost/measured.ts";
import { plotSvg, rangeText } from "./cost/plot.ts";
import type { PriceList } from "../shared/cost/prices.ts";
import { readPrices } from "../shared/cost/prices.ts";
import type { GivenWorkload, Workload } from "../shared/cost/workload.ts";
import { completeWorkload } from "../shared/cost/workload.ts";
import type { Output } from "./output.ts";

export type CostArguments = {
  readonly given: { readonly [Name in keyof Workload]?: Workload[Name] | undefined };
  readonly measure?: (() => Promise<Measured>) | undefined;
  readonly prices?: string | undefined;
  readonly plot?: string | undefined;
  readonly json: boolean;
};

export async function costCommand(args: CostArguments, output: Output): Promise<void> {
  const prices = readPrices(args.prices);
  const measured = await args.measure?.();
  const given = needed(args.given, measured);
  const estimates = estimateAll(given, prices);
  const workload = completeWorkload(given, prices);
  const rest = estimateRest(given, prices);
  if (args.plot !== undefined) await writeFile(args.plot, plot(given, workload, prices));
  if (args.json) {
    await output.line(
      JSON.stringify({
        pricesAsOf: prices.asOf,
        currency: prices.currency,
        workload,
        ...(measured === undefined ? {} : { measured }),
        estimates,
        besides: rest,
      }),
    );
    return;
  }
  await output.line(
    [
      workloadText(workload, measured),
      `Prices of ${prices.asOf}, ${prices.currency} a month.\n`,
      summaryText(estimates),
      ...estimates.map(estimateText),
      "\nthe same wherever the changelog is kept",
      ...rest.map(({ what, formula, usd }) => lineText(what, money(usd, usd), formula)),
    ].join("\n"),
  );
  if (args.plot !== undefined) output.note(`plotted to ${args.plot}`);
}

/** What is given stands above what is measured. Throws `too_few_numbers`. */
export function needed(given: CostArguments["given"], measured: Measured | undefined): GivenWorkload {
  const items = given.items ?? measured?.items;
  const itemBytes = given.itemBytes ?? measured?.itemBytes;
  const changesPerSecond = given.changesPerSecond ?? measured?.changesPerSecond;
  const missing = [
    ...(items === undefined ? ["--items"] : []),
    ...(itemBytes === undefined ? ["--item-bytes"] : []),
    ...(changesPerSecond === undefined ? ["--changes-per-second"] : []),
  ];
  if (items === undefined || itemBytes === undefined || changesPerSecond === undefined) {
    throw new VarveError(
      "too_few_numbers",
      `${missing.join(", ")} ${missing.length === 1 ? "is" : "are"} needed${measured === undefined ? "" : ": the table does not say"}.`,
      "Such as: varve cost --items 100M --item-bytes 900 --changes-per-second 500. Or --measured, for those of a running system.",
    );
  }
  return {
    ...given,
    items,
    itemBytes,
    changesPerSecond,
    ...(measured === undefined
      ? {}
      : {
          shards: given.shards ?? measured.shards,
          flushSeconds: given.flushSeconds ?? measured.flushSeconds,
          storedRowBytes: given.storedRowBytes ?? Math.round(measured.storedRowBytes),
        }),
  };
}

const SCALE_STEPS = 61;
const SCALE_DECADES_BELOW = 4;
const SCALE_DECADES_ABOVE = 1;

function plot(given: GivenWorkload, workload: Workload, prices: PriceList): string {
  const middle = Math.log10(given.changesPerSecond);
  const least = Math.floor(middle - SCALE_DECADES_BELOW);
  const most = Math.ceil(middle + SCALE_DECADES_ABOVE * 0.5);
  const rates = Array.from(
    { length: SCALE_STEPS },
    (_, step) => 10 ** (least + ((most - least) * step) / (SCALE_STEPS - 1)),
  );
  const points = estimateScale(
    given,
    prices,
    [...rates, given.changesPerSecond].toSorted((a, b) => a - b),
  );
  return plotSvg({
    points,
    changesPerSecond: given.changesPerSecond,
    subtitle: `Marked: ${short(workload.items)} items of ${workload.itemBytes} B, ${short(given.changesPerSecond)} changes a second, kept ${daysText(workload)}, ${workload.consumers} ${workload.consumers === 1 ? "consumer" : "consumers"}`,
    asOf: prices.asOf,
  });
}

const daysText = ({ retentionDays: [low, high] }: Workload): string =>
  low === high ? `${low} days` : `${low}-${high} days`;

function workloadText(workload: Workload, measured: Measured | undefined): string {
  const lines = [
    `${short(workload.items)} items of ${workload.itemBytes} B, ${short(workload.changesPerSecond)} changes a second, ${short(workload.shards)} shards, flush ${Number(workload.flushSeconds.toPrecision(3))} s, kept ${daysText(workload)}, consumers: ${workload.consumers}${workload.remoteConsumers > 0 ? `, ${workload.remoteConsumers} elsewhere` : ""}.`,
  ];
  if (measured !== undefined) {
    const { figures } = measured;
    lines.push(
      `Measured from ${new Date(figures.fromMs).toISOString()} to ${new Date(figures.toMs).toISOString()}: ${figures.commits} commits, ${figures.files} files, ${figures.rows} rows for ${figures.changes} changes, ${figures.bytes} bytes (${Math.round(measured.storedRowBytes)} a change)${figures.mergedFiles > 0 ? `, ${figures.mergedFiles} merged files of ${figures.mergedBytes} bytes` : ""}.`,
    );
  }
  return lines.join("\n");
}

const NAME_WIDTH = 34;

function summaryText(estimates: readonly Estimate[]): string {
  const least = Math.min(...estimates.map(({ highUsd }) => highUsd));
  return estimates
    .map(({ name, lowUsd, highUsd }) => {
      const times = highUsd / least;
      return `${name.padEnd(NAME_WIDTH)}${money(lowUsd, highUsd).padStart(16)}${times > 1 ? `  ${Number(times.toPrecision(2))} times` : ""}`;
    })
    .join("\n");
}

function estimateText({ name, lines, lowUsd, highUsd, dominatedBy }: Estimate): string {
  const dominants = dominatedBy.map(
    ({ input, rise }) => `${input} (${rise > 0 ? "+" : ""}${Math.round(rise * 100)}% when doubled)`,
  );
  return [
    `\n${name}: ${money(lowUsd, highUsd)}`,
    ...lines.map(({ what, formula, lowUsd: low, highUsd: high }) =>
      lineText(what, money(low, high), formula),
    ),
    ...(dominants.length === 0 ? [] : [`  dominated by ${dominants.join(", ")}`]),
  ].join("\n");
}

const lineText = (what: string, price: string, formula: string): string =>
  `  ${what.padEnd(22)}${price.padStart(16)}  ${formula}`;

/** Below a cent nothing is worth telling apart. */
const money = (low: number, high: number): string => (high < 0.005 ? "$0" : rangeText(low, high));
