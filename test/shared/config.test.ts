import { describe, expect, test } from "vitest";
import {
  heartbeatMs,
  parseCompactorConfig,
  parseDurationMs,
  pollDelays,
  s3ConfigOf,
  threadsOf,
} from "../../shared/config.ts";

const LEAST = { VARVE_CHANGELOG: "s3://bucket/a/r/t", DYNAMODB_TABLE: "items" };
const configOf = (some: Record<string, string> = {}) => parseCompactorConfig({ ...LEAST, ...some });

test.each([
  ["500ms", 500],
  ["1s", 1000],
  ["1.5s", 1500],
  ["5m", 300_000],
  ["2h", 7_200_000],
  ["7d", 604_800_000],
  ["5", null],
  ["-1s", null],
  ["1 s", null],
  ["s", null],
])("%s is %s ms", (text, ms) => {
  expect(parseDurationMs(text)).toBe(ms);
});

describe("defaults", () => {
  test("a flush a minute or 64 MB, with polls between 1 s and half a flush", () => {
    const config = configOf();
    expect(config).toMatchObject({
      VARVE_FLUSH: 60_000,
      VARVE_FLUSH_BYTES: 64 * 1024 ** 2,
      AWS_REGION: "us-east-1",
    });
    expect(heartbeatMs(config)).toBe(60_000);
    expect(pollDelays(config)).toEqual({ minMs: 1000, maxMs: 30_000 });
  });

  test("a flush a second: polls follow it", () => {
    const config = configOf({ VARVE_FLUSH: "1s" });
    expect(heartbeatMs(config)).toBe(10_000);
    expect(pollDelays(config)).toEqual({ minMs: 125, maxMs: 500 });
  });

  test.each([
    ["1GB", 8, 3],
    ["1GB", 2, 2],
    ["2GB", 16, 8],
    ["512MB", 8, 1],
  ])("%s on %i cores: %i threads", (VARVE_MEMORY, cores, threads) => {
    expect(threadsOf(configOf({ VARVE_MEMORY }), cores)).toBe(threads);
    expect(threadsOf(configOf({ VARVE_MEMORY, VARVE_THREADS: "5" }), cores)).toBe(5);
  });

  test("what is set stands", () => {
    const config = configOf({ VARVE_HEARTBEAT: "5s", VARVE_POLL_MIN: "20ms", VARVE_POLL_MAX: "2s" });
    expect(heartbeatMs(config)).toBe(5000);
    expect(pollDelays(config)).toEqual({ minMs: 20, maxMs: 2000 });
  });
});

describe("bad values are named, all at once", () => {
  test.each([
    [{ VARVE_FLUSH: "soon" }, /VARVE_FLUSH "soon" is not a duration/],
    [{ VARVE_FLUSH: "1ms" }, /VARVE_FLUSH "1ms" is not a duration of at least 10ms/],
    [{ VARVE_FLUSH_BYTES: "64" }, /VARVE_FLUSH_BYTES "64" is not a size/],
    [{ VARVE_FLUSH_BYTES: "0MB" }, /VARVE_FLUSH_BYTES "0MB" is not a size/],
    [{ VARVE_CHANGELOG: "bucket/x" }, /VARVE_CHANGELOG "bucket\/x" is not an address/],
    [{ S3_ENDPOINT: "localhost" }, /S3_ENDPOINT/],
    [{ DYNAMODB_TABLE: "" }, /DYNAMODB_TABLE/],
  ])("%j", (some, message) => {
    expect(() => configOf(some)).toThrow(message);
  });

  test("every one of them", () => {
    expect(() => parseCompactorConfig({ VARVE_FLUSH: "x" })).toThrow(
      /VARVE_CHANGELOG is not set; DYNAMODB_TABLE is not set; VARVE_FLUSH|DYNAMODB_TABLE is not set/,
    );
  });
});

test("the store's credentials are its own, or none", () => {
  expect(s3ConfigOf(configOf())).toMatchObject({
    bucket: "bucket",
    prefix: "a/r/t/",
    credentials: undefined,
  });
  expect(
    s3ConfigOf(configOf({ S3_ACCESS_KEY_ID: "k", S3_SECRET_ACCESS_KEY: "s", S3_REGION: "auto" })),
  ).toMatchObject({
    region: "auto",
    credentials: { accessKeyId: "k", secretAccessKey: "s" },
  });
});

test("the console is off unless it is given a port, and its token cannot be guessed", () => {
  expect(configOf().VARVE_CONSOLE).toBeUndefined();
  expect(configOf({ VARVE_CONSOLE: "9463" }).VARVE_CONSOLE).toEqual({ host: "127.0.0.1", port: 9463 });
  expect(configOf({ VARVE_CONSOLE: "0.0.0.0:9463", VARVE_CONSOLE_TOKEN: "x".repeat(16) })).toMatchObject({
    VARVE_CONSOLE: { host: "0.0.0.0", port: 9463 },
  });
  for (const token of ["short", "with a space in its middle", "nöt-all-letters-here"])
    expect(() => configOf({ VARVE_CONSOLE_TOKEN: token })).toThrow(/VARVE_CONSOLE_TOKEN/);
});
