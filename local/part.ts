/**
 * A part: one child process, kept running.
 *
 * - It has its own process group, so that a Ctrl-C reaches the supervisor alone, and so that
 *   whatever the child started can be ended with it.
 * - When it dies, its whole group is killed first; then it is started again, after a pause that
 *   doubles from death to death and is forgotten once it has lived for a while.
 * - A part that dies before it was ever ready, time after time, fails the start.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { VarveError } from "../shared/errors.ts";
import { parseLogLine, type LogLine } from "./log-line.ts";
import { PartMessage } from "./settings.ts";

export type PartName = "dynamodb" | "s3" | "edge" | "compactor";

export type PartSpec = {
  readonly name: PartName;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Node parts get a channel, by which they notice the supervisor's end. */
  readonly channel: boolean;
  /** How it is known to be ready: it says so, its log does, or it answers. */
  readonly readiness:
    | { readonly by: "message" }
    | { readonly by: "answer"; readonly answers: () => Promise<boolean> }
    | { readonly by: "log"; readonly says: (line: LogLine) => boolean };
  readonly stopMsMax: number;
};

export type PartEvent =
  | { readonly event: "started"; readonly part: PartName; readonly pid: number }
  | {
      readonly event: "exited";
      readonly part: PartName;
      readonly pid: number;
      readonly reason: string;
      readonly restartInMs: number;
    }
  | { readonly event: "line"; readonly part: PartName; readonly line: LogLine };

export type Part = {
  readonly name: PartName;
  /** Settles when the part is ready for the first time; rejects if it cannot be brought up. */
  readonly ready: Promise<void>;
  readonly pid: () => number | undefined;
  readonly send: (message: object) => void;
  /** SIGTERM first, then, when `msMax` have passed, SIGKILL. */
  readonly stop: (msMax?: number) => Promise<void>;
};

const PAUSE_FIRST_MS = 250;
const PAUSE_MS_MAX = 2_000;
const LIVED_MS = 20_000;
const START_ATTEMPTS_MAX = 3;
const READY_MS_MAX = 60_000;
const LAST_LINES_MAX = 5;

export function startPart(spec: PartSpec, report: (event: PartEvent) => void): Part {
  const { promise: ready, resolve, reject } = Promise.withResolvers<void>();
  // A start that is called off may leave nobody waiting for it.
  ready.catch(() => {});

  let child: ChildProcess | undefined;
  let ended: Promise<void> = Promise.resolve();
  let pause: NodeJS.Timeout | undefined;
  let pauseMs = PAUSE_FIRST_MS;
  let attempts = 0;
  let wasReady = false;
  let stopping = false;

  const isReady = (): void => {
    wasReady = true;
    resolve();
  };

  const giveUp = (error: VarveError): void => {
    stopping = true;
    reject(error);
  };

  function launch(): void {
    attempts++;
    const startedMs = Date.now();
    const lastLines: string[] = [];
    const started = spawn(spec.command, spec.args, {
      detached: true,
      env: spec.env,
      stdio: ["ignore", "pipe", "pipe", ...(spec.channel ? (["ipc"] as const) : [])],
    });
    child = started;
    for (const stream of [started.stdout, started.stderr]) {
      if (stream !== null) {
        readLines(stream, (text) => {
          lastLines.push(text);
          if (lastLines.length > LAST_LINES_MAX) lastLines.shift();
          const line = parseLogLine(text);
          if (spec.readiness.by === "log" && spec.readiness.says(line)) isReady();
          report({ event: "line", part: spec.name, line });
        });
      }
    }
    started.on("message", (value) => {
      const message = PartMessage.safeParse(value).data;
      if (message?.type === "ready") isReady();
      if (message?.type !== "failed") return;
      if (!wasReady) giveUp(new VarveError(message.code, message.message, message.fix));
      else report({ event: "line", part: spec.name, line: { kind: "text", text: message.message } });
    });
    started.on("spawn", () => {
      if (started.pid !== undefined) report({ event: "started", part: spec.name, pid: started.pid });
    });
    if (spec.readiness.by === "answer") {
      void waitForAnswer(spec.readiness.answers, () => started.exitCode === null && !stopping).then(
        (answered) => {
          if (answered) isReady();
        },
      );
    }

    ended = new Promise((resolveEnded) => {
      let over = false;
      const onEnd = (reason: string): void => {
        if (over) return;
        over = true;
        if (started.pid !== undefined) killGroup(started.pid);
        child = undefined;
        resolveEnded();
        if (stopping) return;
        if (!wasReady && attempts >= START_ATTEMPTS_MAX) {
          giveUp(startFailed(spec.name, reason, lastLines));
          return;
        }
        if (Date.now() - startedMs >= LIVED_MS) pauseMs = PAUSE_FIRST_MS;
        report({
          event: "exited",
          part: spec.name,
          pid: started.pid ?? 0,
          reason,
          restartInMs: pauseMs,
        });
        pause = setTimeout(launch, pauseMs);
        pauseMs = Math.min(pauseMs * 2, PAUSE_MS_MAX);
      };
      // 'error' is a child that could not be started; 'close' comes after its last line.
      started.on("error", (error) => onEnd(error.message));
      started.on("exit", (code, signal) => {
        if (started.pid !== undefined) killGroup(started.pid);
        started.once("close", () => onEnd(describeExit(code, signal)));
      });
    });
  }

  async function stop(msMax = spec.stopMsMax): Promise<void> {
    giveUp(new VarveError("part_stopped", `The part '${spec.name}' was stopped.`, "Start again."));
    clearTimeout(pause);
    const running = child;
    if (running?.pid === undefined) return;
    const { pid } = running;
    if (msMax === 0) killGroup(pid);
    else running.kill("SIGTERM");
    const tooLong = setTimeout(() => killGroup(pid), msMax);
    await ended;
    clearTimeout(tooLong);
  }

  const startTooLong = setTimeout(() => {
    giveUp(startFailed(spec.name, `nothing heard for ${READY_MS_MAX / 1000} s`, []));
  }, READY_MS_MAX);
  void ready.catch(() => {}).finally(() => clearTimeout(startTooLong));

  launch();
  return {
    name: spec.name,
    ready,
    pid: () => child?.pid,
    send: (message) => {
      if (child?.connected === true) child.send(message, () => {});
    },
    stop,
  };
}

/** Kills a child and all it started. */
export function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // All of it has ended already.
  }
}

function readLines(stream: Readable, each: (line: string) => void): void {
  createInterface({ input: stream, crlfDelay: Infinity }).on("line", each);
}

const ANSWER_PAUSE_MS = 50;

async function waitForAnswer(answers: () => Promise<boolean>, goOn: () => boolean): Promise<boolean> {
  while (goOn()) {
    if (await answers()) return true;
    await new Promise((resolve) => {
      setTimeout(resolve, ANSWER_PAUSE_MS);
    });
  }
  return false;
}

function describeExit(code: number | null, signal: NodeJS.Signals | null): string {
  return signal === null ? `exit code ${String(code)}` : `signal ${signal}`;
}

function startFailed(name: PartName, reason: string, lastLines: readonly string[]): VarveError {
  const said = lastLines.length === 0 ? "" : `\n  ${name}: ${lastLines.join(`\n  ${name}: `)}`;
  return new VarveError(
    "part_failed",
    `The part '${name}' did not start (${reason}).${said}`,
    "Fix what it names, and start again.",
  );
}
