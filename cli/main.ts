#!/usr/bin/env node
/** The `varve` command. Exit code 0: done; 1: failed; 2: misused. */
import { parseArgs } from "node:util";
import { systemClock } from "../shared/clock.ts";
import { describeError, VarveError } from "../shared/errors.ts";
import type { Filter } from "../reader/range.ts";
import { OPS } from "../shared/row.ts";
import type { ChangesArguments, FollowArguments } from "./changes.ts";
import { openOutput } from "./output.ts";
import type { Format } from "./rows.ts";
import { FORMATS } from "./rows.ts";
import type { Environment } from "./target.ts";

const HELP = `varve <command> [options]

  local       the whole system on this machine
                --port 8787   where the edge listens; 0 picks a free port
                --data .varve where its state is kept
                --flush 1s    how often changes are committed
                --json        one object on the first line of stdout, for programs
  compactor   reads the table's stream and commits it to the changelog (settings: environment)
  changes     what changed since T
                --since T     an ISO time, a span back from now (15m, 2h, 7d), or a version
                --until T     up to and including; by default everything that is complete
                --source S, --collection C, --id I, --op insert|update|delete
                --rejected    only what the edge refused
                --limit N     the first N rows
                --format F    table, json (one object a line), csv, parquet
                --follow      go on as commits come; rows then carry their version, the idempotency key
                --consumer N  with --follow: go on where consumer N came to, kept in the changelog
                --cursor FILE with --follow: the same, kept in a file
                --from-snapshot  with --follow: begin with all that is live
  files       the live data files            --json
  verify      checks the log, the files and the table against each other
                --no-table    leave the table out
                --sample N    compare N items with the table, instead of all
                --settle 30   seconds the changelog may take to show what the table has
                --dedupe-days 7
                --json
  doctor      checks a real environment before first use, each failure with its fix
                --edge URL    ask the edge as well
                --no-table    for a machine that only reads the changelog
                --json
  forget      deletes a user from the table and from the changelog, and proves it
                --source S, --user U
                --with-anonymous  and events without a user's id, of anonymous ids that are this user's alone
                --drop-deletes    and the deletes that name the user's id, once consumers have followed them
                --purge           delete replaced files now, not with VARVE_LOG_RETENTION
                --scan-table      read the whole table, however large
                --settle 120      seconds the changelog may take to show the deletes
                --yes             without it nothing is changed
                --json
  cost        what the changelog costs a month, here and elsewhere
                --items 100M --item-bytes 900 --changes-per-second 500
                --measured    take the numbers from the running system; those given stand above them
                --consumers 1, --remote-consumers 0, --shards N, --retention-days 7-30
                --flush 60s, --flush-bytes 64M, --poll-max 30s, --key-bytes 108, --stored-row-bytes N
                --prices F    a price list of your own (start from cli/cost/prices.json)
                --plot F.svg  the price over scale
                --json
  sync duckdb <file>, sync postgres <url>
              keeps a warehouse up to the changelog: a schema a source, a table an event
                --follow      goes on until it is stopped
                --from-snapshot  goes on from the live files, when the log no longer reaches back far enough
                --json

Every command but local and compactor reads VARVE_CHANGELOG (s3://bucket/prefix/region/table) and the usual AWS
variables, or finds the system that runs from --data (.varve).`;

class Misuse extends Error {}

async function main(argv: readonly string[], environment: Environment): Promise<number> {
  try {
    return await run(argv, environment);
  } catch (error) {
    if (error instanceof Misuse) {
      console.error(`varve: ${error.message}\n  Run \`varve help\` for the commands and their options.`);
      return 2;
    }
    console.error(`varve: ${describeError(error)}`);
    if (!(error instanceof VarveError) && error instanceof Error) console.error(error.stack);
    return 1;
  }
}

async function run([command, ...rest]: readonly string[], environment: Environment): Promise<number> {
  switch (command) {
    case undefined:
    case "help":
    case "--help":
    case "-h":
      console.log(HELP);
      return command === undefined ? 2 : 0;
    case "local": {
      const options = parse(rest, {
        ...COMMON,
        port: { type: "string" },
        flush: { type: "string" },
      });
      if (!import.meta.filename.endsWith(".ts")) {
        throw new VarveError(
          "needs_checkout",
          "the installed package does not hold the edge and what runs it on one machine.",
          "Clone Varve's repository, and run `npm install && npm start` there. The other commands work from here.",
        );
      }
      const { runLocal } = await import("../local/local.ts");
      await runLocal(
        {
          port: number(options, "port", 8787),
          dataDir: text(options, "data") ?? ".varve",
          flush: text(options, "flush") ?? "1s",
          json: options["json"] === true,
        },
        stopSignal(),
      );
      return 0;
    }
    case "compactor": {
      parse(rest, {});
      const { compactorMain } = await import("../compactor/main.ts");
      await compactorMain(environment, stopSignal());
      return 0;
    }
    case "changes": {
      const options = parse(rest, CHANGES_OPTIONS);
      const following = options["follow"] === true ? followArguments(options) : null;
      const once = following === null ? changesArguments(options) : null;
      const { store } = await openTarget(environment, options);
      const { changesCommand, followCommand } = await import("./changes.ts");
      if (following !== null) await followCommand(store, following, output(), stopSignal());
      if (once !== null) await changesCommand(store, once, output());
      return 0;
    }
    case "files": {
      const options = parse(rest, COMMON);
      const { store, root } = await openTarget(environment, options);
      const { filesCommand } = await import("./files.ts");
      await filesCommand(store, root, options["json"] === true, output());
      return 0;
    }
    case "verify": {
      const options = parse(rest, {
        ...COMMON,
        "no-table": { type: "boolean" },
        sample: { type: "string" },
        settle: { type: "string" },
        "dedupe-days": { type: "string" },
      });
      const { store, target } = await openTarget(environment, options);
      const { verifyCommand } = await import("./verify.ts");
      const sound = await verifyCommand(
        store,
        target,
        {
          json: options["json"] === true,
          table: options["no-table"] !== true,
          ...(options["sample"] === undefined ? {} : { sample: count(options, "sample") }),
          settleS: number(options, "settle", 30),
          dedupeDays: number(options, "dedupe-days", 7),
        },
        output(),
      );
      return sound ? 0 : 1;
    }
    case "doctor": {
      const options = parse(rest, { ...COMMON, edge: { type: "string" }, "no-table": { type: "boolean" } });
      const { target } = await openTarget(environment, options);
      const { doctorCommand } = await import("./doctor.ts");
      const args = {
        edge: text(options, "edge"),
        table: options["no-table"] !== true,
        json: options["json"] === true,
      };
      return (await doctorCommand(target, args, output())) ? 0 : 1;
    }
    case "forget": {
      const options = parse(rest, {
        ...COMMON,
        source: { type: "string" },
        user: { type: "string" },
        settle: { type: "string" },
        "with-anonymous": { type: "boolean" },
        "drop-deletes": { type: "boolean" },
        purge: { type: "boolean" },
        "scan-table": { type: "boolean" },
        yes: { type: "boolean" },
      });
      const [source, user] = [text(options, "source"), text(options, "user")];
      if (source === undefined || user === undefined || user === "")
        throw new Misuse("forget needs --source and --user");
      const { store, target } = await openTarget(environment, options);
      const { forgetCommand } = await import("./forget.ts");
      const args = {
        source,
        user,
        withAnonymous: options["with-anonymous"] === true,
        dropDeletes: options["drop-deletes"] === true,
        purge: options["purge"] === true,
        scanTable: options["scan-table"] === true,
        yes: options["yes"] === true,
        settleS: number(options, "settle", 120),
        json: options["json"] === true,
      };
      return (await forgetCommand(store, target, args, output())) ? 0 : 1;
    }
    case "cost": {
      const { COST_OPTIONS, costWorkload } = await import("./cost/options.ts");
      const options = parse(rest, { ...COMMON, ...COST_OPTIONS });
      const given = costWorkload(options, (what) => {
        throw new Misuse(what);
      });
      const measureHere = async () => {
        const { store, target } = await openTarget(environment, options);
        const { measure } = await import("./cost/measured.ts");
        return measure(store, target);
      };
      const { costCommand } = await import("./cost.ts");
      const args = {
        given,
        measure: options["measured"] === true ? measureHere : undefined,
        prices: text(options, "prices"),
        plot: text(options, "plot"),
        json: options["json"] === true,
      };
      await costCommand(args, output());
      return 0;
    }
    case "sync": {
      const { options, words } = parseWords(rest, {
        ...COMMON,
        follow: { type: "boolean" },
        "from-snapshot": { type: "boolean" },
      });
      const [kind, address] = words;
      if ((kind !== "duckdb" && kind !== "postgres") || address === undefined || words.length > 2) {
        throw new Misuse("sync takes a warehouse: sync duckdb <file>, or sync postgres <url>");
      }
      const { store } = await openTarget(environment, options);
      const { syncCommand } = await import("./sync.ts");
      const args = {
        kind,
        target: address,
        follow: options["follow"] === true,
        fromSnapshot: options["from-snapshot"] === true,
        json: options["json"] === true,
      } as const;
      await syncCommand(store, args, output(), systemClock, stopSignal());
      return 0;
    }
    default:
      throw new Misuse(`there is no command ${JSON.stringify(command)}`);
  }
}

type OptionSpec = Record<string, { type: "string" | "boolean" }>;
type Options = Readonly<Record<string, string | boolean | undefined>>;

/** Loaded when a command needs it: the S3 client alone takes longer to load than a misuse takes to say. */
async function openTarget(environment: Environment, options: Options) {
  const { openTargetStore, targetEnvironment, targetRoot } = await import("./target.ts");
  const target = targetEnvironment(environment, text(options, "data") ?? ".varve");
  return { target, store: openTargetStore(target), root: targetRoot(target) };
}

const FOLLOW_ONLY = ["consumer", "cursor", "from-snapshot"] as const;

/** What both ways of reading changes take. */
function rowArguments(options: Options): Filter & { readonly format: Format; readonly limit?: number } {
  const op = text(options, "op");
  const known = OPS.find((one) => one === op);
  if (op !== undefined && known === undefined)
    throw new Misuse(`--op takes insert, update or delete, not ${JSON.stringify(op)}`);
  const json = options["json"] === true;
  const named = text(options, "format") ?? (json ? "json" : "table");
  const format = FORMATS.find((one) => one === named);
  if (format === undefined)
    throw new Misuse(`--format takes ${FORMATS.join(", ")}, not ${JSON.stringify(named)}`);
  if (json && format !== "json") throw new Misuse(`--json and --format ${format} exclude each other`);
  return {
    source: text(options, "source"),
    collection: text(options, "collection"),
    id: text(options, "id"),
    op: known,
    kind: options["rejected"] === true ? "rejected" : undefined,
    format,
    ...(options["limit"] === undefined ? {} : { limit: count(options, "limit") }),
  };
}

function changesArguments(options: Options): ChangesArguments {
  const since = text(options, "since");
  if (since === undefined) throw new Misuse("changes needs --since, such as --since 1h");
  for (const name of FOLLOW_ONLY)
    if (options[name] !== undefined) throw new Misuse(`--${name} goes with --follow`);
  const rows = rowArguments(options);
  if (rows.format === "parquet" && process.stdout.isTTY)
    throw new Misuse("--format parquet needs a file to go to: add > changes.parquet");
  return { ...rows, since, until: text(options, "until") };
}

function followArguments(options: Options): FollowArguments {
  const { format, ...rows } = rowArguments(options);
  if (format === "parquet") throw new Misuse("--format parquet does not go with --follow");
  if (options["until"] !== undefined) throw new Misuse("--until does not go with --follow");
  const [since, consumer, cursor] = [
    text(options, "since"),
    text(options, "consumer"),
    text(options, "cursor"),
  ];
  const fromSnapshot = options["from-snapshot"] === true;
  if (consumer !== undefined && cursor !== undefined)
    throw new Misuse("--consumer and --cursor exclude each other");
  if (since === undefined && consumer === undefined && cursor === undefined && !fromSnapshot)
    throw new Misuse("--follow needs --since, --consumer, --cursor or --from-snapshot");
  return { ...rows, format, since, consumer, cursor, fromSnapshot };
}

const COMMON = { json: { type: "boolean" }, data: { type: "string" } } as const satisfies OptionSpec;

const CHANGES_OPTIONS = {
  ...COMMON,
  since: { type: "string" },
  until: { type: "string" },
  source: { type: "string" },
  collection: { type: "string" },
  id: { type: "string" },
  op: { type: "string" },
  rejected: { type: "boolean" },
  limit: { type: "string" },
  format: { type: "string" },
  follow: { type: "boolean" },
  consumer: { type: "string" },
  cursor: { type: "string" },
  "from-snapshot": { type: "boolean" },
} as const satisfies OptionSpec;

const parse = (args: readonly string[], options: OptionSpec): Options =>
  parseWords(args, options, false).options;

function parseWords(
  args: readonly string[],
  spec: OptionSpec,
  allowPositionals = true,
): { readonly options: Options; readonly words: readonly string[] } {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      options: spec,
      strict: true,
      allowPositionals,
    });
    return { options: values, words: positionals };
  } catch (error) {
    throw new Misuse(
      error instanceof Error ? (error.message.split(". ")[0] ?? error.message) : String(error),
    );
  }
}

function text(options: Options, name: string): string | undefined {
  const value = options[name];
  return typeof value === "string" ? value : undefined;
}

function number(options: Options, name: string, otherwise: number): number {
  const value = text(options, name);
  if (value === undefined) return otherwise;
  const parsed = Number(value);
  if (value.trim() === "" || !Number.isFinite(parsed) || parsed < 0)
    throw new Misuse(`--${name} takes a number of 0 or more, not ${JSON.stringify(value)}`);
  return parsed;
}

function count(options: Options, name: string): number {
  const parsed = number(options, name, 0);
  if (parsed >= 1 && Number.isSafeInteger(parsed)) return parsed;
  throw new Misuse(`--${name} takes a whole number of 1 or more, not ${JSON.stringify(text(options, name))}`);
}

const output = () => openOutput(process.stdout, process.stderr);

const FORCE_AFTER_MS = 1000;

/**
 * Aborts at the first SIGINT or SIGTERM; a second one ends the process at once. npm passes on a Ctrl-C that the
 * terminal has already delivered, so one that comes with the first does not count.
 */
function stopSignal(): AbortSignal {
  const controller = new AbortController();
  let firstMs: number | undefined;
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(name, () => {
      if (firstMs !== undefined && Date.now() - firstMs >= FORCE_AFTER_MS) process.exit(1);
      firstMs ??= Date.now();
      controller.abort();
    });
  }
  return controller.signal;
}

process.exitCode = await main(process.argv.slice(2), process.env);
