/** `varve local`: the whole system on one machine, as four child processes. */
import { rmSync } from "node:fs";
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { many } from "../shared/amounts.ts";
import { timeLimits } from "../shared/aws/time-limits.ts";
import {
  type DataDirLock,
  keepPrivate,
  killLeftovers,
  loadState,
  lockDataDir,
  openDataDir,
  writePrivately,
} from "./data-dir.ts";
import { aborted, dataDirGone, watchForEnd } from "./ending.ts";
import { ensureTable, makeStreamIndexes } from "./dynamodb.ts";
import { afterCompactorLine, countEvents, describeFigures, noFigures, statusOf } from "./figures.ts";
import { describeLogLine } from "./log-line.ts";
import { describeEvent, describeRunning } from "./page.ts";
import type { PartEvent } from "./part.ts";
import { openParts, type Parts } from "./parts.ts";
import { PORT_MAX, claimPort, freePort } from "./ports.ts";
import { openRepeats } from "./repeats.ts";
import { runningPath, type Running } from "./running.ts";
import { openScreen } from "./screen.ts";
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

/** Runs until `signal` aborts; throws when the system cannot be brought up. */
export async function runLocal(options: LocalOptions, signal: AbortSignal): Promise<void> {
  keepPrivate();
  const dataDir = openDataDir(options.dataDir);
  const lock = lockDataDir(dataDir);
  try {
    const left = killLeftovers(dataDir);
    if (left > 0)
      console.error(`Ended ${many(left, "process", "processes")} that an earlier run left behind.`);
    const ports = await choosePorts(options.port);
    const system = planSystem(dataDir, ports, loadState(dataDir), process.env);
    await runSystem(options, system, ports, lock, signal);
  } finally {
    lock.release();
  }
}

async function runSystem(
  options: LocalOptions,
  system: System,
  ports: Ports,
  lock: DataDirLock,
  signal: AbortSignal,
): Promise<void> {
  const screen = openScreen(process.stdout, process.stderr);
  const ending = watchForEnd(lock, signal);
  const isForeign = foreignDynamodb(process.env) !== undefined;
  let figures = noFigures;
  let announced = false;
  const repeats = openRepeats();

  const parts = openParts((event: PartEvent) => {
    if (event.event === "exited") ending.check();
    if (ending.signal.aborted) return;
    if (event.event === "line") {
      if (event.part === "compactor") figures = afterCompactorLine(figures, event.line);
      const shown = describeLogLine(event.part, event.line);
      if (shown !== undefined) for (const text of repeats.lines(shown, Date.now())) screen.note(text);
    } else if (announced) {
      writeRunning(system, parts);
      if (options.json) screen.result(JSON.stringify(event));
      else screen.note(describeEvent(event));
    }
  });
  try {
    if (!options.json) screen.live("starting ...", Date.now());
    const stands = await Promise.race([
      bringUp(parts, system, ports, options.flush).then(() => true),
      aborted(ending.signal).then(() => false),
    ]);
    if (stands) {
      const running = writeRunning(system, parts);
      announced = true;
      screen.clear();
      screen.result(options.json ? JSON.stringify(running) : describeRunning(running));

      using counter = isForeign ? undefined : countEvents(dynamodbPath(system.dataDir), system.table);
      const showStatus = (): void => {
        const nowMs = Date.now();
        figures = { ...figures, events: counter?.count() };
        if (!options.json) screen.live(describeFigures(figures, nowMs), nowMs);
        else screen.result(JSON.stringify({ event: "status", ...statusOf(figures, nowMs) }));
      };
      const timer = setInterval(showStatus, options.json ? STATUS_JSON_MS : STATUS_MS);
      await aborted(ending.signal);
      clearInterval(timer);
    }
  } catch (error) {
    // What fails without the directory fails for that.
    ending.check();
    if (!ending.isGone()) throw error;
  } finally {
    ending.end();
    if (!options.json) screen.live("stopping ...", Date.now());
    if (ending.isGone()) await parts.kill();
    else await parts.stop();
    screen.clear();
    if (!ending.isGone()) rmSync(runningPath(system.dataDir), { force: true });
  }
  if (ending.isGone()) throw dataDirGone(system.dataDir);
}

async function bringUp(parts: Parts, system: System, ports: Ports, flush: string): Promise<void> {
  const { env } = process;
  const isForeign = foreignDynamodb(env) !== undefined;
  await Promise.all([
    ...(isForeign ? [] : [parts.start(dynamodbPart(system, ports, env))]),
    parts.start(s3Part(system, ports, env)),
  ]);
  if (!isForeign) makeStreamIndexes(dynamodbPath(system.dataDir));
  await prepareTable(system);
  await Promise.all([
    parts.start(edgePart(system, ports, env)),
    parts.start(compactorPart(system, ports, flush, env)),
  ]);
}

async function prepareTable(system: System): Promise<void> {
  const { region, accessKeyId, secretAccessKey } = system.dynamodbCredentials;
  const client = new DynamoDBClient({
    endpoint: system.dynamodb,
    region,
    credentials: { accessKeyId, secretAccessKey },
    requestHandler: timeLimits(),
  });
  try {
    await ensureTable(client, system.table, system.dynamodb);
  } finally {
    client.destroy();
  }
}

async function choosePorts(edgePort: number): Promise<Ports> {
  const edge = await claimPort(edgePort);
  const taken = new Set([edge]);
  const another = async (): Promise<number> => {
    const port = await freePort(taken);
    taken.add(port);
    return port;
  };
  // Beside the edge's, so that it is the same from run to run.
  const beside = edgePort === 0 || edge === PORT_MAX ? null : edge + 1;
  const view = beside === null ? null : await claimPort(beside).catch(() => null);
  if (view !== null) taken.add(view);
  return { edge, console: view ?? (await another()), s3: await another(), dynamodb: await another() };
}

function writeRunning(system: System, parts: Parts): Running {
  const running: Running = { ...system, pid: process.pid, processes: parts.pids() };
  writePrivately(runningPath(system.dataDir), `${JSON.stringify(running, null, 2)}\n`);
  return running;
}
