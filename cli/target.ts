/** Which changelog and table a command means: the environment's, or the system running on this machine. */
import type { Options } from "./command.ts";
import { readRunning } from "../local/running.ts";
import type { OpenStore } from "../reader/address.ts";
import { directoryOf, openStore } from "../reader/address.ts";
import type { Presigner } from "../shared/aws/presign.ts";
import { openPresigner } from "../shared/aws/presign.ts";
import { openS3Store } from "../shared/aws/s3.ts";
import { CHANGELOG_ENV, parseEnvironment, s3ConfigOf } from "../shared/config.ts";
import { VarveError } from "../shared/errors.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

/** The variables as they are; those of the system in `dataDir` where none name a changelog. */
export function targetEnvironment(environment: Environment, dataDir: string): Environment {
  if (environment["VARVE_CHANGELOG"] !== undefined) return environment;
  const running = readRunning(dataDir);
  if (running === undefined) {
    throw new VarveError(
      "no_target",
      `VARVE_CHANGELOG is not set, and no system runs from ${dataDir}.`,
      "Set VARVE_CHANGELOG=s3://bucket/prefix/region/table, or run `npm start` in another terminal (--data names its folder).",
    );
  }
  return {
    ...environment,
    VARVE_CHANGELOG: running.changelog,
    S3_ENDPOINT: running.s3,
    S3_REGION: running.s3Credentials.region,
    S3_ACCESS_KEY_ID: running.s3Credentials.accessKeyId,
    S3_SECRET_ACCESS_KEY: running.s3Credentials.secretAccessKey,
    DYNAMODB_ENDPOINT: running.dynamodb,
    DYNAMODB_TABLE: running.table,
    AWS_REGION: running.dynamodbCredentials.region,
    AWS_ACCESS_KEY_ID: running.dynamodbCredentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: running.dynamodbCredentials.secretAccessKey,
  };
}

/** In S3, or in a directory: `VARVE_CHANGELOG=file:///path` reads a copy of a changelog. */
export function openTargetStore(environment: Environment): OpenStore {
  const address = environment["VARVE_CHANGELOG"] ?? "";
  if (address.startsWith("file:")) return openStore(address);
  return openS3Store(s3ConfigOf(parseEnvironment(CHANGELOG_ENV, environment)));
}

/** Signs addresses of the changelog's objects. Throws where there are none to sign: in a directory. */
export async function openTargetPresigner(environment: Environment): Promise<Presigner> {
  const address = environment["VARVE_CHANGELOG"] ?? "";
  if (address.startsWith("file:")) {
    throw new VarveError(
      "no_urls",
      `the changelog is a directory, ${address}: its files have no URLs.`,
      "Leave --urls out: each file's `path` can be opened as it is.",
    );
  }
  return openPresigner(s3ConfigOf(parseEnvironment(CHANGELOG_ENV, environment)));
}

/** What a data file's path is relative to, for programs that read it themselves. */
function targetRoot(environment: Environment): string {
  const address = environment["VARVE_CHANGELOG"] ?? "";
  if (address.startsWith("file:")) return directoryOf(address).replace(/\/+$/, "");
  return parseEnvironment(CHANGELOG_ENV, environment).VARVE_CHANGELOG.address.replace(/\/+$/, "");
}

/** The environment that a command means. */
export const targetOf = (environment: Environment, options: Pick<Options, "text">): Environment =>
  targetEnvironment(environment, options.text("data") ?? ".varve");

export function openTarget(
  environment: Environment,
  options: Pick<Options, "text">,
): { readonly target: Environment; readonly store: OpenStore; readonly root: string } {
  const target = targetOf(environment, options);
  return { target, store: openTargetStore(target), root: targetRoot(target) };
}
