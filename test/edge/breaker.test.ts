import { expect, test } from "vitest";
import { BREAKER_LIMITS, createBreaker } from "../../edge/breaker.ts";

const { failuresMax, openMs, openMaxMs, probeMs } = BREAKER_LIMITS;

function failing(times: number, nowMs = 0) {
  const breaker = createBreaker(BREAKER_LIMITS);
  for (let count = 0; count < times; count++) breaker.failed(nowMs, nowMs);
  return breaker;
}

test("stays closed below its failures in a row", () => {
  const breaker = failing(failuresMax - 1);
  expect(breaker.allows(0)).toBe(true);
  breaker.succeeded();
  breaker.failed(0, 0);
  expect(breaker.allows(0)).toBe(true);
});

test("opens, lets one probe through, and closes on its success", () => {
  const breaker = failing(failuresMax);
  expect(breaker.allows(openMs - 1)).toBe(false);
  expect(breaker.allows(openMs)).toBe(true);
  expect(breaker.allows(openMs)).toBe(false);
  breaker.succeeded();
  expect(breaker.allows(openMs)).toBe(true);
});

test("opens for longer at each failed probe, to a bound", () => {
  const breaker = failing(failuresMax);
  breaker.failed(openMs, openMs);
  expect(breaker.allows(openMs + openMs)).toBe(false);
  expect(breaker.allows(openMs + 2 * openMs)).toBe(true);
  for (let count = 0; count < 20; count++) breaker.failed(2 * openMs, 2 * openMs);
  expect(breaker.allows(openMaxMs)).toBe(false);
  expect(breaker.allows(2 * openMs + openMaxMs)).toBe(true);
});

test("calls that were under way when it opened do not keep it open longer", () => {
  const breaker = failing(failuresMax, 100);
  for (let count = 0; count < 50; count++) breaker.failed(100 + count, 50);
  expect(breaker.allows(100 + openMs)).toBe(true);
  breaker.failed(100 + openMs, 50);
  expect(breaker.allows(100 + openMs)).toBe(false);
});

test("forgets a probe that tells nothing", () => {
  const breaker = failing(failuresMax);
  expect(breaker.allows(openMs)).toBe(true);
  expect(breaker.allows(openMs + probeMs)).toBe(true);
});
