/** What a command of `varve` is: its words and options, how they are explained, and what it does. */
import { parseArgs } from "node:util";
import { parseDurationMs } from "../shared/config.ts";
import { openOutput } from "./output.ts";
import type { FileOutput } from "./output.ts";
import type { Environment } from "./target.ts";

/** The command line makes no sense: exit code 2. */
export class Misuse extends Error {}

export type OptionSpec = {
  readonly type: "string" | "boolean";
  /** What it takes, as the help shows it: `T`, `FILE`. */
  readonly value?: string;
  readonly help: string;
};

export type Command = {
  readonly name: string;
  /** One line. */
  readonly summary: string;
  /** The words that follow the name, as the help shows them. */
  readonly words?: string;
  readonly options: Readonly<Record<string, OptionSpec>>;
  /** What its user should know before relying on it. */
  readonly note?: string;
  readonly examples: readonly string[];
  /** Gives the exit code. Heavy modules are loaded here, so that help and misuse are said at once. */
  readonly run: (context: Context) => Promise<number>;
};

export type Context = {
  readonly options: Options;
  readonly words: readonly string[];
  readonly environment: Environment;
  readonly output: FileOutput;
  /** Aborts at the first SIGINT or SIGTERM, once it has been asked for. */
  readonly stopSignal: () => AbortSignal;
};

export type Options = {
  readonly flag: (name: string) => boolean;
  readonly text: (name: string) => string | undefined;
  /** 0 or more. */
  readonly number: (name: string, otherwise: number) => number;
  /** A whole number of 1 or more. */
  readonly count: (name: string) => number | undefined;
  /** 0 to 65535. */
  readonly port: (name: string, otherwise: number) => number;
  /** 10 ms or more, as ms. */
  readonly duration: (name: string) => number | undefined;
};

const PORT_MAX = 65_535;
const DURATION_LEAST_MS = 10;

export const DATA_OPTION: OptionSpec = {
  type: "string",
  value: "DIR",
  help: "the folder of the system on this machine (.varve)",
};
export const JSON_OPTION: OptionSpec = { type: "boolean", help: "for programs: JSON on stdout" };
export const TARGET_OPTIONS = { json: JSON_OPTION, data: DATA_OPTION } as const;

export function parseCommand(
  command: Command,
  args: readonly string[],
  environment: Environment,
  stopSignal: () => AbortSignal,
): Context {
  let parsed: { values: Record<string, string | boolean | undefined>; positionals: string[] };
  try {
    parsed = parseArgs({
      args: [...args],
      options: Object.fromEntries(
        Object.entries(command.options).map(([name, { type }]) => [name, { type }]),
      ),
      strict: true,
      allowPositionals: command.words !== undefined,
    });
  } catch (error) {
    throw new Misuse(error instanceof Error ? misuseOf(error.message) : String(error));
  }
  const options = openOptions(parsed.values);
  return {
    options,
    words: parsed.positionals,
    environment,
    stopSignal,
    output: openOutput(process.stdout, process.stderr),
  };
}

/** Node's message in one line, without what it says of words that begin with a dash. */
const misuseOf = (message: string): string =>
  (message.split(". To specify a positional")[0] ?? message).replaceAll("\n", " ");

export function openOptions(values: Readonly<Record<string, string | boolean | undefined>>): Options {
  const text = (name: string): string | undefined => {
    const value = values[name];
    return typeof value === "string" ? value : undefined;
  };
  const number = (name: string, otherwise: number): number => {
    const value = text(name);
    if (value === undefined) return otherwise;
    const parsed = Number(value);
    if (value.trim() !== "" && Number.isFinite(parsed) && parsed >= 0) return parsed;
    throw new Misuse(`--${name} takes a number of 0 or more, not ${JSON.stringify(value)}`);
  };
  return {
    text,
    number,
    flag: (name) => values[name] === true,
    count: (name) => {
      if (text(name) === undefined) return undefined;
      const parsed = Number(text(name));
      if (parsed >= 1 && Number.isSafeInteger(parsed)) return parsed;
      throw new Misuse(`--${name} takes a whole number of 1 or more, not ${JSON.stringify(text(name))}`);
    },
    port: (name, otherwise) => {
      const value = text(name) ?? String(otherwise);
      if (/^\d{1,5}$/.test(value) && Number(value) <= PORT_MAX) return Number(value);
      throw new Misuse(`--${name} takes a port from 0 to ${PORT_MAX}, not ${JSON.stringify(value)}`);
    },
    duration: (name) => {
      const value = text(name);
      if (value === undefined) return undefined;
      const ms = parseDurationMs(value);
      if (ms !== null && ms >= DURATION_LEAST_MS) return ms;
      throw new Misuse(
        `--${name} takes a duration such as 500ms, 5m, 12h or 2d, not ${JSON.stringify(value)}`,
      );
    },
  };
}

/** The help of one command. */
export function helpOf({ name, summary, words, options, note, examples }: Command): string {
  const rows = Object.entries(options).map(([option, { value, help }]) => [
    `  --${option}${value === undefined ? "" : ` ${value}`}`,
    help,
  ]);
  const width = Math.max(0, ...rows.map(([left = ""]) => left.length)) + 2;
  return [
    `varve ${name}${words === undefined ? "" : ` ${words}`}${rows.length > 0 ? " [options]" : ""}`,
    "",
    `${summary[0]?.toUpperCase() ?? ""}${summary.slice(1)}.`,
    ...(rows.length > 0
      ? ["", ...rows.map(([left = "", right = ""]) => `${left.padEnd(width)}${right}`)]
      : []),
    ...(note === undefined ? [] : ["", note]),
    ...(examples.length > 0 ? ["", "Examples:", ...examples.map((example) => `  ${example}`)] : []),
  ].join("\n");
}
