/**
 * Where the edge's CPU goes: a batch of 100 events taken one step further at a time, each step in a workerd of
 * its own, all in one run. Two steps beside the ladder say what it could not go below: `parse and call` is reading,
 * parsing, and four plain calls of this size; `least` stores each event as it came, signed and unchecked.
 */
import { join } from "node:path";
import { measureHosts, startCannedTable, startEdge } from "./edge.ts";
import { trackBatch } from "./edge-bodies.ts";
import type { BenchRow } from "./report.ts";
import { startWorker } from "./worker-host.ts";
import { bundleWorker } from "../local/worker-bundle.ts";
import type { WorkerHost } from "./worker-host.ts";

const REQUESTS = 60;

/** As edge-steps.ts has them. */
const STEPS = ["read", "parse", "items", "sign", "call", "parse and call", "least"] as const;

export async function benchEdgeLadder(progress: (what: string) => void): Promise<BenchRow[]> {
  progress("step by step, a minute");
  const table = await startCannedTable();
  const modules = await bundleWorker(join(import.meta.dirname, "edge-steps.ts"));
  const hosts = new Map<string, WorkerHost>();
  try {
    const start = (STEP: string) =>
      startWorker({ modules, bindings: { STEP, DYNAMODB_ENDPOINT: table.endpoint } });
    // Ratios are to the first.
    for (const step of ["parse", ...STEPS.filter((name) => name !== "parse")]) {
      hosts.set(step, await start(step));
    }
    hosts.set("all", await startEdge(table.endpoint));
    const bodies = Array.from({ length: REQUESTS }, (_, index) => trackBatch(index));
    const measured = await measureHosts([...hosts.values()], bodies);
    const rows = [...hosts.keys()].map((step, at) => ({
      name: `edge CPU an event, up to: ${step}`,
      value: measured[at]?.perEventUs ?? Number.NaN,
      unit: "us",
      limit: null,
      ratio: measured[at]?.ratio ?? null,
    }));
    return rows.toSorted((a, b) => a.value - b.value);
  } finally {
    for (const host of hosts.values()) await host.stop();
    table.stop();
  }
}
