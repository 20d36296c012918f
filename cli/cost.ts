/** `varve cost`: what the changelog costs a month, here and elsewhere. */
import { writeFile } from "node:fs/promises";
import { many, noun, short } from "../shared/amounts.ts";
import { VarveError } from "../shared/errors.ts";
import type { Estimate } from "../shared/cost/estimate.ts";
import { estimateAll, estimateRest, estimateScale } from "../shared/cost/estimate.ts";
import type { Measured } from "./cost/measured.ts";
import { plotSvg, rangeText } from "./cost/plot.ts";
import type { PriceList } from "../shared/cost/prices.ts";
import { readPrices } from "../shared/cost/prices.ts";
import type { GivenWorkload, Workload } from "../shared/cost/workload.ts";
import { completeWorkload } from "../shared/cost/workload.ts";
import { Misuse } from "./command.ts";
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
  if (args.plot !== undefined) await writePlot(args.plot, plot(given, workload, prices));
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

async function writePlot(path: string, svg: string): Promise<void> {
  try {
    await writeFile(path, svg);
  } catch (error) {
    throw new VarveError(
      "plot_unwritable",
      `the plot cannot be written: ${error instanceof Error ? error.message : String(error)}`,
      "Name a file in a folder that exists: --plot cost.svg.",
      error,
    );
  }
}

/** What is given stands above what is measured. Too little given is misuse; `too_few_numbers` when it is measured as well. */
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
    const lacking = `${missing.join(", ")} ${missing.length === 1 ? "is" : "are"} needed`;
    const such = "varve cost --items 100M --item-bytes 900 --changes-per-second 500";
    if (measured === undefined)
      throw new Misuse(`${lacking}, such as: ${such}. Or --measured, for those of a running system.`);
    throw new VarveError("too_few_numbers", `${lacking}: the table does not say.`, `Such as: ${such}.`);
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
    subtitle: `Marked: ${short(workload.items)} ${noun(workload.items, "item")} of ${workload.itemBytes} B, ${short(given.changesPerSecond)} ${noun(given.changesPerSecond, "change")} a second, kept ${daysText(workload)}, ${many(workload.consumers, "consumer")}`,
    asOf: prices.asOf,
  });
}

const daysText = ({ retentionDays: [low, high] }: Workload): string =>
  low === high ? many(low, "day") : `${low}-${high} days`;

function workloadText(workload: Workload, measured: Measured | undefined): string {
  const lines = [
    `${short(workload.items)} ${noun(workload.items, "item")} of ${workload.itemBytes} B, ${short(workload.changesPerSecond)} ${noun(workload.changesPerSecond, "change")} a second, ${short(workload.shards)} ${noun(workload.shards, "shard")}, flush ${Number(workload.flushSeconds.toPrecision(3))} s, kept ${daysText(workload)}, consumers: ${workload.consumers}${workload.remoteConsumers > 0 ? `, ${workload.remoteConsumers} elsewhere` : ""}.`,
  ];
  if (measured !== undefined) {
    const { figures } = measured;
    lines.push(
      `Measured from ${new Date(figures.fromMs).toISOString()} to ${new Date(figures.toMs).toISOString()}: ${many(figures.commits, "commit")}, ${many(figures.files, "file")}, ${many(figures.rows, "row")} for ${many(figures.changes, "change")}, ${many(figures.bytes, "byte")} (${Math.round(measured.storedRowBytes)} a change)${figures.mergedFiles > 0 ? `, ${many(figures.mergedFiles, "merged file")} of ${many(figures.mergedBytes, "byte")}` : ""}.`,
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
