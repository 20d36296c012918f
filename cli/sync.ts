/** `varve sync`: keeps a warehouse up to date with the changelog. */
import type { DuckDBConnection } from "@duckdb/node-api";
import { completeUpTo, iso } from "../reader/range.ts";
import { openDuckDBWarehouse } from "../reader/warehouse/duckdb.ts";
import { openPostgresWarehouse } from "../reader/warehouse/postgres.ts";
import type { Outage, SyncProgress } from "../reader/warehouse/sync.ts";
import { sync, SYNC_LIMITS } from "../reader/warehouse/sync.ts";
import type { Warehouse } from "../reader/warehouse/warehouse.ts";
import { count, many } from "../shared/amounts.ts";
import type { Clock } from "../shared/clock.ts";
import type { ObjectStore } from "../shared/store.ts";
import type { Output } from "./output.ts";
import { openProgress } from "./progress.ts";

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
  const progress = openProgress(output, clock);
  let lines = Promise.resolve();
  const done = await sync(store, open, {
    follow: args.follow,
    fromSnapshot: args.fromSnapshot,
    limits: SYNC_LIMITS,
    pollMs: POLL_MS,
    clock,
    signal,
    applied: (applied) => {
      progress(applied.rowsTotal === null ? "following" : "rows", applied.rows, applied.rowsTotal);
      if (args.follow && args.json) {
        const seconds = (clock.nowMs() - startMs) / 1000;
        lines = lines.then(() => output.line(summaryJson(applied, seconds)));
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

function summaryText({ counts, cursor, rows, transactions }: SyncProgress, seconds: number): string {
  const { events, objects, deleted, discarded, passed } = counts;
  const parts = [many(events, "event"), many(objects, "object")];
  if (deleted > 0) parts.push(`${count(deleted)} deleted`);
  if (passed > 0) parts.push(`${count(passed)} passed over`);
  const values = discarded === 0 ? "" : `; ${many(discarded, "value")} discarded`;
  return `synced to version ${cursor.version}, ${completeUpTo(cursor.watermarkMs)}: ${many(rows, "row")} (${parts.join(", ")})${values}, ${many(transactions, "transaction")} in ${seconds.toFixed(1)} s`;
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
