/** The doctor against a real system on this machine, sound and broken. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { targetEnvironment } from "../../../cli/target.ts";
import type { Ended } from "../../support/varve.ts";
import { runVarve } from "../../support/varve.ts";
import type { RunningSystem } from "../../system/system.ts";
import { makeDataDir, startSystem, verifySystem } from "../../system/system.ts";

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

type Report = {
  readonly fit: boolean;
  readonly checks: readonly { id: string; status: string; fix?: string }[];
};

const doctor = (environment: Record<string, string | undefined>, ...args: string[]): Promise<Ended> =>
  runVarve(["doctor", ...args], { ...target, ...environment });

test("the system on this machine is fit, and the doctor leaves no trace in it", async () => {
  const { code, stdout } = await doctor({}, "--edge", system.running.endpoint);
  expect(stdout).toContain("fit for use");
  expect(stdout).not.toContain("FAIL");
  expect(code).toBe(0);
  const { rows, problems } = await verifySystem(data.dir);
  expect({ rows, problems }).toEqual({ rows: 0, problems: [] });
});

test.each([
  { env: { DYNAMODB_TABLE: "nope" }, fails: ["table"], says: "DYNAMODB_TABLE" },
  { env: { DYNAMODB_ENDPOINT: "http://127.0.0.1:9" }, fails: ["table"], says: "DYNAMODB_ENDPOINT" },
  { env: { VARVE_CHANGELOG: "s3://nowhere/x" }, fails: ["bucket"], says: "VARVE_CHANGELOG" },
  { env: { S3_SECRET_ACCESS_KEY: "wrong" }, fails: ["bucket"], says: "S3_SECRET_ACCESS_KEY" },
])("$env fails $fails", async ({ env, fails, says }) => {
  const { code, stdout } = await doctor(env, "--json");
  const { fit, checks } = JSON.parse(stdout) as Report;
  expect({ code, fit }).toEqual({ code: 1, fit: false });
  expect(checks.flatMap(({ id, status }) => (status === "fail" ? [id] : []))).toEqual(
    expect.arrayContaining(fails),
  );
  expect(checks.flatMap(({ status, fix }) => (status === "fail" ? [fix] : [])).join("\n")).toContain(says);
});

test("a reader's machine has no table", async () => {
  const { code, stdout } = await doctor({ DYNAMODB_TABLE: undefined }, "--no-table", "--json");
  expect(code).toBe(0);
  expect((JSON.parse(stdout) as Report).checks.map(({ id }) => id)).not.toContain("table");
});

test("variables that are missing are named at once", async () => {
  const { code, stderr } = await doctor({ DYNAMODB_TABLE: undefined });
  expect(code).toBe(1);
  expect(stderr).toContain("DYNAMODB_TABLE is not set");
});
