/** The `varve` command. Exit code 0: done; 1: failed; 2: misused. */
import { parseArgs } from "node:util";
import { systemClock } from "../shared/clock.ts";
import { CHANGELOG_ENV, parseEnvironment } from "../shared/config.ts";
import { describeError, VarveError } from "../shared/errors.ts";
import { changesCommand } from "./changes.ts";
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
      const target = targetEnvironment(environment, text(options, "data") ?? ".varve");
      const { syncCommand } = await import("./sync.ts");
      const args = {
        kind,
        target: address,
        follow: options["follow"] === true,
        fromSnapshot: options["from-snapshot"] === true,
        json: options["json"] === true,
      } as const;
      await syncCommand(openTargetStore(target), args, output(), systemClock, stopSignal());
      return 0;
    }
    default:
      throw new Misuse(`there is no command ${JSON.stringify(command)}`);
  }
}

type OptionSpec = Record<string, { type: "string" | "boolean" }>;
type Options = Readonly<Record<string, string | boolean | undefined>>;

const COMMON = { json: { type: "boolean" }, data: { type: "string" } } as const satisfies OptionSpec;

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
