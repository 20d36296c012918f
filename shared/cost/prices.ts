/** The price list: prices with their units, and the technical figures that the formulas need. Users may edit both. */
import { readFileSync } from "node:fs";
import { z } from "zod";
import { describeError, VarveError } from "../errors.ts";
import ownPrices from "./prices.json" with { type: "json" };

const TIERS = z
  .array(z.strictObject({ upTo: z.number().positive().optional(), price: z.number().min(0) }))
  .min(1);
const PRICE = z.strictObject({ price: z.union([z.number().min(0), TIERS]), per: z.string() });
/** One value, or those of the cheap and of the dear end. */
const ASSUMPTION = z.strictObject({
  value: z.union([z.number().positive(), z.tuple([z.number().positive(), z.number().positive()])]),
  why: z.string(),
});
const PRICE_LIST = z.strictObject({
  asOf: z.iso.date(),
  currency: z.string(),
  note: z.string(),
  prices: z.record(z.string(), PRICE),
  assumptions: z.record(z.string(), ASSUMPTION),
});

export type Price = z.infer<typeof PRICE>["price"];
export type PriceList = Readonly<z.infer<typeof PRICE_LIST>>;
/** Each estimate is made twice: with what speaks for a low price, and with what speaks for a high one. */
export type End = "low" | "high";

/** Where the list of this version stands, for people. */
const OWN_PRICES = "shared/cost/prices.json";

/** Throws `bad_prices`, naming what is wrong. A list of one's own may hold only the entries that differ. */
export function readPrices(path: string | undefined): PriceList {
  const own = checkPrices(ownPrices, OWN_PRICES);
  if (path === undefined) return own;
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new VarveError(
      "bad_prices",
      `the price list ${path} cannot be read: ${describeError(error)}.`,
      "Name a file with --prices.",
    );
  }
  const given = parsePrices(text, path);
  return {
    ...given,
    prices: { ...own.prices, ...given.prices },
    assumptions: { ...own.assumptions, ...given.assumptions },
  };
}

function parsePrices(text: string, path: string): PriceList {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw badPrices(path, describeError(error));
  }
  return checkPrices(json, path);
}

function checkPrices(json: unknown, path: string): PriceList {
  const parsed = PRICE_LIST.safeParse(json);
  if (parsed.success) return parsed.data;
  throw badPrices(
    path,
    parsed.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`).join("; "),
  );
}

const badPrices = (path: string, why: string): VarveError =>
  new VarveError(
    "bad_prices",
    `the price list ${path} is not usable: ${why}`,
    `Start from a copy of ${OWN_PRICES}.`,
  );

export function priceOf(list: PriceList, name: string): Price {
  const found = list.prices[name];
  if (found === undefined) throw badPrices("in use", `there is no price ${name}`);
  return found.price;
}

export function assumptionOf(list: PriceList, name: string, end: End): number {
  const value = list.assumptions[name]?.value;
  if (value === undefined) throw badPrices("in use", `there is no assumption ${name}`);
  return typeof value === "number" ? value : value[end === "low" ? 0 : 1];
}

/** What `amount` units cost in a month. */
export function costOf(price: Price, amount: number): number {
  if (typeof price === "number") return price * amount;
  let usd = 0;
  let from = 0;
  for (const tier of price) {
    const upTo = Math.min(tier.upTo ?? Number.POSITIVE_INFINITY, amount);
    if (upTo > from) usd += (upTo - from) * tier.price;
    from = Math.max(from, upTo);
  }
  return usd;
}

/** The price as a formula shows it: tiers as first-last. */
export function priceText(price: Price): string {
  if (typeof price === "number") return `$${price}`;
  const [first, last] = [price[0], price.at(-1)];
  return `$${first?.price}-${last?.price}`;
}
