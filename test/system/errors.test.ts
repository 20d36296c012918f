/** What a person sees who asks for something wrong: the exit code, what is wrong, what to do. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { targetEnvironment } from "../../cli/target.ts";
import type { Ended } from "../support/varve.ts";
import { runVarve } from "../support/varve.ts";
import type { RunningSystem } from "./system.ts";
import { makeDataDir, post, settle, startSystem } from "./system.ts";

const data = makeDataDir();
let system: RunningSystem;
let target: Record<string, string | undefined>;

beforeAll(async () => {
  system = await startSystem(data.dir);
  target = targetEnvironment({ PATH: process.env["PATH"] }, data.dir);
});
afterAll(async () => {
  await system.stop();
  data.remove();
});

const varve = (args: readonly string[], environment = target): Promise<Ended> => runVarve(args, environment);

const UNREACHABLE = "http://127.0.0.1:9";

test.each([
  { args: [], env: {}, code: 2, says: [] },
  { args: ["chnages"], env: {}, code: 2, says: ['no command "chnages"', "varve help"] },
  { args: ["changes"], env: {}, code: 2, says: ["needs --since"] },
  { args: ["changes", "--sinc", "1h"], env: {}, code: 2, says: ["--sinc"] },
  { args: ["verify", "--settle", "soon"], env: {}, code: 2, says: ["--settle takes a number"] },
  { args: ["changes", "--since", "yesterday"], env: {}, code: 2, says: ['"yesterday"', "ISO time"] },
  { args: ["changes", "--since", "1h", "--until", "2h"], env: {}, code: 2, says: ["is before since"] },
  { args: ["changes", "--since", "999999"], env: {}, code: 1, says: ["version 999999", "log ends at"] },
  { args: ["files"], env: { S3_ENDPOINT: UNREACHABLE }, code: 1, says: ["ECONNREFUSED", "S3_ENDPOINT"] },
  {
    args: ["files"],
    env: { S3_SECRET_ACCESS_KEY: "wrong" },
    code: 1,
    says: ["SignatureDoesNotMatch", "S3_SECRET_ACCESS_KEY"],
  },
  {
    args: ["files"],
    env: { VARVE_CHANGELOG: "s3://nowhere/x" },
    code: 1,
    says: ["NoSuchBucket", "VARVE_CHANGELOG"],
  },
  {
    args: ["files"],
    env: { VARVE_CHANGELOG: "s3://changelog/x" },
    code: 1,
    says: ["no changelog at this address"],
  },
  { args: ["files"], env: { VARVE_CHANGELOG: "/tmp/x" }, code: 1, says: ["VARVE_CHANGELOG", "s3://bucket"] },
  { args: ["verify"], env: { DYNAMODB_TABLE: "nope" }, code: 1, says: ["no table nope", "DYNAMODB_TABLE"] },
  {
    args: ["verify"],
    env: { DYNAMODB_ENDPOINT: UNREACHABLE },
    code: 1,
    says: ["cannot be read", "DYNAMODB_ENDPOINT"],
  },
  { args: ["compactor"], env: { DYNAMODB_TABLE: "nope" }, code: 1, says: ["no table nope"] },
  { args: ["compactor"], env: { VARVE_FLUSH: "often" }, code: 1, says: ["VARVE_FLUSH", '"often"'] },
  {
    args: ["compactor"],
    env: { DYNAMODB_TABLE: undefined, VARVE_CHANGELOG: undefined },
    code: 1,
    says: ["DYNAMODB_TABLE is not set"],
  },
])("varve $args with $env", async ({ args, env, code, says }) => {
  const ended = await varve(args, { ...target, ...env });
  expect({ code: ended.code, stderr: ended.stderr }).toEqual({ code, stderr: ended.stderr });
  for (const text of says) expect(ended.stderr).toContain(text);
  expect(ended.stderr).not.toMatch(/^\s+at /m);
});

test("completion says what it is", async () => {
  const { code, stdout } = await varve(["completion", "--help"]);
  expect(code).toBe(0);
  expect(stdout).toContain("source <(varve completion bash)");
});

test("no system runs from the folder", async () => {
  const ended = await varve(["files", "--data", "/nonexistent"], { PATH: process.env["PATH"] });
  expect(ended.code).toBe(1);
  expect(ended.stderr).toContain("npm start");
});

test("a batch with bad events is taken, the bad ones named and kept as rejected", async () => {
  const { status, json } = await post(system.running, "/v1/batch", {
    batch: [
      { type: "track", userId: "u1", event: "Good", messageId: "good" },
      { type: "track", userId: "u1", messageId: "no-event" },
      { type: "track", event: "No id", messageId: "no-id" },
    ],
  });
  expect(status).toBe(200);
  expect(json).toMatchObject({
    success: true,
    rejected: [
      { index: 1, messageId: "no-event" },
      { index: 2, messageId: "no-id" },
    ],
  });
  await settle(data.dir);
  const { stdout } = await varve(["changes", "--since", "1h", "--json"]);
  const kinds = stdout
    .trim()
    .split("\n")
    .map((line) => (JSON.parse(line) as { kind: string }).kind);
  expect(kinds.toSorted()).toEqual(["event", "rejected", "rejected"]);
});

test("a full disk under the result", () => {
  const command = '"$0" cli/main.ts files --json > /dev/full';
  const ended = spawnSync("sh", ["-c", command, process.execPath], {
    cwd: join(import.meta.dirname, "../.."),
    env: target,
    encoding: "utf8",
  });
  expect(ended.stderr).toMatch(/^varve: the result cannot be written: ENOSPC/);
  expect(ended.status).toBe(1);
  expect(ended.stderr).not.toMatch(/^\s+at /m);
});
