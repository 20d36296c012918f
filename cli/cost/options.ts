/** The options of `varve cost`, as words and as a workload. */
import { parseDurationMs } from "../../shared/config.ts";
import type { CostArguments } from "../cost.ts";

export const COST_OPTIONS = {
  items: { type: "string" },
  "item-bytes": { type: "string" },
  "key-bytes": { type: "string" },
  "changes-per-second": { type: "string" },
  consumers: { type: "string" },
  "remote-consumers": { type: "string" },
  shards: { type: "string" },
  flush: { type: "string" },
  "flush-bytes": { type: "string" },
  "poll-max": { type: "string" },
  "retention-days": { type: "string" },
  "stored-row-bytes": { type: "string" },
  measured: { type: "boolean" },
  prices: { type: "string" },
  plot: { type: "string" },
} as const;

type Options = Readonly<Record<string, string | boolean | undefined>>;

/** @param misuse throws, with what is wrong */
export function costWorkload(options: Options, misuse: (what: string) => never): CostArguments["given"] {
  const text = (name: string): string | undefined => {
    const value = options[name];
    return typeof value === "string" ? value : undefined;
  };
  const quantity = (name: string, value = text(name)): number | undefined => {
    if (value === undefined) return undefined;
    const parsed = parseQuantity(value);
    if (parsed !== null && parsed > 0) return parsed;
    return misuse(
      `--${name} takes a number above 0, such as 900, 100M or 958e9, not ${JSON.stringify(value)}`,
    );
  };
  const count = (name: string): number | undefined => {
    const value = text(name);
    if (value === undefined || /^\d{1,6}$/.test(value)) return value === undefined ? value : Number(value);
    return misuse(`--${name} takes a whole number, not ${JSON.stringify(value)}`);
  };
  const seconds = (name: string): number | undefined => {
    const value = text(name);
    if (value === undefined) return undefined;
    const ms = parseDurationMs(value);
    if (ms !== null && ms >= 10) return ms / 1000;
    return misuse(`--${name} takes a duration such as 500ms, 60s or 5m, not ${JSON.stringify(value)}`);
  };
  const days = text("retention-days")?.split("-") ?? [];
  const [least, most] = [days[0], days.at(-1)].map((day) => quantity("retention-days", day));
  return {
    items: quantity("items"),
    itemBytes: quantity("item-bytes"),
    keyBytes: quantity("key-bytes"),
    changesPerSecond: quantity("changes-per-second"),
    consumers: count("consumers"),
    remoteConsumers: count("remote-consumers"),
    shards: quantity("shards"),
    flushSeconds: seconds("flush"),
    flushBytes: quantity("flush-bytes"),
    pollMaxSeconds: seconds("poll-max"),
    storedRowBytes: quantity("stored-row-bytes"),
    retentionDays: least === undefined || most === undefined ? undefined : [least, most],
  };
}

const SUFFIXES: Readonly<Record<string, number>> = { "": 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12 };

/** `958e9`, `100M`, `1.5k`, `900B`. Null when it is none of these. */
export function parseQuantity(text: string): number | null {
  const match = /^(\d+(?:\.\d+)?(?:e\d{1,2})?)([kMGT]?)B?$/.exec(text);
  return match === null ? null : Number(match[1]) * (SUFFIXES[match[2] ?? ""] ?? Number.NaN);
}
