import { expect, test } from "vitest";
import { createLoad } from "../../edge/load.ts";

const LIMITS = { requestsMax: 2, bytesMax: 100, leaseMs: 1_000 };

test("sheds past its requests and past its bytes, and takes again what is released", () => {
  const load = createLoad(LIMITS);
  const first = load.take(10, 0);
  load.take(10, 0);
  expect(load.take(1, 0)).toBeNull();
  first?.release();
  first?.release();
  expect(load.take(81, 0)?.hold(90, 0)).toBe(true);
  expect(load.take(1, 0)).toBeNull();
});

test("a body that turns out larger or smaller counts for what it is", () => {
  const load = createLoad(LIMITS);
  const lease = load.take(1, 0);
  expect(lease?.hold(90, 0)).toBe(true);
  expect(load.take(11, 0)).toBeNull();
  expect(lease?.hold(50, 0)).toBe(true);
  load.take(50, 0)?.release();
  expect(load.take(51, 0)).toBeNull();
  expect(lease?.hold(101, 0)).toBe(false);
  lease?.release();
  expect(load.take(100, 0)).not.toBeNull();
});

test("a request that was stopped where it stood does not count for ever", () => {
  const load = createLoad(LIMITS);
  load.take(60, 0);
  load.take(40, 500);
  expect(load.take(1, 999)).toBeNull();
  expect(load.take(60, 1_000)).not.toBeNull();
  expect(load.take(1, 1_499)).toBeNull();
  expect(load.take(40, 1_500)).not.toBeNull();
});

test("a body that took longer than its lease counts while it is here, and no longer", () => {
  const load = createLoad(LIMITS);
  const slow = load.take(10, 0);
  expect(load.take(100, 1_000)?.release()).toBeUndefined();
  expect(slow?.hold(90, 1_500)).toBe(true);
  expect(load.take(11, 1_500)).toBeNull();
  expect(load.take(11, 2_499)).toBeNull();
  slow?.release();
  expect(load.take(100, 1_500)).not.toBeNull();
});
