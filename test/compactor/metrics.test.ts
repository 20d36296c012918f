import { expect, test } from "vitest";
import { openPrometheusMetrics, serveMetrics } from "../../compactor/metrics.ts";
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
  expect(metrics.health().healthy).toBe(false);
});

test("one that has none stays healthy, and what it shows of the log is what others have made of it", async () => {
  const { metrics, tip, lagS, pass } = watched();
  for (let minute = 0; minute < 60; minute += 1) {
    pass(60_000);
    metrics.followed(tip(), true);
  }
  expect(metrics.health().healthy).toBe(true);
  expect(await lagS()).toBe(0);
  pass(STALE_MS);
  expect(metrics.health().healthy).toBe(false);
  expect(await lagS()).toBe(STALE_MS / 1000);
});

test("a port that is taken is said with its variable", async () => {
  const { metrics } = watched();
  const first = await serveMetrics(metrics, 0, "127.0.0.1");
  try {
    await expect(serveMetrics(metrics, first.port, "127.0.0.1")).rejects.toMatchObject({
      message: expect.stringContaining(`127.0.0.1:${first.port}`),
      fix: expect.stringContaining("VARVE_METRICS"),
    });
  } finally {
    await first.close();
  }
});

test("/healthz says how long ago the last commit was, and /metrics counts rejected rows", async () => {
  const { metrics, pass } = watched();
  // In brackets, as an IPv6 address is.
  const server = await serveMetrics(metrics, 0, "[127.0.0.1]");
  const ask = (path: string) => fetch(`http://127.0.0.1:${server.port}${path}`);
  try {
    const limit = { limit_seconds: STALE_MS / 1000 };
    const sound = await ask("/healthz");
    expect(sound.status).toBe(200);
    expect(await sound.json()).toEqual({ healthy: true, committed_seconds_ago: 0, ...limit });
    pass(STALE_MS);
    const late = await ask("/healthz");
    expect(late.status).toBe(503);
    expect(await late.json()).toEqual({
      healthy: false,
      committed_seconds_ago: STALE_MS / 1000,
      ...limit,
    });
    expect(await (await ask("/metrics")).text()).toMatch(/^# TYPE varve_rejected_rows_total counter$/m);
  } finally {
    await server.close();
  }
});
