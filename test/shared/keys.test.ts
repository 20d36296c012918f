import { describe, expect, test } from "vitest";
import { checkpointKey, commitKey, dataKey, parseLogKey, parseRoot } from "../../shared/keys.ts";

describe("log keys", () => {
  test.each([0, 7, 1234567890])("version %i is read back", (version) => {
    expect(parseLogKey(commitKey(version))).toEqual({ kind: "commit", version });
    expect(parseLogKey(checkpointKey(version))).toEqual({ kind: "checkpoint", version });
  });

  test("are twenty digits", () => {
    expect(commitKey(7)).toBe("_delta_log/00000000000000000007.json");
  });

  test.each([
    "_delta_log/7.json",
    "_delta_log/_last_checkpoint",
    "x/_delta_log/00000000000000000007.json",
    "_delta_log/00000000000000000007.json.tmp",
  ])("%s is none", (key) => {
    expect(parseLogKey(key)).toBeNull();
  });
});

test("a data key carries date, level and window, and needs no escaping", () => {
  const key = dataKey(0, Date.UTC(2026, 10, 23, 13, 15), "ab-12");
  expect(key).toBe("data/dt=2026-11-23/0-20261123T131500Z-ab-12.parquet");
  expect(key).toMatch(/^[A-Za-z0-9/_.=-]+$/);
});

describe("parseRoot", () => {
  test.each([
    ["s3://bucket", "bucket", ""],
    ["s3://bucket/", "bucket", ""],
    ["s3://bucket/a/us-east-1/t", "bucket", "a/us-east-1/t/"],
    ["s3://my.bucket-1/a//", "my.bucket-1", "a/"],
  ])("%s", (address, bucket, prefix) => {
    expect(parseRoot(address)).toEqual({ bucket, prefix });
  });

  test.each(["", "bucket", "s3://", "s3://B/x", "s3://bu cket/x", "s3://bucket/a b", "https://bucket/x"])(
    "%j is none",
    (address) => {
      expect(parseRoot(address)).toBeNull();
    },
  );
});
