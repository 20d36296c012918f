/** How fast a changelog of 300,000 events, and the objects of their users, gets into a new DuckDB file and a new PostgreSQL. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DuckDBConnection } from "@duckdb/node-api";
import { openDuckDBWarehouse } from "../reader/warehouse/duckdb.ts";
import { openPostgresWarehouse } from "../reader/warehouse/postgres.ts";
import { sync, SYNC_LIMITS } from "../reader/warehouse/sync.ts";
import type { Warehouse } from "../reader/warehouse/warehouse.ts";
import { systemClock } from "../shared/clock.ts";
import { openDirectoryStore } from "../shared/directory.ts";
import type { ObjectStore } from "../shared/store.ts";
import { makeChangelog } from "./changelog.ts";
import { startPostgres } from "./postgres.ts";
import type { BenchRow } from "./report.ts";
import { shopChanges } from "./shop-events.ts";

const EVENTS = 300_000;
const COMMITS = 30;
/** Aim: events a second into DuckDB. */
const DUCKDB_LIMIT = 50_000;

export async function benchSync(progress: (what: string) => void): Promise<BenchRow[]> {
  const dir = await mkdtemp(join(tmpdir(), "varve-bench-sync-"));
  try {
    const store = openDirectoryStore(join(dir, "changelog"));
    progress(`laying down ${EVENTS} events in ${COMMITS} commits`);
    await layDownEvents(store);
    progress("into DuckDB");
    const duckdb = await measure(store, (scratch) =>
      openDuckDBWarehouse(scratch, join(dir, "warehouse.duckdb")),
    );
    progress("into PostgreSQL");
    const server = await startPostgres();
    try {
      const url = await server.database();
      const postgres = await measure(store, () => openPostgresWarehouse(url));
      return [...rowsOf("DuckDB", duckdb, DUCKDB_LIMIT), ...rowsOf("PostgreSQL", postgres, null)];
    } finally {
      await server.stop();
    }
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

/** `cpuS`: of this process, which a busy machine disturbs less than the clock. */
type Measured = { readonly seconds: number; readonly cpuS: number };

const rowsOf = (name: string, { seconds, cpuS }: Measured, limit: number | null): BenchRow[] => [
  {
    name: `sync: events into ${name}`,
    value: Math.round(EVENTS / seconds),
    unit: "events/s",
    limit,
    ratio: null,
  },
  {
    name: `sync: CPU of this process an event into ${name}`,
    value: Number(((cpuS * 1e6) / EVENTS).toFixed(1)),
    unit: "us",
    limit: limit === null ? null : 1e6 / limit,
    ratio: null,
  },
];

async function measure(
  store: ObjectStore,
  open: (scratch: DuckDBConnection) => Promise<Warehouse>,
): Promise<Measured> {
  const startMs = performance.now();
  const start = process.cpuUsage();
  const done = await sync(store, open, {
    follow: false,
    fromSnapshot: false,
    limits: SYNC_LIMITS,
    pollMs: 1000,
    clock: systemClock,
    signal: new AbortController().signal,
    applied: () => {},
    outage: () => {},
  });
  const { user, system } = process.cpuUsage(start);
  if (done.counts.events !== EVENTS) throw new Error(`${done.counts.events} events came, not ${EVENTS}`);
  return { seconds: (performance.now() - startMs) / 1000, cpuS: (user + system) / 1e6 };
}

async function layDownEvents(store: ObjectStore): Promise<void> {
  const log = await makeChangelog(store, Date.UTC(2026, 10, 23, 10, 0));
  try {
    for (let from = 0; from < EVENTS; from += EVENTS / COMMITS) {
      const indexes = Array.from({ length: EVENTS / COMMITS }, (_, index) => from + index);
      await log.commit(indexes.flatMap(shopChanges));
    }
  } finally {
    await log.close();
  }
}
