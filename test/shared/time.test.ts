import { describe, expect, test } from "vitest";
import { parseJson } from "../../shared/json.ts";
import { eventTimes, parseTimeMs } from "../../shared/time.ts";

describe("parseTimeMs", () => {
  test.each<[unknown, string | null]>([
    ["2026-11-23T10:20:30.123Z", "2026-11-23T10:20:30.123Z"],
    ["2026-11-23T10:20:30.123456789Z", "2026-11-23T10:20:30.123Z"],
    ["2026-11-23T10:20:30+00:00", "2026-11-23T10:20:30.000Z"],
    ["2026-11-23T10:20:30.5+02:00", "2026-11-23T08:20:30.500Z"],
    ["2026-11-23T10:20:30-0530", "2026-11-23T15:50:30.000Z"],
    ["2026-11-23T10:20:30+02", "2026-11-23T08:20:30.000Z"],
    ["2026-11-23 10:20:30", "2026-11-23T10:20:30.000Z"],
    ["2026-11-23T10:20", "2026-11-23T10:20:00.000Z"],
    ["2026-11-23", "2026-11-23T00:00:00.000Z"],
    [1_795_000_000, "2026-11-18T11:06:40.000Z"],
    [1_795_000_000_123, "2026-11-18T11:06:40.123Z"],
    [parseJson("1795000000.12345678901"), "2026-11-18T11:06:40.123Z"],
    [parseJson("1e400"), null],
    ["hello 1", null],
    ["2026-13-01T00:00:00.000Z", null],
    ["2026-11-23T10:20:59.999Z", "2026-11-23T10:20:59.999Z"],
    ["2026-11-23T10:20:60.000Z", null],
    ["2026-11-23T10:20:3x.000Z", null],
    ["2026-11-23T10:20:30,123Z", "2026-11-23T10:20:30.123Z"],
    ["2026-02-30T10:20:30.123Z", "2026-03-02T10:20:30.123Z"],
    ["2026-11-23T24:00:30.500Z", null],
    [parseJson("1795000000.1234560013"), "2026-11-18T11:06:40.123Z"],
    ["", null],
    [Number.POSITIVE_INFINITY, null],
    [-5, null],
    [null, null],
    [{}, null],
  ])("%j", (value, iso) => {
    const ms = parseTimeMs(value);
    expect(ms === null ? null : new Date(ms).toISOString()).toBe(iso);
  });
});

describe("eventTimes", () => {
  const RECEIVED = "2026-11-23T12:00:00.000Z";
  test.each<[string, unknown, unknown, string, string[]]>([
    ["nothing sent", undefined, undefined, RECEIVED, []],
    [
      "a small skew is left alone",
      "2026-11-23T11:00:00Z",
      "2026-11-23T11:59:58Z",
      "2026-11-23T11:00:00.000Z",
      [],
    ],
    [
      "an hour behind",
      "2026-11-23T10:30:00Z",
      "2026-11-23T11:00:00Z",
      "2026-11-23T11:30:00.000Z",
      ["clock_skew_corrected"],
    ],
    [
      "ten years ahead",
      "2036-11-23T11:59:00Z",
      "2036-11-23T12:00:00Z",
      "2026-11-23T11:59:00.000Z",
      ["clock_skew_corrected"],
    ],
    ["an import of old events", "2010-01-01T00:00:00Z", RECEIVED, "2010-01-01T00:00:00.000Z", []],
    ["unreadable", "yesterday", RECEIVED, RECEIVED, ["timestamp_unreadable"]],
    [
      "a sentAt that was never set",
      "2026-11-23T11:00:00Z",
      "0001-01-01T00:00:00Z",
      "2026-11-23T11:00:00.000Z",
      [],
    ],
    ["far future", "2099-01-01T00:00:00Z", RECEIVED, RECEIVED, ["timestamp_in_future"]],
    ["before 1970", "1900-01-01T00:00:00Z", RECEIVED, RECEIVED, ["timestamp_before_1970"]],
  ])("%s", (_name, original, sent, timestamp, flags) => {
    const times = eventTimes(original, parseTimeMs(sent), Date.parse(RECEIVED), 60_000);
    expect(new Date(times.timestampMs).toISOString()).toBe(timestamp);
    expect(times.flags).toEqual(flags);
  });

  test.each([
    ["2026-11-23T11:00:00.000Z", true],
    ["2026-02-30T11:00:00.000Z", false],
    ["2026-11-22T24:00:00.000Z", false],
  ])("%s serves as it was sent: %s", (original, serves) => {
    const { timestampMs, asSent } = eventTimes(original, null, Date.parse(RECEIVED), 60_000);
    expect(asSent).toBe(serves ? new Date(timestampMs).toISOString() : null);
  });
});
