import type { Command, Options } from "../command.ts";
import { DATA_OPTION, JSON_OPTION, Misuse } from "../command.ts";
import type { CostArguments } from "../cost.ts";

const N = { type: "string", value: "N" } as const;

export const cost: Command = {
  name: "cost",
  summary: "what the changelog costs a month, here and elsewhere",
  options: {
    items: { ...N, help: "items in the table: 100M, 958e9" },
    "item-bytes": { ...N, help: "bytes of an item" },
    "changes-per-second": { ...N, help: "changes a second" },
    "key-bytes": { ...N, help: "bytes of a key in an index (108)" },
    consumers: { ...N, help: "readers of the changelog (1)" },
    "remote-consumers": { ...N, help: "readers in another cloud (0)" },
    shards: { ...N, help: "shards of the stream" },
    "retention-days": { type: "string", value: "N-M", help: "how long changes are kept (7-30)" },
    flush: { type: "string", value: "TIME", help: "how often changes are committed (60s)" },
    "flush-bytes": { ...N, help: "or after so many bytes (64M)" },
    "poll-max": {
      type: "string",
      value: "TIME",
      help: "the longest time between two reads of a shard (30s)",
    },
    "stored-row-bytes": { ...N, help: "bytes of a row in a file" },
    measured: {
      type: "boolean",
      help: "take the numbers from the running system; those given stand above them",
    },
    prices: {
      type: "string",
      value: "FILE",
      help: "a price list of your own (start from shared/cost/prices.json)",
    },
    plot: { type: "string", value: "FILE", help: "the price over scale, as SVG" },
    json: JSON_OPTION,
    data: DATA_OPTION,
  },
  examples: [
    "varve cost --items 958e9 --item-bytes 900 --changes-per-second 300k",
    "varve cost --measured --plot cost.svg",
  ],
  run: async ({ options, environment, output }) => {
    const measure = async () => {
      const { openTarget } = await import("../target.ts");
      const { store, target } = openTarget(environment, options);
      const { measure: measureTarget } = await import("../cost/measured.ts");
      return measureTarget(store, target);
    };
    const args = {
      given: givenWorkload(options),
      measure: options.flag("measured") ? measure : undefined,
      prices: options.text("prices"),
      plot: options.text("plot"),
      json: options.flag("json"),
    };
    const { costCommand } = await import("../cost.ts");
    await costCommand(args, output);
    return 0;
  },
};

export function givenWorkload(options: Options): CostArguments["given"] {
  const quantityOf = (name: string) => quantity(options.text(name), name);
  const number = (name: string) => (options.text(name) === undefined ? undefined : options.number(name, 0));
  const seconds = (name: string) => {
    const ms = options.duration(name);
    return ms === undefined ? undefined : ms / 1000;
  };
  const days = options.text("retention-days")?.split("-");
  const [least, most] = [days?.[0], days?.at(-1)].map((day) => quantity(day, "retention-days"));
  return {
    items: quantityOf("items"),
    itemBytes: quantityOf("item-bytes"),
    keyBytes: quantityOf("key-bytes"),
    changesPerSecond: quantityOf("changes-per-second"),
    consumers: number("consumers"),
    remoteConsumers: number("remote-consumers"),
    shards: quantityOf("shards"),
    flushSeconds: seconds("flush"),
    flushBytes: quantityOf("flush-bytes"),
    pollMaxSeconds: seconds("poll-max"),
    storedRowBytes: quantityOf("stored-row-bytes"),
    retentionDays: least === undefined || most === undefined ? undefined : [least, most],
  };
}

const SUFFIXES: Readonly<Record<string, number>> = { "": 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12 };

/** `958e9`, `100M`, `1.5k`: above 0. */
function quantity(value: string | undefined, name: string): number | undefined {
  if (value === undefined) return undefined;
  const match = /^(\d+(?:\.\d+)?(?:e\d{1,2})?)([kMGT]?)B?$/.exec(value);
  const parsed = Number(match?.[1]) * (SUFFIXES[match?.[2] ?? ""] ?? Number.NaN);
  if (match !== null && parsed > 0) return parsed;
  throw new Misuse(
    `--${name} takes a number above 0, such as 900, 100M or 958e9, not ${JSON.stringify(value)}`,
  );
}
