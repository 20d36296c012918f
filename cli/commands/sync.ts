import { systemClock } from "../../shared/clock.ts";
import type { Command } from "../command.ts";
import { Misuse, TARGET_OPTIONS } from "../command.ts";

export const sync: Command = {
  name: "sync",
  summary: "keeps a warehouse up to date with the changelog: a schema per source, a table per event",
  words: "duckdb <file> | postgres <url>",
  options: {
    follow: { type: "boolean", help: "go on until it is stopped" },
    "from-snapshot": {
      type: "boolean",
      help: "go on from the live files, when the log no longer reaches back far enough",
    },
    ...TARGET_OPTIONS,
  },
  examples: [
    "varve sync duckdb warehouse.duckdb",
    "varve sync postgres postgres://localhost/warehouse --follow",
  ],
  run: async ({ options, words, environment, output, stopSignal }) => {
    const [kind, target] = words;
    if ((kind !== "duckdb" && kind !== "postgres") || target === undefined || words.length > 2) {
      throw new Misuse("sync takes a warehouse: sync duckdb <file>, or sync postgres <url>");
    }
    const args = {
      kind,
      target,
      follow: options.flag("follow"),
      fromSnapshot: options.flag("from-snapshot"),
      json: options.flag("json"),
    } as const;
    const { openTarget } = await import("../target.ts");
    const { store } = openTarget(environment, options);
    const { syncCommand } = await import("../sync.ts");
    await syncCommand(store, args, output, systemClock, stopSignal());
    return 0;
  },
};
