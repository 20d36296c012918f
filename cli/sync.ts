/** `varve sync`: keeps a warehouse up to the changelog. */
import type { DuckDBConnection } from "@duckdb/node-api";
import { iso } from "../reader/range.ts";
import { openDuckDBWarehouse } from "../reader/warehouse/duckdb.ts";
import { openPostgresWarehouse } from "../reader/warehouse/postgres.ts";
import type { Outage, SyncProgress } from "../reader/warehouse/sync.ts";
import { sync, SYNC_LIMITS } from "../reader/warehouse/sync.ts";
import type { Warehouse } from "../reader/warehouse/warehouse.ts";
import type { Clock } from "../shared/clock.ts";
import type { ObjectStore } from "../shared/store.ts";
import type { Output } from "./output.ts";

export const WAREHOUSES = ["duckdb", "postgres"] as const;
export type WarehouseKind = (typeof WAREHOUSES)[number];

export type SyncArguments = {
  readonly kind: WarehouseKind;
  /** A file, or an address. */
  readonly target: string;
  readonly follow: boolean;
  readonly fromSnapshot: boolean;
  readonly json: boolean;
};

const POLL_MS = 1000;
const BAR_WIDTH = 24;

/** Resolves when the warehouse is up to date; with `follow`, when `signal` aborts. */
export async function syncCommand(
  store: ObjectStore,
  args: SyncArguments,
  output: Output,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  const startMs = clock.nowMs();
  const open = (scratch: DuckDBConnection): Promise<Warehouse> =>
    args.kind === "duckdb" ? openDuckDBWarehouse(scratch, args.target) : openPostgresWarehouse(args.target);
  let lines = Promise.resolve();
  const done = await sync(store, open, {
    follow: args.follow,
    fromSnapshot: args.fromSnapshot,
    limits: SYNC_LIMITS,
    pollMs: POLL_MS,
    clock,
    signal,
    applied: (progress) => {
      const seconds = (clock.nowMs() - startMs) / 1000;
      output.progress(progressText(progress, seconds));
      if (args.follow && args.json) {
        lines = lines.then(() => output.line(summaryJson(progress, seconds)));
      }
    },
    outage: (outage) => output.note(outageText(outage)),
  });
  await lines;
  output.progress("");
  const seconds = (clock.nowMs() - startMs) / 1000;
  await output.line(args.json ? summaryJson(done, seconds) : summaryText(done, seconds));
}

function outageText(outage: Outage): string {
  if (outage.kind === "over") return `going on after version ${outage.version}`;
  return `waiting: ${outage.error.message} The next try is in ${outage.nextTryMs / 1000} s.`;
}

/** `[############------------]  50% 150,000 of 300,000 rows, 61,000/s, 0:02 left` */
export function progressText({ rows, rowsTotal, cursor }: SyncProgress, seconds: number): string {
  const rate = seconds > 0 ? rows / seconds : 0;
  const pace = `${count(Math.round(rate))}/s`;
  if (rowsTotal === null || rowsTotal <= 0) {
    return `following: version ${cursor.version}, ${count(rows)} rows so far`;
  }
  const part = Math.min(1, rows / rowsTotal);
  const filled = Math.round(part * BAR_WIDTH);
  const bar = "#".repeat(filled) + "-".repeat(BAR_WIDTH - filled);
  const left = rate > 0 ? `, ${minutes((rowsTotal - rows) / rate)} left` : "";
  return `[${bar}] ${String(Math.floor(part * 100)).padStart(3)}% ${count(rows)} of ${count(rowsTotal)} rows, ${pace}${left}`;
}

function summaryText({ counts, cursor, rows, transactions }: SyncProgress, seconds: number): string {
  const { events, objects, deleted, discarded, passed } = counts;
  const parts = [`${count(events)} events`, `${count(objects)} objects`];
  if (deleted > 0) parts.push(`${count(deleted)} deleted`);
  if (passed > 0) parts.push(`${count(passed)} passed over`);
  const values = discarded === 0 ? "" : `; ${count(discarded)} values discarded`;
  return `synced to version ${cursor.version}, complete up to ${iso(cursor.watermarkMs)}: ${count(rows)} rows (${parts.join(", ")})${values}, ${transactions} transactions in ${seconds.toFixed(1)} s`;
}

const summaryJson = ({ counts, cursor, rows, transactions }: SyncProgress, seconds: number): string =>
  JSON.stringify({
    changelog: cursor.changelog,
    version: cursor.version,
    complete_up_to: iso(cursor.watermarkMs),
    rows,
    ...counts,
    transactions,
    seconds: Number(seconds.toFixed(3)),
  });

const count = (value: number): string => value.toLocaleString("en-US");
const minutes = (seconds: number): string =>
  `${Math.floor(seconds / 60)}:${String(Math.ceil(seconds % 60) % 60).padStart(2, "0")}`;
