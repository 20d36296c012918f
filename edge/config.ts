/** The worker's bindings, parsed once an isolate. wrangler.toml explains each. */
import * as z from "zod";
import { VarveError } from "../shared/errors.ts";
import { REGION } from "./regions.ts";
import type { Region } from "./regions.ts";
import type { SpillQueue } from "./spill.ts";

export type Bindings = {
  readonly SOURCES: KVNamespace;
  /** Absent where there is no queue: then 503 is answered in its place. */
  readonly SPILL?: SpillQueue | undefined;
  /** Absent where the platform's rate limiter is not configured. */
  readonly LIMITER?:
    | { readonly limit: (of: { readonly key: string }) => Promise<{ success: boolean }> }
    | undefined;
  readonly [name: string]: unknown;
};

const REGIONS = z
  .array(REGION)
  .min(1, "must name a region")
  .refine(
    (regions) => new Set(regions.map(({ name }) => name)).size === regions.length,
    "must not name a region twice",
  );

/** A variable is text, or already JSON when wrangler.toml writes it as a list of tables. */
const regions = z
  .unknown()
  .transform((value, context) => {
    if (typeof value !== "string") return value;
    try {
      return JSON.parse(value) as unknown;
    } catch {
      context.addIssue({ code: "custom", message: "is not JSON" });
      return z.NEVER;
    }
  })
  .pipe(REGIONS);

const SECRETS = z.object({
  AWS_ACCESS_KEY_ID: z.string({ error: "is a secret: wrangler secret put AWS_ACCESS_KEY_ID" }).min(1),
  AWS_SECRET_ACCESS_KEY: z.string({ error: "is a secret: wrangler secret put AWS_SECRET_ACCESS_KEY" }).min(1),
  AWS_SESSION_TOKEN: z.string().optional(),
});
const TUNING = z.object({
  DEDUPE_DAYS: z.coerce
    .number({ error: "must be a number of days" })
    .min(1 / 24)
    .max(3650)
    .default(7),
  SKEW_SECONDS: z.coerce.number({ error: "must be a number of seconds" }).min(0).default(60),
});
const MANY_REGIONS = z.object({ REGIONS: regions, ...SECRETS.shape, ...TUNING.shape });
const ONE_REGION = z.object({
  DYNAMODB_ENDPOINT: z.url({ error: "must be a URL, such as https://dynamodb.eu-west-1.amazonaws.com" }),
  DYNAMODB_TABLE: z.string({ error: "must name the table" }).min(3),
  AWS_REGION: z.string({ error: "must name the table's region" }).min(1),
  ...SECRETS.shape,
  ...TUNING.shape,
});

export type Config = {
  /** The first is home to sources that name none. */
  readonly regions: readonly Region[];
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken: string | undefined;
  readonly dedupeS: number;
  readonly skewMaxMs: number;
};

function faultsOf(error: z.ZodError): VarveError {
  const faults = error.issues.map((issue) => `${issue.path.join(".")} ${issue.message}`);
  return new VarveError("bad_config", faults.join("; "), "set it in wrangler.toml or as a secret");
}

function oneRegion(data: z.infer<typeof ONE_REGION>): Region {
  return {
    name: data.AWS_REGION,
    endpoint: data.DYNAMODB_ENDPOINT,
    table: data.DYNAMODB_TABLE,
    latitude: 0,
    longitude: 0,
  };
}

/** Throws a VarveError that names every binding at fault. REGIONS stands before the single region's three. */
export function parseConfig(bindings: Bindings): Config {
  const many = bindings["REGIONS"] !== undefined;
  const parsed = many ? MANY_REGIONS.safeParse(bindings) : ONE_REGION.safeParse(bindings);
  if (!parsed.success) throw faultsOf(parsed.error);
  const { data } = parsed;
  return {
    regions: "REGIONS" in data ? data.REGIONS : [oneRegion(data)],
    accessKeyId: data.AWS_ACCESS_KEY_ID,
    secretAccessKey: data.AWS_SECRET_ACCESS_KEY,
    sessionToken: data.AWS_SESSION_TOKEN,
    dedupeS: Math.round(data.DEDUPE_DAYS * 86_400),
    skewMaxMs: data.SKEW_SECONDS * 1000,
  };
}
