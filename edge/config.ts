/** The worker's bindings, parsed once an isolate. wrangler.toml explains each. */
import { z } from "zod";
import { VarveError } from "../shared/errors.ts";

export type Bindings = {
  readonly SOURCES: KVNamespace;
  readonly [name: string]: unknown;
};

const days = (name: string) =>
  z.coerce
    .number({ error: `${name} must be a number of days` })
    .min(1 / 24)
    .max(3650);

const VARIABLES = z.object({
  DYNAMODB_ENDPOINT: z.url({ error: "must be a URL, such as https://dynamodb.eu-west-1.amazonaws.com" }),
  DYNAMODB_TABLE: z.string({ error: "must name the table" }).min(3),
  AWS_REGION: z.string({ error: "must name the table's region" }).min(1),
  AWS_ACCESS_KEY_ID: z.string({ error: "is a secret: wrangler secret put AWS_ACCESS_KEY_ID" }).min(1),
  AWS_SECRET_ACCESS_KEY: z.string({ error: "is a secret: wrangler secret put AWS_SECRET_ACCESS_KEY" }).min(1),
  AWS_SESSION_TOKEN: z.string().optional(),
  DEDUPE_DAYS: days("DEDUPE_DAYS").default(7),
  SKEW_SECONDS: z.coerce.number().min(0).default(60),
});

export type Config = {
  readonly endpoint: string;
  readonly table: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken: string | undefined;
  readonly dedupeS: number;
  readonly skewMaxMs: number;
};

/** Throws a VarveError that names every binding at fault. */
export function parseConfig(bindings: Bindings): Config {
  const parsed = VARIABLES.safeParse(bindings);
  if (!parsed.success) {
    const faults = parsed.error.issues.map((issue) => `${issue.path.join(".")} ${issue.message}`);
    throw new VarveError("bad_config", faults.join("; "), "set it in wrangler.toml or as a secret");
  }
  const { data } = parsed;
  return {
    endpoint: data.DYNAMODB_ENDPOINT,
    table: data.DYNAMODB_TABLE,
    region: data.AWS_REGION,
    accessKeyId: data.AWS_ACCESS_KEY_ID,
    secretAccessKey: data.AWS_SECRET_ACCESS_KEY,
    sessionToken: data.AWS_SESSION_TOKEN,
    dedupeS: Math.round(data.DEDUPE_DAYS * 86_400),
    skewMaxMs: data.SKEW_SECONDS * 1000,
  };
}
