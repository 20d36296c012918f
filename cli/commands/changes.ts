import type { Filter } from "../../reader/range.ts";
import { OPS } from "../../shared/row.ts";
import type { ChangesArguments, FollowArguments } from "../changes.ts";
import type { Command, Options } from "../command.ts";
import { Misuse, TARGET_OPTIONS } from "../command.ts";
import { FORMATS } from "../rows.ts";
import type { Format } from "../rows.ts";

const FOLLOW_ONLY = ["consumer", "cursor", "from-snapshot"] as const;

export const changes: Command = {
  name: "changes",
  summary: "what changed since T",
  options: {
    since: {
      type: "string",
      value: "T",
      help: "an ISO time, a span back from now (15m, 2h, 7d), or a version",
    },
    until: {
      type: "string",
      value: "T",
      help: "up to and including; by default everything that is complete",
    },
    source: { type: "string", value: "S", help: "only of this source" },
    collection: { type: "string", value: "C", help: "only of this collection: tracks, users, ..." },
    id: { type: "string", value: "I", help: "only of this message or object id" },
    op: { type: "string", value: "OP", help: OPS.join(", ") },
    rejected: { type: "boolean", help: "only what the edge refused, with its reason" },
    limit: { type: "string", value: "N", help: "the first N rows" },
    format: { type: "string", value: "F", help: FORMATS.join(", ") },
    follow: { type: "boolean", help: "go on as commits come; rows carry their version, the idempotency key" },
    consumer: {
      type: "string",
      value: "NAME",
      help: "with --follow: go on where it came to, kept in the changelog",
    },
    cursor: { type: "string", value: "FILE", help: "with --follow: the same, kept in a file" },
    "from-snapshot": { type: "boolean", help: "with --follow: begin with all that is live" },
    ...TARGET_OPTIONS,
  },
  examples: [
    "varve changes --since 1h",
    "varve changes --since 2026-11-23T09:00:00Z --collection users --json",
    "varve changes --since 7d --format parquet > week.parquet",
    "varve changes --follow --consumer loader --json",
  ],
  run: async ({ options, environment, output, stopSignal }) => {
    const following = options.flag("follow") ? followArguments(options) : null;
    const once = following === null ? changesArguments(options) : null;
    const { openTarget } = await import("../target.ts");
    const { store } = openTarget(environment, options);
    const { changesCommand, followCommand } = await import("../changes.ts");
    if (following !== null) await followCommand(store, following, output, stopSignal());
    if (once !== null) await changesCommand(store, once, output);
    return 0;
  },
};

/** What both ways of reading changes take. */
function rowArguments(options: Options): Filter & { readonly format: Format; readonly limit?: number } {
  const op = options.text("op");
  const known = OPS.find((one) => one === op);
  if (op !== undefined && known === undefined)
    throw new Misuse(`--op takes insert, update or delete, not ${JSON.stringify(op)}`);
  const json = options.flag("json");
  const named = options.text("format") ?? (json ? "json" : "table");
  const format = FORMATS.find((one) => one === named);
  if (format === undefined)
    throw new Misuse(`--format takes ${FORMATS.join(", ")}, not ${JSON.stringify(named)}`);
  if (json && format !== "json") throw new Misuse(`--json and --format ${format} exclude each other`);
  const limit = options.count("limit");
  return {
    source: options.text("source"),
    collection: options.text("collection"),
    id: options.text("id"),
    op: known,
    kind: options.flag("rejected") ? "rejected" : undefined,
    format,
    ...(limit === undefined ? {} : { limit }),
  };
}

function changesArguments(options: Options): ChangesArguments {
  const since = options.text("since");
  if (since === undefined) throw new Misuse("changes needs --since, such as --since 1h");
  for (const name of FOLLOW_ONLY)
    if (options.text(name) !== undefined || options.flag(name))
      throw new Misuse(`--${name} goes with --follow`);
  const rows = rowArguments(options);
  if (rows.format === "parquet" && process.stdout.isTTY)
    throw new Misuse("--format parquet needs a file to go to: add > changes.parquet");
  return { ...rows, since, until: options.text("until") };
}

function followArguments(options: Options): FollowArguments {
  const { format, ...rows } = rowArguments(options);
  if (format === "parquet") throw new Misuse("--format parquet does not go with --follow");
  if (options.text("until") !== undefined) throw new Misuse("--until does not go with --follow");
  const [since, consumer, cursor] = [options.text("since"), options.text("consumer"), options.text("cursor")];
  const fromSnapshot = options.flag("from-snapshot");
  if (consumer !== undefined && cursor !== undefined)
    throw new Misuse("--consumer and --cursor exclude each other");
  if (since === undefined && consumer === undefined && cursor === undefined && !fromSnapshot)
    throw new Misuse("--follow needs --since, --consumer, --cursor or --from-snapshot");
  return { ...rows, format, since, consumer, cursor, fromSnapshot };
}
