/** Keeping a warehouse up to date with the changelog. */
import { availableParallelism } from "node:os";
import type { DuckDBConnection } from "@duckdb/node-api";
import type { Clock } from "../../shared/clock.ts";
import { VarveError } from "../../shared/errors.ts";
import { loadSnapshot } from "../../shared/log.ts";
import type { ObjectStore } from "../../shared/store.ts";
import type { Scratch } from "../scratch.ts";
import { openScratch } from "../scratch.ts";
import { isOutage, waitMs } from "./outage.ts";
import { Pass } from "./pass.ts";
import type { Connections } from "./stage.ts";
import { unstage } from "./stage.ts";
import type { Cursor, RowCounts, Warehouse } from "./warehouse.ts";

export type SyncLimits = {
  /** Rows and bytes (of the files) of one transaction; a commit is never split. */
  readonly rowsMax: number;
  readonly bytesMax: number;
  /** Tables of events and collections that one source may have. */
  readonly tablesMax: number;
};
export const SYNC_LIMITS: SyncLimits = { rowsMax: 300_000, bytesMax: 64 * 1024 ** 2, tablesMax: 1000 };

const MEMORY_MAX_MB = 1024;
/** Each works on a core. DuckDB's own threads would have the one that waits for them spin, at the cost of a third more CPU. */
const CONNECTIONS_MAX = 8;

export type SyncOptions = {
  readonly follow: boolean;
  readonly fromSnapshot: boolean;
  readonly limits: SyncLimits;
  /** Between two looks at the log, ms. */
  readonly pollMs: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Called after each transaction. */
  readonly applied: (progress: SyncProgress) => void;
  /** Called when the warehouse or the store is away, which `follow` waits for, and when both are back. */
  readonly outage: (outage: Outage) => void;
};

export type Outage =
  | { readonly kind: "waiting"; readonly error: VarveError; readonly nextTryMs: number }
  | { readonly kind: "over"; readonly version: number };

export type SyncProgress = {
  readonly cursor: Cursor;
  /** Of this run. */
  readonly rows: number;
  /** What there was to do when this pass began; null when that is not known. */
  readonly rowsTotal: number | null;
  readonly counts: RowCounts;
  readonly transactions: number;
};

type Open = (scratch: DuckDBConnection) => Promise<Warehouse>;

/** With `follow`, a warehouse or a store that goes away is waited for; one that was never there is an error. */
export async function sync(store: ObjectStore, open: Open, options: SyncOptions): Promise<SyncProgress> {
  const { clock, follow, outage, signal } = options;
  const scratch = await openScratch(store);
  try {
    await scratch.connection.run(
      `SET GLOBAL preserve_insertion_order = false; SET GLOBAL memory_limit = '${MEMORY_MAX_MB}MB'`,
    );
    const others = Math.min(CONNECTIONS_MAX, availableParallelism()) - 1;
    const connections: Connections = [
      scratch.connection,
      ...(await Promise.all(Array.from({ length: others }, () => scratch.connect()))),
    ];
    let progress: SyncProgress | null = null;
    let failures = 0;
    const isUp = (now: SyncProgress): void => {
      if (failures > 0) outage({ kind: "over", version: now.cursor.version });
      [progress, failures] = [now, 0];
    };
    for (;;) {
      try {
        return await runPass(store, open, scratch, connections, options, progress, isUp);
      } catch (error) {
        if (!follow || progress === null || !isOutage(error)) throw error;
        await unstage(scratch.connection);
        const nextTryMs = waitMs(failures);
        failures += 1;
        outage({ kind: "waiting", error, nextTryMs });
        await clock.sleep(nextTryMs, signal);
        if (signal.aborted) return progress;
      }
    }
  } finally {
    await scratch.close();
  }
}

async function runPass(
  store: ObjectStore,
  open: Open,
  scratch: Scratch,
  connections: Connections,
  options: SyncOptions,
  before: SyncProgress | null,
  isUp: (progress: SyncProgress) => void,
): Promise<SyncProgress> {
  const snapshot = await loadSnapshot(store, undefined, options.signal);
  if (snapshot === null) {
    throw new VarveError(
      "no_changelog",
      "there is no changelog at this address.",
      "Check VARVE_CHANGELOG; the compactor makes the changelog when it first starts.",
    );
  }
  const warehouse = await open(scratch.connection);
  try {
    const deps = { store, scratch, connections, warehouse, options, before, isUp };
    const pass = new Pass(deps, await warehouse.load());
    await pass.run(snapshot);
    return pass.progress();
  } finally {
    await warehouse.close();
  }
}
