/** `varve doctor`: does everything that Varve needs hold here? Each failure with its fix. */
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { DynamoDBStreamsClient } from "@aws-sdk/client-dynamodb-streams";
import { GetBucketVersioningCommand, S3Client } from "@aws-sdk/client-s3";
import { defaultProvider } from "@aws-sdk/credential-provider-node";
import { many } from "../shared/amounts.ts";
import { requestHandlerLimits } from "../shared/aws/limits.ts";
import { openS3Store } from "../shared/aws/s3.ts";
import type { S3Config } from "../shared/aws/s3.ts";
import { systemClock } from "../shared/clock.ts";
import { CHANGELOG_ENV, parseEnvironment, s3ConfigOf, TABLE_ENV } from "../shared/config.ts";
import type { Check, Result, Status } from "./doctor/check.ts";
import { runChecks } from "./doctor/check.ts";
import { environmentChecks } from "./doctor/environment-checks.ts";
import { storeChecks } from "./doctor/store-checks.ts";
import { tableChecks } from "./doctor/table-checks.ts";
import type { Output } from "./output.ts";
import { painted } from "./output.ts";
import { givenCredentials } from "./table.ts";
import type { Environment } from "./target.ts";

export type DoctorArguments = {
  /** The edge's address, to be asked as well. */
  readonly edge?: string | undefined;
  /** Leave the table out: for a machine that only reads the changelog. */
  readonly table: boolean;
  readonly json: boolean;
};

const ATTEMPTS_MAX = 2;
const TIMEOUT_MS = 10_000;

const MARK: Readonly<Record<Status, string>> = {
  ok: painted("green", "ok   "),
  warn: painted("yellow", "WARN "),
  fail: painted("red", "FAIL "),
  skipped: "-    ",
};

/** True when nothing fails. Throws when the variables themselves are wrong. */
export async function doctorCommand(
  environment: Environment,
  args: DoctorArguments,
  output: Output,
): Promise<boolean> {
  const config = parseEnvironment(
    args.table ? CHANGELOG_ENV.extend(TABLE_ENV.shape) : CHANGELOG_ENV,
    environment,
  );
  const { clock, close, checks } = openChecks(environment, config, args);
  try {
    const beganMs = clock.nowMs();
    const results = await runChecks(checks, async (result) => {
      if (!args.json) await output.line(resultText(result));
    });
    const counts = countStatuses(results);
    const isFit = counts.fail === 0;
    if (args.json) await output.line(JSON.stringify({ fit: isFit, counts, checks: results }));
    else {
      const tookS = ((clock.nowMs() - beganMs) / 1000).toFixed(1);
      await output.line(
        `\n${isFit ? painted("green", "fit for use") : painted("red", "NOT FIT FOR USE")}: ${counts.ok} ok, ${many(counts.warn, "warning")}, ${counts.fail} failed, ${counts.skipped} not checked, in ${tookS} s`,
      );
    }
    return isFit;
  } finally {
    close();
  }
}

type Config = ReturnType<typeof CHANGELOG_ENV.parse> & Partial<ReturnType<typeof TABLE_ENV.parse>>;

function openChecks(environment: Environment, config: Config, { edge, table }: DoctorArguments) {
  const s3 = { ...s3ConfigOf(config), attemptsMax: ATTEMPTS_MAX, timeoutMs: TIMEOUT_MS };
  const given = givenCredentials(environment);
  const credentials = given === undefined ? defaultProvider() : () => Promise.resolve(given);
  const base = {
    region: config.AWS_REGION,
    credentials,
    maxAttempts: ATTEMPTS_MAX,
    requestHandler: requestHandlerLimits(TIMEOUT_MS),
  };
  const at = (endpoint: string | undefined) => (endpoint === undefined ? {} : { endpoint });
  const store = openS3Store(s3);
  const bucket = s3Client(s3);
  const tables = new DynamoDBClient({ ...base, ...at(config.DYNAMODB_ENDPOINT) });
  const streams = new DynamoDBStreamsClient({
    ...base,
    ...at(config.DYNAMODB_STREAMS_ENDPOINT ?? config.DYNAMODB_ENDPOINT),
  });
  const unique = systemClock.uuid();
  const { address } = config.VARVE_CHANGELOG;
  const checks: Check[] = [
    ...environmentChecks({
      credentials: () =>
        s3.credentials === undefined || table ? credentials() : Promise.resolve(s3.credentials),
      endpoints: [
        config.S3_ENDPOINT ?? `https://s3.${s3.region}.amazonaws.com/`,
        ...(table
          ? [config.DYNAMODB_ENDPOINT ?? `https://dynamodb.${config.AWS_REGION}.amazonaws.com/`]
          : []),
      ],
      edge,
      nowMs: systemClock.nowMs,
      fetch,
    }),
    ...(table && config.DYNAMODB_TABLE !== undefined
      ? needing("credentials", tableChecks({ tables, streams, table: config.DYNAMODB_TABLE, unique }))
      : []),
    ...storeChecks({
      store,
      address,
      unique,
      versioning: () => bucketVersioning(bucket, s3.bucket),
      nowMs: systemClock.nowMs,
    }),
  ];
  return {
    checks,
    clock: systemClock,
    close: () => {
      store.close();
      bucket.destroy();
      tables.destroy();
      streams.destroy();
    },
  };
}

const needing = (ground: string, checks: readonly Check[]): readonly Check[] =>
  checks.map((check) => ({ ...check, needs: [ground, ...(check.needs ?? [])] }));

const s3Client = ({ region, endpoint, credentials, timeoutMs }: S3Config): S3Client =>
  new S3Client({
    region,
    maxAttempts: ATTEMPTS_MAX,
    forcePathStyle: endpoint !== undefined,
    requestHandler: requestHandlerLimits(timeoutMs),
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(credentials === undefined ? {} : { credentials }),
  });

/** Only AWS has it: elsewhere the call is refused as unknown. */
async function bucketVersioning(client: S3Client, bucket: string): Promise<string | undefined | null> {
  try {
    return (await client.send(new GetBucketVersioningCommand({ Bucket: bucket }))).Status;
  } catch (error) {
    if (error instanceof Error && error.name === "AccessDenied") throw error;
    return null;
  }
}

function countStatuses(results: readonly Result[]): Record<Status, number> {
  const counts: Record<Status, number> = { ok: 0, warn: 0, fail: 0, skipped: 0 };
  for (const { status } of results) counts[status] += 1;
  return counts;
}

const TITLE_WIDTH = 64;

function resultText({ status, title, found, fix }: Result): string {
  const line = `${MARK[status]}  ${title.padEnd(TITLE_WIDTH)}  ${found}`;
  return fix === undefined ? line : `${line}\n         -> ${fix}`;
}
