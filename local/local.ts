/** `varve local`: the whole system on one machine, as four child processes. */
import { rmSync } from "node:fs";
import { relative } from "node:path";
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { parseDurationMs } from "../shared/config.ts";
import { VarveError } from "../shared/errors.ts";
import { killLeftovers, loadState, lockDataDir, openDataDir, writePrivately } from "./data-dir.ts";
import { ensureTable, makeStreamIndexes } from "./dynamodb.ts";
import {
  afterCompactorLine,
  countEvents,
  describeFigures,
  lagMs,
  noFigures,
  type EventCounter,
} from "./figures.ts";
import { describeLogLine, parseLogLine } from "./log-line.ts";
import { startPart, type Part, type PartEvent, type PartName, type PartSpec } from "./part.ts";
import { claimPort, freePort } from "./ports.ts";
import { runningPath, type Running } from "./running.ts";
import { openScreen, type Screen } from "./screen.ts";
import {
  compactorPart,
  dynamodbPart,
  dynamodbPath,
  edgePart,
  foreignDynamodb,
  planSystem,
  s3Part,
  type Ports,
  type System,
} from "./system.ts";

export type LocalOptions = {
  /** The edge's port; 0 picks a free one. */
  readonly port: number;
  readonly dataDir: string;
  /** How often the compactor flushes, as `1s`. */
  readonly flush: string;
  /** For programs: objects on stdout, one a line, the first of them `Running`. */
  readonly json: boolean;
};

const STATUS_MS = 1_000;
const STATUS_JSON_MS = 10_000;
const PARENT_MS = 500;

/** Runs until `signal` aborts; throws when the system cannot be brought up. */
export async function runLocal(options: LocalOptions, signal: AbortSignal): Promise<void> {
  checkFlush(options.flush);
  const dataDir = openDataDir(options.dataDir);
  const screen = openScreen(process.stdout, process.stderr);
  const unlock = lockDataDir(dataDir);
  const parts = new Map<PartName, Part>();
  const closers: (() => void)[] = [];
  try {
    const left = killLeftovers(dataDir);
    if (left.length > 0) screen.note(`Ended ${left.length} processes that an earlier run left behind.`);
    await supervise(options, dataDir, screen, parts, closers, signal);
  } finally {
    for (const close of closers) close();
    screen.clear();
    // The edge stops taking events before the compactor commits its last; both need the stores.
    await parts.get("edge")?.stop();
    await parts.get("compactor")?.stop();
    await Promise.all([parts.get("s3")?.stop(), parts.get("dynamodb")?.stop()]);
    rmSync(runningPath(dataDir), { force: true });
    unlock();
  }
}

async function supervise(
  options: LocalOptions,
  dataDir: string,
  screen: Screen,
  parts: Map<PartName, Part>,
  closers: (() => void)[],
  signal: AbortSignal,
): Promise<void> {
  const environment = process.env;
  const isForeign = foreignDynamodb(environment) !== undefined;
  const ports = await choosePorts(options.port);
  const system = planSystem(dataDir, ports, loadState(dataDir), environment);
  let figures = noFigures;
  let announced = false;

  const onEvent = (event: PartEvent): void => {
    if (signal.aborted) return;
    if (event.event === "line") {
      const line = parseLogLine(event.text);
      if (event.part === "compactor" && line.kind === "record") {
        figures = afterCompactorLine(figures, line.record);
      }
      const text = describeLogLine(event.part, line);
      if (text !== undefined) screen.note(text);
      return;
    }
    if (event.event === "started") guardDynamodb(parts);
    if (!announced) return;
    writeRunning(system, parts);
    if (options.json) screen.result(JSON.stringify(event));
    else screen.note(describeEvent(event));
  };
  const start = (spec: PartSpec): Promise<void> => {
    const part = startPart(spec, onEvent);
    parts.set(spec.name, part);
    guardDynamodb(parts);
    return orAborted(part.ready, signal);
  };

  if (!options.json) screen.live("starting ...", Date.now());
  await Promise.all([
    ...(isForeign ? [] : [start(dynamodbPart(system, ports, environment))]),
    start(s3Part(system, ports, environment)),
  ]);
  if (signal.aborted) return;
  await prepareTable(system, isForeign);
  await Promise.all([
    start(edgePart(system, ports, environment)),
    start(compactorPart(system, options.flush, environment)),
  ]);
  if (signal.aborted) return;

  let counter: EventCounter | undefined;
  if (!isForeign) {
    counter = countEvents(dynamodbPath(dataDir), system.table);
    closers.push(counter.close);
  }
  const running = writeRunning(system, parts);
  announced = true;
  screen.clear();
  screen.result(options.json ? JSON.stringify(running) : describeRunning(running));

  const showStatus = (): void => {
    figures = { ...figures, events: counter?.count() };
    const nowMs = Date.now();
    if (options.json)
      screen.result(JSON.stringify({ event: "status", ...figures, lagMs: lagMs(figures, nowMs) }));
    else screen.live(describeFigures(figures, nowMs), nowMs);
  };
  const timer = setInterval(showStatus, options.json ? STATUS_JSON_MS : STATUS_MS);
  closers.push(() => {
    clearInterval(timer);
  });
  if (!options.json) showStatus();
  await Promise.race([
    aborted(signal),
    ...(environment["npm_lifecycle_event"] === undefined ? [] : [orphaned()]),
  ]);
}

/** npm hands a SIGTERM to the shell it started the script with, and no further. */
async function orphaned(): Promise<void> {
  const parent = process.ppid;
  while (process.ppid === parent) {
    await new Promise((resolveWait) => {
      setTimeout(resolveWait, PARENT_MS).unref();
    });
  }
}

function checkFlush(flush: string): void {
  if (parseDurationMs(flush) !== null) return;
  throw new VarveError(
    "bad_flush",
    `${JSON.stringify(flush)} is not a duration.`,
    "Give one such as 500ms, 1s or 5m: --flush 1s.",
  );
}

async function choosePorts(edgePort: number): Promise<Ports> {
  const edge = await claimPort(edgePort);
  const s3 = await freePort(new Set([edge]));
  return { edge, s3, dynamodb: await freePort(new Set([edge, s3])) };
}

async function prepareTable(system: System, isForeign: boolean): Promise<void> {
  const { region, accessKeyId, secretAccessKey } = system.dynamodbCredentials;
  const client = new DynamoDBClient({
    endpoint: system.dynamodb,
    region,
    credentials: { accessKeyId, secretAccessKey },
  });
  try {
    if (!isForeign) makeStreamIndexes(dynamodbPath(system.dataDir));
    await ensureTable(client, system.table, system.dynamodb);
  } finally {
    client.destroy();
  }
}

/** dynoxide cannot notice that its supervisor is gone: the S3 part ends it then. */
function guardDynamodb(parts: ReadonlyMap<PartName, Part>): void {
  const pid = parts.get("dynamodb")?.pid();
  if (pid !== undefined) parts.get("s3")?.send({ type: "guard", pid });
}

function writeRunning(system: System, parts: ReadonlyMap<PartName, Part>): Running {
  const processes: Record<string, number> = {};
  for (const part of parts.values()) {
    const pid = part.pid();
    if (pid !== undefined) processes[part.name] = pid;
  }
  const running: Running = { ...system, pid: process.pid, processes };
  writePrivately(runningPath(system.dataDir), `${JSON.stringify(running, null, 2)}\n`);
  return running;
}

function describeRunning(running: Running): string {
  const data = relative(process.cwd(), running.dataDir);
  const shown = data === "" || data.startsWith("..") ? running.dataDir : data;
  const option = shown === ".varve" ? "" : ` --data ${shown}`;
  return `
Varve runs on this machine.

  endpoint    ${running.endpoint}
  write key   ${running.writeKey}
  changelog   ${running.changelog}  (S3 at ${running.s3})
  table       ${running.table}  (DynamoDB at ${running.dynamodb})
  data        ${shown}

Send an event:

  curl ${running.endpoint}/v1/track -u ${running.writeKey}: -H 'content-type: application/json' \\
    -d '{"userId":"u1","event":"Signed Up","properties":{"plan":"pro"}}'

See what changed, from another terminal:

  npm run varve -- changes --since 1h${option}
  npm run demo${option === "" ? "" : ` --${option}`}

Ctrl-C ends it; what it holds stays in ${shown}.
`;
}

function describeEvent(event: Exclude<PartEvent, { readonly event: "line" }>): string {
  return event.event === "started"
    ? `${event.part}: started again (process ${event.pid})`
    : `${event.part}: ended (${event.reason}); starts again in ${event.restartInMs / 1000} s`;
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolveAborted) => {
    if (signal.aborted) resolveAborted();
    else
      signal.addEventListener(
        "abort",
        () => {
          resolveAborted();
        },
        { once: true },
      );
  });
}

function orAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  return Promise.race([promise, aborted(signal)]);
}
