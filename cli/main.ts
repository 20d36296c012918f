#!/usr/bin/env node
/** The `varve` command. Exit code 0: done; 1: failed; 2: misused. Results go to stdout, all else to stderr. */
import { styleText } from "node:util";
import { describeError, VarveError } from "../shared/errors.ts";
import { Misuse, helpOf, parseCommand } from "./command.ts";
import { COMMANDS } from "./commands.ts";
import { SHELLS, completionOf } from "./completion.ts";
import type { Environment } from "./target.ts";

function help(): string {
  const width = Math.max(...COMMANDS.map(({ name }) => name.length)) + 3;
  const rows = COMMANDS.map(({ name, summary }) => `  ${name.padEnd(width)}${summary}`);
  return [
    "varve <command> [options]",
    "",
    ...rows,
    `  ${"completion".padEnd(width)}completes commands and options in ${SHELLS.join(", ")}`,
    "",
    "`varve <command> --help` tells its options, with examples.",
    "",
    "Every command but local and compactor reads VARVE_CHANGELOG (s3://bucket/prefix/region/table) and the usual AWS",
    "variables, or finds the system that runs from --data (.varve).",
  ].join("\n");
}

const COMPLETION_HELP = `varve completion ${SHELLS.join(" | ")}

Prints what a shell sources to complete commands and options.

Examples:
  source <(varve completion bash)
  varve completion fish > ~/.config/fish/completions/varve.fish`;

/** What the reader says of options that make no sense. */
const MISUSES = new Set(["bad_since", "empty_range"]);

const unknownCommand = (name: string): Misuse => new Misuse(`there is no command ${JSON.stringify(name)}`);

async function run([name, ...rest]: readonly string[], environment: Environment): Promise<number> {
  if (name === undefined || name === "help" || name === "--help" || name === "-h") {
    const asked = COMMANDS.find((command) => command.name === rest[0]);
    if (rest[0] !== undefined && asked === undefined) throw unknownCommand(rest[0]);
    console.log(asked === undefined ? help() : helpOf(asked));
    return name === undefined ? 2 : 0;
  }
  if (name === "completion") {
    if (rest.includes("--help") || rest.includes("-h")) {
      console.log(COMPLETION_HELP);
      return 0;
    }
    const shell = SHELLS.find((known) => known === rest[0]);
    if (shell === undefined) throw new Misuse(`completion takes a shell: ${SHELLS.join(", ")}`);
    console.log(completionOf(shell, COMMANDS));
    return 0;
  }
  const command = COMMANDS.find((one) => one.name === name);
  if (command === undefined) throw unknownCommand(name);
  if (rest.includes("--help") || rest.includes("-h")) {
    console.log(helpOf(command));
    return 0;
  }
  return command.run(parseCommand(command, rest, environment, stopSignal));
}

async function main(argv: readonly string[], environment: Environment): Promise<number> {
  try {
    return await run(argv, environment);
  } catch (error) {
    if (error instanceof Misuse) {
      const known = COMMANDS.some(({ name }) => name === argv[0]);
      console.error(
        `varve: ${error.message}\n  Run \`varve ${known ? `${argv[0]} --help` : "help"}\` for what there is.`,
      );
      return 2;
    }
    console.error(`${styleText("red", "varve:", { stream: process.stderr })} ${describeError(error)}`);
    if (!(error instanceof VarveError) && error instanceof Error) console.error(error.stack);
    return error instanceof VarveError && MISUSES.has(error.code) ? 2 : 1;
  }
}

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
