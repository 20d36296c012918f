/** The compactor's settings, from the environment. */
import { z } from "zod";
import type { S3Config } from "./aws/s3.ts";
import { VarveError } from "./errors.ts";
import { parseRoot } from "./keys.ts";

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const SIZES: Readonly<Record<string, number>> = { KB: 1024, MB: 1024 ** 2, GB: 1024 ** 3 };

/** `500ms`, `1s`, `5m`, `2h`, `7d` in ms; null when it is none of these. */
export function parseDurationMs(text: string): number | null {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text);
  return match === null ? null : Math.round(Number(match[1]) * (UNITS[match[2] ?? ""] ?? 0));
}

const DURATION = z.string().transform((text, context) => {
  const ms = parseDurationMs(text);
  if (ms !== null && ms >= 10) return ms;
  context.addIssue(`${JSON.stringify(text)} is not a duration of at least 10ms, such as 500ms, 1s or 5m`);
  return z.NEVER;
});
const BYTES = z.string().transform((text, context) => {
  const match = /^([1-9]\d*)(KB|MB|GB)$/.exec(text);
  if (match !== null) return Number(match[1]) * (SIZES[match[2] ?? ""] ?? 0);
  context.addIssue(`${JSON.stringify(text)} is not a size, such as 64MB`);
  return z.NEVER;
});
const WHOLE = z.string().transform((text, context) => {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= 64) return value;
  context.addIssue(`${JSON.stringify(text)} is not a whole number from 1 to 64`);
  return z.NEVER;
});
const LISTEN = z.string().transform((text, context) => {
  const match = /^(?:(.+):)?(\d{1,5})$/.exec(text);
  if (match !== null && Number(match[2]) <= 65_535)
    return { host: match[1] ?? "127.0.0.1", port: Number(match[2]) };
  context.addIssue(`${JSON.stringify(text)} is neither a port nor host:port`);
  return z.NEVER;
});
const ROOT = z.string({ error: "is not set" }).transform((address, context) => {
  const root = parseRoot(address);
  if (root !== null) return { address, ...root };
  context.addIssue(`${JSON.stringify(address)} is not an address such as s3://bucket/prefix/region/table`);
  return z.NEVER;
});

/** What every program that reads or writes a changelog needs to know. */
export const CHANGELOG_ENV = z.object({
  VARVE_CHANGELOG: ROOT,
  S3_ENDPOINT: z.url().optional(),
  S3_REGION: z.string().optional(),
  S3_ACCESS_KEY_ID: z.string().optional(),
  S3_SECRET_ACCESS_KEY: z.string().optional(),
  AWS_REGION: z.string().default("us-east-1"),
});

export const TABLE_ENV = z.object({
  DYNAMODB_TABLE: z.string({ error: "is not set" }).min(1),
  DYNAMODB_ENDPOINT: z.url().optional(),
  /** Where the table's stream is served, when not at DYNAMODB_ENDPOINT. */
  DYNAMODB_STREAMS_ENDPOINT: z.url().optional(),
  AWS_REGION: z.string().default("us-east-1"),
});

export const CONSOLE_ENV = z.object({
  /** Where the web console is served, `port` or `host:port`; by default not at all. */
  VARVE_CONSOLE: LISTEN.optional(),
  /** Whoever knows it may look at the console. Needed unless that listens on loopback. */
  VARVE_CONSOLE_TOKEN: z
    .string()
    .min(16, { error: "is shorter than 16 characters" })
    .regex(/^[\x21-\x7e]*$/, { error: "is not all letters, digits and signs" })
    .optional(),
});

const COMPACTOR_ENV = z.object({
  ...CHANGELOG_ENV.shape,
  ...TABLE_ENV.shape,
  ...CONSOLE_ENV.shape,
  VARVE_FLUSH: DURATION.default(60_000),
  VARVE_FLUSH_BYTES: BYTES.default(64 * 1024 ** 2),
  /** How long nothing may happen before the watermark is committed on its own. */
  VARVE_HEARTBEAT: DURATION.optional(),
  /** This worker's name among those of the table. One that starts again under its name need not wait until its former self is taken for dead. By default one never used before. */
  VARVE_WORKER: z
    .string()
    .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, { error: "is not a name of letters a to z, digits and hyphens" })
    .optional(),
  /** What the process should stay below: the number of threads follows from it. */
  VARVE_MEMORY: BYTES.default(1024 ** 3),
  /** Threads that read and write; 1: no thread of their own. By default as many as there are cores and memory for. */
  VARVE_THREADS: WHOLE.optional(),
  /** Merging windows of five minutes, an hour, a day. */
  VARVE_MERGE: z.enum(["on", "off"]).default("on"),
  VARVE_MERGE_MEMORY: BYTES.default(128 * 1024 ** 2),
  /** `latest`: the last row of a key and window survives a merge; `full`: all do. Fixed when the log is made. */
  VARVE_HISTORY: z.enum(["latest", "full"]).default("latest"),
  /** How long rows are kept; by default for ever. */
  VARVE_RETENTION: DURATION.optional(),
  /** How long log entries and merged-away files are kept for readers that are behind. */
  VARVE_LOG_RETENTION: DURATION.default(2 * 86_400_000),
  /** Where /metrics and /healthz are served, `port` or `host:port`; by default not at all. */
  VARVE_METRICS: LISTEN.optional(),
  /** Between two GetRecords calls on a shard that has little new: shortest and longest. By default they follow the flush. */
  VARVE_POLL_MIN: DURATION.optional(),
  VARVE_POLL_MAX: DURATION.optional(),
});
export type CompactorConfig = z.infer<typeof COMPACTOR_ENV>;

const between = (least: number, value: number, most: number): number =>
  Math.min(most, Math.max(least, value));

/** How long an idle log may stay without a commit, ms. */
export const heartbeatMs = (config: CompactorConfig): number =>
  config.VARVE_HEARTBEAT ?? between(10_000, config.VARVE_FLUSH * 10, 60_000);

/** A process of one thread takes about so much under a backlog, its merges included; each further thread so much more. */
const ONE_THREAD_BYTES = 700 * 1024 ** 2;
const THREAD_BYTES = 160 * 1024 ** 2;
const THREADS_MAX = 8;

/** How many threads read and write. */
export const threadsOf = ({ VARVE_THREADS, VARVE_MEMORY }: CompactorConfig, cores: number): number =>
  VARVE_THREADS ??
  between(1, 1 + Math.floor((VARVE_MEMORY - ONE_THREAD_BYTES) / THREAD_BYTES), Math.min(cores, THREADS_MAX));

/** What `threads` threads leave of the memory; less than nothing when there are more than it is for. */
export const spareBytes = ({ VARVE_MEMORY }: CompactorConfig, threads: number): number =>
  VARVE_MEMORY - ONE_THREAD_BYTES - (threads - 1) * THREAD_BYTES;

/** Poll delays, ms: an eighth of the flush interval (100 to 1,000) and half of it (100 to 60,000) unless they are set. */
export const pollDelays = (config: CompactorConfig): { readonly minMs: number; readonly maxMs: number } => ({
  minMs: config.VARVE_POLL_MIN ?? between(100, config.VARVE_FLUSH / 8, 1000),
  maxMs: config.VARVE_POLL_MAX ?? between(100, config.VARVE_FLUSH / 2, 60_000),
});

const WHERE_TO_LOOK =
  "Set these environment variables, or run `npm start` for a whole system on this machine. README.md lists them all.";

/** Parses `environment` by `schema`; every wrong variable is named in one error, with `fix`. */
export function parseEnvironment<T>(
  schema: z.ZodType<T>,
  environment: Readonly<Record<string, string | undefined>>,
  fix = WHERE_TO_LOOK,
): T {
  const parsed = schema.safeParse(environment);
  if (parsed.success) return parsed.data;
  const lines = parsed.error.issues.map((issue) => `${issue.path.join(".")} ${issue.message}`);
  throw new VarveError("bad_configuration", `the configuration is not usable: ${lines.join("; ")}.`, fix);
}

export const parseCompactorConfig = (
  environment: Readonly<Record<string, string | undefined>>,
): CompactorConfig => parseEnvironment(COMPACTOR_ENV, environment);

type ChangelogEnvironment = z.infer<typeof CHANGELOG_ENV>;

/** The changelog's store. Its credentials may differ from DynamoDB's (R2's always do). */
export function s3ConfigOf(config: ChangelogEnvironment): S3Config {
  const { S3_ACCESS_KEY_ID: accessKeyId, S3_SECRET_ACCESS_KEY: secretAccessKey } = config;
  return {
    bucket: config.VARVE_CHANGELOG.bucket,
    prefix: config.VARVE_CHANGELOG.prefix,
    region: config.S3_REGION ?? config.AWS_REGION,
    endpoint: config.S3_ENDPOINT,
    credentials:
      accessKeyId === undefined || secretAccessKey === undefined
        ? undefined
        : { accessKeyId, secretAccessKey },
  };
}
