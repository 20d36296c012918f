/** The `varve` command. Exit code 0: done; 1: failed; 2: misused. */
import { parseArgs } from "node:util";
import { CHANGELOG_ENV, parseDurationMs, parseEnvironment } from "../shared/config.ts";
import { describeError, VarveError } from "../shared/errors.ts";
import { changesCommand } from "./changes.ts";
import type { CostArguments } from "./cost.ts";
import { filesCommand } from "./files.ts";
import { openOutput } from "./output.ts";
import type { Environment } from "./target.ts";
import { openTargetStore, targetEnvironment } from "./target.ts";
import { verifyCommand } from "./verify.ts";

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
                --collection C, --source S
                --json        one object a line
  files       the live data files            --json
  verify      checks the log, the files and the table against each other
                --no-table    leave the table out
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
      const options = parse(rest, {
        ...COMMON,
        since: { type: "string" },
        until: { type: "string" },
        collection: { type: "string" },
        source: { type: "string" },
      });
      const since = text(options, "since");
      if (since === undefined) throw new Misuse("changes needs --since, such as --since 1h");
      const target = targetEnvironment(environment, text(options, "data") ?? ".varve");
      await changesCommand(
        openTargetStore(target),
        {
          since,
          until: text(options, "until"),
          collection: text(options, "collection"),
          source: text(options, "source"),
          json: options["json"] === true,
        },
        output(),
        Date.now(),
      );
      return 0;
    }
    case "files": {
      const options = parse(rest, COMMON);
      const target = targetEnvironment(environment, text(options, "data") ?? ".varve");
      const { address } = parseEnvironment(CHANGELOG_ENV, target).VARVE_CHANGELOG;
      await filesCommand(openTargetStore(target), address, options["json"] === true, output());
      return 0;
    }
    case "verify": {
      const options = parse(rest, {
        ...COMMON,
        "no-table": { type: "boolean" },
        settle: { type: "string" },
        "dedupe-days": { type: "string" },
      });
      const target = targetEnvironment(environment, text(options, "data") ?? ".varve");
      const sound = await verifyCommand(
        openTargetStore(target),
        target,
        {
          json: options["json"] === true,
          table: options["no-table"] !== true,
          settleS: number(options, "settle", 30),
          dedupeDays: number(options, "dedupe-days", 7),
        },
        output(),
      );
      return sound ? 0 : 1;
    }
    case "doctor": {
      const options = parse(rest, { ...COMMON, edge: { type: "string" }, "no-table": { type: "boolean" } });
      const target = targetEnvironment(environment, text(options, "data") ?? ".varve");
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
      const target = targetEnvironment(environment, text(options, "data") ?? ".varve");
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
      return (await forgetCommand(openTargetStore(target), target, args, output())) ? 0 : 1;
    }
    case "cost": {
      const options = parse(rest, { ...COMMON, ...COST_OPTIONS });
      const { costCommand } = await import("./cost.ts");
      await costCommand(
        {
          given: costWorkload(options),
          measure:
            options["measured"] === true
              ? async () => {
                  const target = targetEnvironment(environment, text(options, "data") ?? ".varve");
                  const { measure } = await import("./cost/measured.ts");
                  return measure(openTargetStore(target), target);
                }
              : undefined,
          prices: text(options, "prices"),
          plot: text(options, "plot"),
          json: options["json"] === true,
        },
        output(),
      );
      return 0;
    }
    default:
      throw new Misuse(`there is no command ${JSON.stringify(command)}`);
  }
}

type OptionSpec = Record<string, { type: "string" | "boolean" }>;
type Options = Readonly<Record<string, string | boolean | undefined>>;

const COMMON = { json: { type: "boolean" }, data: { type: "string" } } as const satisfies OptionSpec;

function parse(args: readonly string[], options: OptionSpec): Options {
  try {
    return parseArgs({ args: [...args], options, strict: true, allowPositionals: false }).values;
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

const COST_OPTIONS = {
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
} as const satisfies OptionSpec;

function costWorkload(options: Options): CostArguments["given"] {
  const days = text(options, "retention-days")?.split("-");
  const [least, most] = [days?.[0], days?.at(-1)].map((day) => quantity(day, "retention-days"));
  return {
    items: quantity(text(options, "items"), "items"),
    itemBytes: quantity(text(options, "item-bytes"), "item-bytes"),
    keyBytes: quantity(text(options, "key-bytes"), "key-bytes"),
    changesPerSecond: quantity(text(options, "changes-per-second"), "changes-per-second"),
    consumers: count(options, "consumers"),
    remoteConsumers: count(options, "remote-consumers"),
    shards: quantity(text(options, "shards"), "shards"),
    flushSeconds: seconds(options, "flush"),
    flushBytes: quantity(text(options, "flush-bytes"), "flush-bytes"),
    pollMaxSeconds: seconds(options, "poll-max"),
    storedRowBytes: quantity(text(options, "stored-row-bytes"), "stored-row-bytes"),
    retentionDays: least === undefined || most === undefined ? undefined : [least, most],
  };
}

const SUFFIXES: Readonly<Record<string, number>> = { "": 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12 };

/** `958e9`, `100M`, `1.5k`: above 0. */
function quantity(value: string | undefined, name: string): number | undefined {
  if (value === undefined) return undefined;
  const match = /^(\d+(?:\.\d+)?(?:e\d{1,2})?)([kMGT]?)B?$/.exec(value);
  const parsed = Number(match?.[1]) * (SUFFIXES[match?.[2] ?? ""] ?? Number.NaN);
  if (match === null || !(parsed > 0))
    throw new Misuse(
      `--${name} takes a number above 0, such as 900, 100M or 958e9, not ${JSON.stringify(value)}`,
    );
  return parsed;
}

const count = (options: Options, name: string): number | undefined =>
  text(options, name) === undefined ? undefined : number(options, name, 0);

function seconds(options: Options, name: string): number | undefined {
  const value = text(options, name);
  if (value === undefined) return undefined;
  const ms = parseDurationMs(value);
  if (ms === null || ms < 10) throw new Misuse(`--${name} takes a duration such as 500ms, 60s or 5m`);
  return ms / 1000;
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
