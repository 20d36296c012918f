import type { Command } from "../command.ts";
import { TARGET_OPTIONS } from "../command.ts";

export const verify: Command = {
  name: "verify",
  summary: "checks the log, the files and the table against each other",
  options: {
    "no-table": { type: "boolean", help: "leave the table out" },
    sample: { type: "string", value: "N", help: "compare N keys with the table instead of all" },
    settle: {
      type: "string",
      value: "SECONDS",
      help: "wait so long for a changelog that is behind the table (180)",
    },
    "dedupe-days": { type: "string", value: "DAYS", help: "the edge's DEDUPE_DAYS (7)" },
    ...TARGET_OPTIONS,
  },
  examples: ["varve verify", "varve verify --sample 10000 --json"],
  run: async ({ options, environment, output }) => {
    const sample = options.count("sample");
    const args = {
      json: options.flag("json"),
      table: !options.flag("no-table"),
      ...(sample === undefined ? {} : { sample }),
      settleS: options.number("settle", 180),
      dedupeDays: options.number("dedupe-days", 7),
    };
    const { openTarget } = await import("../target.ts");
    const { store, target } = openTarget(environment, options);
    const { verifyCommand } = await import("../verify.ts");
    return (await verifyCommand(store, target, args, output)) ? 0 : 1;
  },
};
