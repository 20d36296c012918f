/** The parts of the system on one machine, and how each is started. Values only: nothing runs here. */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { PartSpec } from "./part.ts";
import { OWNER_VARIABLE, type State } from "./data-dir.ts";
import { answers, dynoxideBinary } from "./dynamodb.ts";
import type { Running } from "./running.ts";
import { S3_PATH } from "./bucket.ts";
import { SETTINGS_VARIABLE, type EdgeSettings, type S3Settings } from "./settings.ts";

const PROJECT = join(import.meta.dirname, "..");
const HOST = "127.0.0.1";
const TABLE = "varve";
const BUCKET = "changelog";
const DEDUPE_DAYS = 7;

export type Ports = {
  readonly edge: number;
  readonly s3: number;
  readonly dynamodb: number;
  readonly console: number;
};
export type System = Omit<Running, "processes" | "pid">;
export type Environment = Readonly<Record<string, string | undefined>>;

/** A DynamoDB named by the environment is used as it is, with the environment's credentials. */
export function planSystem(dataDir: string, ports: Ports, state: State, environment: Environment): System {
  const foreign = foreignDynamodb(environment);
  const region = foreign === undefined ? "local" : (environment["AWS_REGION"] ?? "local");
  return {
    endpoint: `http://${HOST}:${ports.edge}`,
    writeKey: state.writeKey,
    dynamodb: foreign ?? `http://${HOST}:${ports.dynamodb}`,
    table: TABLE,
    console: `http://${HOST}:${ports.console}/`,
    s3: `http://${HOST}:${ports.s3}${S3_PATH}`,
    bucket: BUCKET,
    changelog: `s3://${BUCKET}/varve/local/${TABLE}`,
    s3Credentials: {
      accessKeyId: state.s3AccessKeyId,
      secretAccessKey: state.s3SecretAccessKey,
      region: "auto",
    },
    dynamodbCredentials: {
      accessKeyId: (foreign && environment["AWS_ACCESS_KEY_ID"]) ?? "local",
      secretAccessKey: (foreign && environment["AWS_SECRET_ACCESS_KEY"]) ?? "local",
      region,
    },
    dataDir,
  };
}

export function foreignDynamodb(environment: Environment): string | undefined {
  return environment["DYNAMODB_ENDPOINT"] === "" ? undefined : environment["DYNAMODB_ENDPOINT"];
}

export function dynamodbPath(dataDir: string): string {
  return join(dataDir, "dynamodb.sqlite");
}

export function dynamodbPart(system: System, ports: Ports, environment: Environment): PartSpec {
  return {
    name: "dynamodb",
    command: dynoxideBinary(),
    args: [
      "serve",
      `--host=${HOST}`,
      `--port=${ports.dynamodb}`,
      `--db-path=${dynamodbPath(system.dataDir)}`,
    ],
    env: childEnvironment(system, environment),
    channel: false,
    readiness: { by: "answer", answers: () => answers(system.dynamodb) },
    stopMsMax: 5_000,
  };
}

export function s3Part(system: System, ports: Ports, environment: Environment): PartSpec {
  const settings: S3Settings = {
    port: ports.s3,
    dir: join(system.dataDir, "s3"),
    bucket: system.bucket,
    accessKeyId: system.s3Credentials.accessKeyId,
    secretAccessKey: system.s3Credentials.secretAccessKey,
  };
  return nodePart("s3", settings, system, environment);
}

export function edgePart(system: System, ports: Ports, environment: Environment): PartSpec {
  const settings: EdgeSettings = {
    port: ports.edge,
    worker: join(PROJECT, "edge", "worker.ts"),
    dir: join(system.dataDir, "kv"),
    writeKey: system.writeKey,
    vars: {
      DYNAMODB_ENDPOINT: system.dynamodb,
      DYNAMODB_TABLE: system.table,
      AWS_REGION: system.dynamodbCredentials.region,
      AWS_ACCESS_KEY_ID: system.dynamodbCredentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: system.dynamodbCredentials.secretAccessKey,
      DEDUPE_DAYS: String(DEDUPE_DAYS),
    },
  };
  return nodePart("edge", settings, system, environment);
}

export function compactorPart(
  system: System,
  ports: Ports,
  flush: string,
  environment: Environment,
): PartSpec {
  return {
    name: "compactor",
    command: process.execPath,
    args: [
      `--import=${pathToFileURL(join(import.meta.dirname, "orphan.ts")).href}`,
      join(PROJECT, "cli", "main.ts"),
      "compactor",
    ],
    env: {
      ...childEnvironment(system, environment),
      DYNAMODB_ENDPOINT: system.dynamodb,
      DYNAMODB_TABLE: system.table,
      AWS_REGION: system.dynamodbCredentials.region,
      AWS_ACCESS_KEY_ID: system.dynamodbCredentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: system.dynamodbCredentials.secretAccessKey,
      S3_ENDPOINT: system.s3,
      S3_ACCESS_KEY_ID: system.s3Credentials.accessKeyId,
      S3_SECRET_ACCESS_KEY: system.s3Credentials.secretAccessKey,
      S3_REGION: system.s3Credentials.region,
      VARVE_CHANGELOG: system.changelog,
      VARVE_FLUSH: flush,
      VARVE_CONSOLE: String(ports.console),
      VARVE_CONSOLE_TOKEN: undefined,
      // There is one, and when it is started again it is the same.
      VARVE_WORKER: "local",
      VARVE_THREADS: "1",
    },
    channel: true,
    // By then it has found the changelog, or made it.
    readiness: { by: "log", says: (line) => line.kind === "record" && line.record["msg"] === "opened" },
    stopMsMax: 25_000,
  };
}

function nodePart(
  name: "s3" | "edge",
  settings: S3Settings | EdgeSettings,
  system: System,
  environment: Environment,
): PartSpec {
  return {
    name,
    command: process.execPath,
    args: [join(import.meta.dirname, `${name}.ts`)],
    env: { ...childEnvironment(system, environment), [SETTINGS_VARIABLE]: JSON.stringify(settings) },
    channel: true,
    readiness: { by: "message" },
    stopMsMax: 5_000,
  };
}

/**
 * A profile or a session of the user's AWS account must not mix with the parts' own credentials,
 * nor a streams endpoint with the local table.
 */
function childEnvironment(system: System, environment: Environment): Environment {
  const { AWS_PROFILE: _profile, AWS_SESSION_TOKEN: _session, ...rest } = environment;
  const streams = foreignDynamodb(environment) && environment["DYNAMODB_STREAMS_ENDPOINT"];
  return { ...rest, DYNAMODB_STREAMS_ENDPOINT: streams, [OWNER_VARIABLE]: system.dataDir };
}
