import { readFileSync } from "node:fs";
import { afterEach, expect, test } from "vitest";
import { dynoxideBinary } from "../../local/dynamodb.ts";
import type { LogLine } from "../../local/log-line.ts";
import { startPart, type Part, type PartEvent, type PartSpec } from "../../local/part.ts";

const parts: Part[] = [];
afterEach(async () => {
  await Promise.all(parts.splice(0).map((part) => part.stop()));
});

function start(script: string, more: Partial<PartSpec> = {}): { part: Part; events: PartEvent[] } {
  const events: PartEvent[] = [];
  const part = startPart(
    {
      name: "edge",
      command: process.execPath,
      args: ["-e", script],
      env: process.env,
      channel: true,
      readiness: { by: "message" },
      stopMsMax: 500,
      ...more,
    },
    (event) => events.push(event),
  );
  parts.push(part);
  return { part, events };
}

test("a part that never gets ready fails the start, with its last words", async () => {
  const { part } = start("console.error('no such file'); process.exit(3)");
  await expect(part.ready).rejects.toMatchObject({
    code: "part_failed",
    message: "The part 'edge' did not start (exit code 3).\n  edge: no such file",
  });
});

test("a part may say itself why it cannot start", async () => {
  const { part } = start(
    "process.send({type:'failed',code:'c',message:'m',fix:'f'}); setInterval(()=>{},1e3)",
  );
  await expect(part.ready).rejects.toMatchObject({ code: "c", message: "m", fix: "f" });
});

test("a part that cannot be found fails the start", async () => {
  const { part } = start("", { command: "/no/such/binary" });
  await expect(part.ready).rejects.toMatchObject({ code: "part_failed" });
});

const saysOpened = (line: LogLine): boolean => line.kind === "record" && line.record["msg"] === "opened";

test("a part may be ready when its log says so", async () => {
  const { part, events } = start(`console.error('{"msg":"opened"}'); setInterval(()=>{},1e3)`, {
    readiness: { by: "log", says: saysOpened },
  });
  await part.ready;
  expect(events.map(({ event }) => event)).toEqual(["started", "line"]);
});

test("a part that dies when ready is started again, each time after a longer pause", async () => {
  const { part, events } = start("process.send({type:'ready'}); setTimeout(()=>process.exit(1),50)");
  await part.ready;
  const pauses = (): number[] =>
    events.flatMap((event) => (event.event === "exited" ? [event.restartInMs] : []));
  await expect.poll(pauses, { timeout: 10_000 }).toEqual([250, 500, 1000]);
});

test("a part that ignores SIGTERM is killed when its time is up, with all it started", async () => {
  const { part, events } = start(
    `process.on('SIGTERM',()=>{});
     const {pid}=require('node:child_process').spawn('sleep',['60'],{stdio:'ignore'});
     console.log(pid); process.send({type:'ready'}); setInterval(()=>{},1e3)`,
  );
  await part.ready;
  const told = (): number[] =>
    events.flatMap((event) =>
      event.event === "line" && event.line.kind === "text" ? [Number(event.line.text)] : [],
    );
  await expect.poll(told).toHaveLength(1);
  await part.stop();
  expect(part.pid()).toBeUndefined();
  const [grandchild = 0] = told();
  await expect.poll(() => isRunning(grandchild)).toBe(false);
});

function absent(): string {
  throw new Error("Cannot find module");
}

test("a missing DynamoDB names both ways out", () => {
  expect(() => dynoxideBinary(absent)).toThrow(
    expect.objectContaining({
      code: "dynamodb_missing",
      fix: expect.stringMatching(/npm install.*DYNAMODB_ENDPOINT/) as string,
    }),
  );
});

/** A zombie that its new parent has not waited for is not running. */
function isRunning(pid: number): boolean {
  try {
    return !readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ");
  } catch {
    return false;
  }
}
