/**
 * One pass of a sync, from opening the warehouse to an end or an outage: the state that moves on from transaction to
 * transaction.
 *
 * - By version: whole commits, several small ones at a time, in one transaction with the cursor. A kill at
 *   any moment leaves the warehouse at a cursor, and the next run goes on from there.
 * - From the snapshot, when the log no longer reaches back to the cursor: rows above the cursor's watermark out of the
 *   live files, oldest first. Every change up to the watermark is in the warehouse, so no other row is needed; those
 *   that are in already are written again and change nothing.
 */
import { VarveError } from "../../shared/errors.ts";
import { loadSnapshot } from "../../shared/log.ts";
import type { DataFile, Snapshot } from "../../shared/snapshot.ts";
import type { ObjectStore } from "../../shared/store.ts";
import { timeRuns } from "../range.ts";
import type { Scratch } from "../scratch.ts";
import type { PathMemo } from "./paths.ts";
import type { Entry } from "./pending.ts";
import { behindRetention, entriesAfter } from "./pending.ts";
import { addName } from "./registry.ts";
import { applyDdl } from "./schema.ts";
import type { Connections } from "./stage.ts";
import { stage, unstage } from "./stage.ts";
import type { SyncLimits, SyncOptions, SyncProgress } from "./sync.ts";
import type { Cursor, RowCounts, Staged, Warehouse, WarehouseState } from "./warehouse.ts";

const NO_COUNTS: RowCounts = { events: 0, objects: 0, deleted: 0, discarded: 0, passed: 0 };
const addCounts = (a: RowCounts, b: RowCounts): RowCounts => ({
  events: a.events + b.events,
  objects: a.objects + b.objects,
  deleted: a.deleted + b.deleted,
  discarded: a.discarded + b.discarded,
  passed: a.passed + b.passed,
});

/** What one transaction is to bring. */
type Transaction = {
  readonly files: readonly DataFile[];
  /** Which of their rows, SQL. */
  readonly where: string;
  readonly to: Cursor;
  readonly rows: number;
};

export type PassDeps = {
  readonly store: ObjectStore;
  readonly scratch: Scratch;
  readonly connections: Connections;
  readonly warehouse: Warehouse;
  readonly options: SyncOptions;
  /** How far the pass before came; null in the first. */
  readonly before: SyncProgress | null;
  /** Called whenever the warehouse and the store have answered. */
  readonly isUp: (progress: SyncProgress) => void;
};

export class Pass {
  readonly #deps: PassDeps;
  readonly #memo: PathMemo = new Map();
  #state: WarehouseState;
  #changelog = "";
  #tip = -1;
  #counts: RowCounts;
  #rows: number;
  #rowsTotal: number | null = null;
  #transactions: number;

  constructor(deps: PassDeps, state: WarehouseState) {
    const { before } = deps;
    this.#deps = deps;
    this.#state = state;
    this.#rows = before?.rows ?? 0;
    this.#counts = before?.counts ?? NO_COUNTS;
    this.#transactions = before?.transactions ?? 0;
  }

  progress(): SyncProgress {
    return {
      cursor: this.#cursor(),
      rows: this.#rows,
      rowsTotal: this.#rowsTotal,
      counts: this.#counts,
      transactions: this.#transactions,
    };
  }

  async run(snapshot: Snapshot): Promise<void> {
    const { follow, fromSnapshot, signal, clock, pollMs } = this.#deps.options;
    this.#changelog = snapshot.metaData.id;
    this.#tip = snapshot.version;
    checkCursor(this.#state.cursor, snapshot, this.#deps.warehouse.address);
    if (this.#deps.before === null) this.#deps.isUp(this.progress());
    if (fromSnapshot) await this.#catchUp(snapshot);
    this.#rowsTotal = this.#rows + snapshot.log.committed.rows - this.#cursor().rows;
    for (;;) {
      try {
        await this.#commits();
      } catch (error) {
        // Nothing to lose, and so nothing to ask: a new warehouse begins with what is live.
        const isNew = this.#cursor().version < 0;
        if (!isNew || !(error instanceof VarveError && error.code === "behind_retention")) throw error;
        await this.#catchUp(snapshot);
        continue;
      }
      this.#deps.isUp(this.progress());
      if (!follow || signal.aborted) return;
      this.#rowsTotal = null;
      await clock.sleep(pollMs, signal);
      if (signal.aborted) return;
    }
  }

  #cursor(): Cursor {
    return this.#state.cursor ?? { changelog: this.#changelog, version: -1, watermarkMs: 0, rows: 0 };
  }

  /** Every commit above the cursor. */
  async #commits(): Promise<void> {
    const { limits, signal } = this.#deps.options;
    for (let again = true; again && !signal.aborted;) {
      again = false;
      let entries: Entry[] = [];
      let [rows, bytes] = [0, 0];
      for await (const entry of entriesAfter(this.#deps.store, this.#cursor().version, this.#tip, signal)) {
        entries.push(entry);
        for (const file of entry.files) {
          rows += file.totals.rows;
          bytes += file.sizeBytes;
        }
        if (rows < limits.rowsMax && bytes < limits.bytesMax) continue;
        again = !(await this.#apply(this.#ofCommits(entries)));
        if (again || signal.aborted) break;
        [entries, rows, bytes] = [[], 0, 0];
      }
      if (!again && !signal.aborted && entries.length > 0)
        again = !(await this.#apply(this.#ofCommits(entries)));
    }
  }

  #ofCommits(entries: readonly Entry[]): Transaction {
    const cursor = this.#cursor();
    const files = entries.flatMap((entry) => entry.files);
    const to = entries.reduce(
      (before, { version, watermarkMs, rows }) => ({
        ...before,
        version,
        watermarkMs: watermarkMs ?? before.watermarkMs,
        rows: rows ?? before.rows,
      }),
      cursor,
    );
    return { files, where: "true", to, rows: files.reduce((sum, { totals }) => sum + totals.rows, 0) };
  }

  /** Rows above the cursor's watermark, out of the live files. */
  async #catchUp(snapshot: Snapshot): Promise<void> {
    const { limits, signal } = this.#deps.options;
    const start = this.#cursor();
    const files = [...snapshot.files.values()]
      .filter((file) => file.maxChangedMs > start.watermarkMs)
      .toSorted((a, b) => a.minChangedMs - b.minChangedMs);
    this.#rowsTotal = this.#rows + files.reduce((sum, { totals }) => sum + totals.rows, 0);
    for (const run of joinRuns(timeRuns(files), limits.rowsMax)) {
      const rows = run.reduce((sum, { totals }) => sum + totals.rows, 0);
      // A run too large for one transaction is taken by parts of its keys: rows need order only along a key.
      const parts = Math.max(1, Math.ceil(rows / (2 * limits.rowsMax)));
      for (let part = 0; part < parts; part += 1) {
        if (signal.aborted) return;
        const last = part === parts - 1;
        const endMs = Math.max(...run.map(({ maxChangedMs }) => maxChangedMs));
        const cursor = this.#cursor();
        const watermarkMs = last
          ? Math.max(cursor.watermarkMs, Math.min(endMs, snapshot.log.watermarkMs))
          : cursor.watermarkMs;
        const moved = !(await this.#apply({
          files: run,
          where: `changed_ms > ${start.watermarkMs}${parts === 1 ? "" : ` AND hash(key) % ${parts} = ${part}`}`,
          to: { ...cursor, watermarkMs },
          rows: Math.round(rows / parts),
        }));
        if (moved) throw movedMeanwhile(this.#deps.warehouse.address);
      }
    }
    const { version, log } = snapshot;
    const to = {
      changelog: this.#changelog,
      version: Math.max(version, start.version),
      watermarkMs: Math.max(log.watermarkMs, start.watermarkMs),
      rows: log.committed.rows,
    };
    if (!(await this.#apply({ files: [], where: "true", to, rows: 0 }))) {
      throw movedMeanwhile(this.#deps.warehouse.address);
    }
  }

  /** False when another sync has moved the cursor: the state is then the warehouse's anew. */
  async #apply({ files, where, to, rows }: Transaction): Promise<boolean> {
    const { applied, limits, signal } = this.#deps.options;
    const staged = files.length === 0 ? null : await this.#stage(files, where, limits, signal);
    try {
      const outcome = await this.#deps.warehouse.apply(staged, this.#state.cursor, to);
      if (outcome === "moved") {
        this.#state = await this.#deps.warehouse.load();
        return false;
      }
    } finally {
      if (staged !== null) await unstage(this.#deps.scratch.connection);
    }
    this.#state = {
      cursor: to,
      registry: (staged?.names ?? []).reduce(addName, this.#state.registry),
      catalog: applyDdl(this.#state.catalog, staged?.ddl ?? []),
    };
    this.#counts = addCounts(this.#counts, staged?.counts ?? NO_COUNTS);
    this.#rows += rows;
    this.#transactions += 1;
    this.#deps.isUp(this.progress());
    applied(this.progress());
    return true;
  }

  async #stage(
    files: readonly DataFile[],
    where: string,
    limits: SyncLimits,
    signal: AbortSignal,
  ): Promise<Staged> {
    const fetched = await this.#deps.scratch.fetch(files, signal).catch(async (error: unknown) => {
      throw await this.#whyMissing(error, files);
    });
    try {
      const { columnsMax } = this.#deps.warehouse;
      const stageLimits = { columnsMax, tablesMax: limits.tablesMax };
      return await stage(this.#deps.connections, fetched.paths, where, this.#state, stageLimits, this.#memo);
    } finally {
      await fetched.release();
    }
  }

  /** A file that an old entry names may have been merged away and deleted since. */
  async #whyMissing(error: unknown, files: readonly DataFile[]): Promise<unknown> {
    if (!(error instanceof VarveError && error.code === "file_missing")) return error;
    const snapshot = await loadSnapshot(this.#deps.store);
    const gone = files.find(({ path }) => snapshot?.files.has(path) === false);
    return gone === undefined ? error : behindRetention(gone.path);
  }
}

/** Runs follow each other in time: as many together as a transaction may take. */
function joinRuns(runs: readonly (readonly DataFile[])[], rowsMax: number): DataFile[][] {
  const joined: DataFile[][] = [];
  let rows = 0;
  for (const run of runs) {
    const last = joined.at(-1);
    const more = run.reduce((sum, { totals }) => sum + totals.rows, 0);
    if (last !== undefined && rows + more <= rowsMax) {
      last.push(...run);
      rows += more;
    } else {
      joined.push([...run]);
      rows = more;
    }
  }
  return joined;
}

function checkCursor(cursor: Cursor | null, snapshot: Snapshot, address: string): void {
  if (cursor === null) return;
  if (cursor.changelog !== snapshot.metaData.id) {
    throw new VarveError(
      "other_changelog",
      `${address} is kept from another changelog (${cursor.changelog}; this one is ${snapshot.metaData.id}).`,
      "Give each changelog a warehouse of its own, or check VARVE_CHANGELOG.",
    );
  }
  if (cursor.version <= snapshot.version) return;
  throw new VarveError(
    "ahead_of_log",
    `${address} is at version ${cursor.version}, but the log ends at ${snapshot.version}.`,
    "The changelog was replaced by an older copy. Sync into a new warehouse.",
  );
}

const movedMeanwhile = (address: string): VarveError =>
  new VarveError(
    "moved_meanwhile",
    `another sync has changed ${address} meanwhile.`,
    "Nothing of this run's last batch was written. Run it again.",
  );
