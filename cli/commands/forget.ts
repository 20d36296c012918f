import type { Command } from "../command.ts";
import { Misuse, TARGET_OPTIONS } from "../command.ts";

export const forget: Command = {
  name: "forget",
  summary: "deletes a user from the table and from the changelog, and proves it",
  options: {
    source: { type: "string", value: "S", help: "the source whose user it is" },
    user: { type: "string", value: "U", help: "the user's id" },
    "with-anonymous": {
      type: "boolean",
      help: "and events without a user's id, of anonymous ids that are this user's alone",
    },
    "drop-deletes": {
      type: "boolean",
      help: "and the deletes that name the user's id, once consumers have followed them",
    },
    purge: { type: "boolean", help: "delete replaced files now, not with VARVE_LOG_RETENTION" },
    "scan-table": { type: "boolean", help: "read the whole table, however large" },
    settle: {
      type: "string",
      value: "SECONDS",
      help: "what the changelog may take to show the deletes (120)",
    },
    yes: { type: "boolean", help: "without it nothing is changed" },
    ...TARGET_OPTIONS,
  },
  examples: ["varve forget --source shop --user u42", "varve forget --source shop --user u42 --purge --yes"],
  run: async ({ options, environment, output }) => {
    const [source, user] = [options.text("source"), options.text("user")];
    if (source === undefined || user === undefined || user === "")
      throw new Misuse("forget needs --source and --user");
    const args = {
      source,
      user,
      withAnonymous: options.flag("with-anonymous"),
      dropDeletes: options.flag("drop-deletes"),
      purge: options.flag("purge"),
      scanTable: options.flag("scan-table"),
      yes: options.flag("yes"),
      settleS: options.number("settle", 120),
      json: options.flag("json"),
    };
    const { openTarget } = await import("../target.ts");
    const { store, target } = openTarget(environment, options);
    const { forgetCommand } = await import("../forget.ts");
    return (await forgetCommand(store, target, args, output)) ? 0 : 1;
  },
};
