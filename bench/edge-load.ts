/**
 * Open-loop load: requests leave at a steady rate whether or not the earlier ones were answered, as real
 * clients do, and latency counts from when a request should have left. Three rates up to saturation, then
 * one past it, where the edge is to shed and go on serving, then a light one again.
 */
import { Agent } from "node:http";
import { postRaw, startCannedTable, startEdge } from "./edge.ts";
import { trackBatch } from "./edge-bodies.ts";
import type { BenchRow } from "./report.ts";
import { quantile } from "./report.ts";

const STEP_S = 6;
/** Past this many unanswered requests the client itself would be what is measured. */
const OPEN_MAX = 2_000;

const RATES = [
  ["light", 1 / 3],
  ["heavy", 2 / 3],
  ["full", 1],
  ["threefold", 3],
  ["light again", 1 / 3],
] as const;

type Step = {
  readonly answered: number;
  /** 503 `busy`: before any of the request was looked at. */
  readonly shed: number;
  /** Any other 503: taken in, and not durable in time. */
  readonly late: number;
  readonly failed: number;
  /** Not even sent: too many were unanswered. */
  readonly unsent: number;
  readonly seconds: number;
  readonly latenciesMs: readonly number[];
};

async function runStep(
  agent: Agent,
  url: string,
  bodies: readonly string[],
  perSecond: number,
): Promise<Step> {
  const latenciesMs: number[] = [];
  let [answered, shed, late, failed, unsent, open] = [0, 0, 0, 0, 0, 0];
  const started = performance.now();
  const pending: Promise<void>[] = [];

  async function one(body: string, dueMs: number): Promise<void> {
    open += 1;
    try {
      const answer = await postRaw(agent, url, "/v1/batch", body);
      if (answer.status === 200) {
        answered += 1;
        latenciesMs.push(performance.now() - started - dueMs);
      } else if (answer.status !== 503) failed += 1;
      else if (answer.body.includes('"busy"')) shed += 1;
      else late += 1;
    } catch {
      failed += 1;
    }
    open -= 1;
  }

  const total = Math.round(perSecond * STEP_S);
  for (let sent = 0; sent < total;) {
    const dueCount = Math.min(total, Math.floor(((performance.now() - started) / 1000) * perSecond) + 1);
    for (; sent < dueCount; sent++) {
      if (open >= OPEN_MAX) unsent += 1;
      else pending.push(one(bodies[sent % bodies.length] ?? "", (sent * 1000) / perSecond));
    }
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  await Promise.all(pending);
  const seconds = (performance.now() - started) / 1000;
  return { answered, shed, late, failed, unsent, seconds, latenciesMs };
}

function rowsOf(name: string, perSecond: number, step: Step): BenchRow[] {
  const row = (what: string, value: number, unit: string, limit: number | null = null): BenchRow => ({
    name: `${name} load, ${what}`,
    value,
    unit,
    limit,
    ratio: null,
  });
  return [
    row("offered", perSecond, "requests/s"),
    row("achieved", step.answered / step.seconds, "requests/s"),
    row("p50", quantile(step.latenciesMs, 0.5), "ms"),
    row("p99", quantile(step.latenciesMs, 0.99), "ms"),
    row("p99.9", quantile(step.latenciesMs, 0.999), "ms"),
    row("shed at once", step.shed, "requests"),
    row("503 after being taken in", step.late, "requests"),
    row("kept back, too many unanswered", step.unsent, "requests"),
    row("errors", step.failed, "requests", 0),
  ];
}

/** A batch's events come in as many calls, and are durable before it is answered. */
const CALLS_PER_BATCH = 4;

/** What the edge answers in a while when as many clients as it likes wait for their answers. */
async function capacity(
  agent: Agent,
  url: string,
  bodies: readonly string[],
): Promise<{ readonly answered: number; readonly perSecond: number }> {
  const started = performance.now();
  let done = 0;
  const lane = async (): Promise<void> => {
    while (performance.now() - started < 3_000) {
      const answer = await postRaw(agent, url, "/v1/batch", bodies[done % bodies.length] ?? "");
      if (answer.status === 200) done += 1;
    }
  };
  await Promise.all(Array.from({ length: 16 }, lane));
  return { answered: done, perSecond: done / ((performance.now() - started) / 1000) };
}

/** A minute. Batches of 100 events, at shares of what the edge can. */
export async function benchEdgeLoad(progress: (what: string) => void): Promise<BenchRow[]> {
  progress("load, a minute");
  const table = await startCannedTable();
  const edge = await startEdge(table.endpoint);
  const agent = new Agent({ keepAlive: true, maxSockets: 512 });
  const bodies = Array.from({ length: 20 }, (_, index) => trackBatch(index).body);
  try {
    const can = await capacity(agent, edge.url, bodies);
    const canPerSecond = can.perSecond;
    let answered = can.answered;
    const rows: BenchRow[] = [
      {
        name: "edge capacity, closed loop",
        value: canPerSecond,
        unit: "requests/s",
        limit: null,
        ratio: null,
      },
    ];
    for (const [name, share] of RATES) {
      const perSecond = canPerSecond * share;
      const step = await runStep(agent, edge.url, bodies, perSecond);
      answered += step.answered;
      rows.push(...rowsOf(name, perSecond, step));
    }
    const missing = Math.max(0, answered * CALLS_PER_BATCH - (await table.calls()));
    rows.push({
      name: "calls that answered batches lack",
      value: missing,
      unit: "calls",
      limit: 0,
      ratio: null,
    });
    return rows;
  } finally {
    agent.destroy();
    await edge.stop();
    table.stop();
  }
}
