import { expect, test } from "vitest";
import { bytesText, many, secondsText, short } from "../../shared/amounts.ts";

test.each([
  [0, "0 files"],
  [1, "1 file"],
  [1234, "1,234 files"],
])("%i of a thing", (value, text) => {
  expect(many(value, "file")).toBe(text);
});

test("a noun with a plural of its own", () => {
  expect([many(1, "entry", "entries"), many(2, "entry", "entries")]).toEqual(["1 entry", "2 entries"]);
});

test.each([
  [0, "0 B"],
  [999, "999 B"],
  [1000, "1 KB"],
  [5036, "5.04 KB"],
  [999_499, "999 KB"],
  [999_500, "1 MB"],
  [128 * 1024 ** 2, "134 MB"],
  [2.5e15, "2.5 PB"],
  [1e19, "10000 PB"],
])("%d bytes", (value, text) => {
  expect(bytesText(value)).toBe(text);
});

test.each([
  [0.25, "0.3 s"],
  [59.9, "59.9 s"],
  [60, "1 min 0 s"],
  [8_100, "2 h 15 min"],
  [273_600, "3 d 4 h"],
])("%d s", (value, text) => {
  expect(secondsText(value)).toBe(text);
});

test.each([
  [0.25, "0.25"],
  [300_000, "300k"],
  [958e9, "958G"],
  [999_950, "1M"],
])("%d, short", (value, text) => {
  expect(short(value)).toBe(text);
});
