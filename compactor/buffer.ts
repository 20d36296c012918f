/**
 * The window buffer: what was read but not yet committed, with how far each shard was read. The rows themselves
 * are in the stage; here stands which windows they are of.
 *
 * Laws
 * - Pages of one shard are added in their order, a child's only after all of its parent's: so the row the stage
 *   took in last is the key's last change.
 * - A batch's `from` is where its first page began, and so where the batch before it ended.
 */
import type { Gap } from "../shared/snapshot.ts";
import type { Position } from "../shared/position.ts";
import type { Row } from "../shared/row.ts";
import { windowStartMs } from "../shared/window.ts";
import type { Stage } from "./stage.ts";

/** What one GetRecords answer comes to. */
export type ShardPage = {
  readonly shard: string;
  readonly rows: readonly Row[];
  readonly records: number;
  readonly bytes: number;
  /** Where the shard stands after the page; `from` is where it stood before. */
  readonly position: Position;
  readonly gap?: Gap;
};

export type Batch = {
  /** Holds the rows. The batch's taker closes it. */
  readonly stage: Stage;
  /** By window start. */
  readonly windows: ReadonlyMap<number, Readonly<Window>>;
  readonly positions: ReadonlyMap<string, Position>;
  readonly gaps: readonly Gap[];
  readonly records: number;
  /** Rows of events that the edge has rejected. */
  readonly rejectedRows: number;
  readonly bytes: number;
};

type Window = { minChangedMs: number };

export class WindowBuffer {
  #stage: Stage;
  #windows = new Map<number, Window>();
  #positions = new Map<string, Position>();
  #gaps: Gap[] = [];
  #records = 0;
  #rejectedRows = 0;
  #bytes = 0;
  #firstRowAtMs: number | null = null;

  constructor(stage: Stage) {
    this.#stage = stage;
  }

  /** Bytes of the answers that the buffered rows came in. */
  get bytes(): number {
    return this.#bytes;
  }

  /** When the oldest buffered row was added; null when there is none. */
  get firstRowAtMs(): number | null {
    return this.#firstRowAtMs;
  }

  get hasRows(): boolean {
    return this.#windows.size > 0;
  }

  /** Whether something of the shard is here that has not been taken. */
  holds(shard: string): boolean {
    return this.#positions.has(shard);
  }

  /** True when a shard has ended, or a gap was met: worth a commit without rows. */
  get urgent(): boolean {
    return this.#gaps.length > 0 || [...this.#positions.values()].some((position) => position.done);
  }

  add(page: ShardPage, nowMs: number): void {
    for (const row of page.rows) {
      this.#reach(row.changedMs);
      if (row.kind === "rejected") this.#rejectedRows += 1;
      this.#stage.add(row);
    }
    if (page.rows.length > 0) this.#firstRowAtMs ??= nowMs;
    if (page.gap !== undefined) this.#gaps.push(page.gap);
    this.#records += page.records;
    this.#bytes += page.bytes;
    const held = this.#positions.get(page.shard);
    this.#positions.set(
      page.shard,
      held === undefined ? page.position : { ...page.position, from: held.from },
    );
  }

  #reach(changedMs: number): void {
    const start = windowStartMs(0, changedMs);
    const window = this.#windows.get(start);
    if (window === undefined) this.#windows.set(start, { minChangedMs: changedMs });
    else if (changedMs < window.minChangedMs) window.minChangedMs = changedMs;
  }

  /**
   * All that was added since the last call.
   * @param next takes in what is added from now on
   */
  take(next: Stage): Batch {
    const batch: Batch = {
      stage: this.#stage,
      windows: this.#windows,
      positions: this.#positions,
      gaps: this.#gaps,
      records: this.#records,
      rejectedRows: this.#rejectedRows,
      bytes: this.#bytes,
    };
    this.#stage = next;
    this.#windows = new Map();
    this.#positions = new Map();
    this.#gaps = [];
    this.#records = 0;
    this.#rejectedRows = 0;
    this.#bytes = 0;
    this.#firstRowAtMs = null;
    return batch;
  }

  /** Drops what was added and not taken. */
  close(): void {
    this.#stage.close();
  }
}
