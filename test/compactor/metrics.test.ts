import { expect, test } from "vitest";
import { openPrometheusMetrics } from "../../compactor/metrics.ts";
import { planCreate } from "../../compactor/plan.ts";
import { T0 } from "../fakes/changes.ts";

const STALE_MS = 300_000;

function watched() {
  let nowMs = T0;
  const metrics = openPrometheusMetrics(() => nowMs, STALE_MS);
  const tip = () => {
    const { next } = planCreate("log", { txnId: "0", nowMs });
    return { ...next, log: { ...next.log, watermarkMs: nowMs } };
  };
  const lagS = async (): Promise<number> =>
    Number(/^varve_watermark_lag_seconds (.+)$/m.exec(await metrics.text())?.[1]);
  return { metrics, tip, lagS, pass: (ms: number) => (nowMs += ms) };
}

test("a worker that has shards is not healthy without commits, however well it reads the log", () => {
  const { metrics, tip, pass } = watched();
  for (let minute = 0; minute < 6; minute += 1) {
    pass(60_000);
    metrics.followed(tip(), false);
  }
  expect(metrics.healthy()).toBe(false);
});

test("one that has none stays healthy, and what it shows of the log is what others have made of it", async () => {
  const { metrics, tip, lagS, pass } = watched();
  for (let minute = 0; minute < 60; minute += 1) {
    pass(60_000);
    metrics.followed(tip(), true);
  }
  expect(metrics.healthy()).toBe(true);
  expect(await lagS()).toBe(0);
  pass(STALE_MS);
  expect(metrics.healthy()).toBe(false);
  expect(await lagS()).toBe(STALE_MS / 1000);
});
