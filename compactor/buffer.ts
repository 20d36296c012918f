/**
 * The window buffer: rows read but not yet committed, one a key and window, with how far each shard was read.
 *
 * Laws
 * - Pages of one shard are added in their order, a child's only after all of its parent's: so the row added
 *   last is the key's last change.
 * - A batch's `from` is where its first page began, and so where the batch before it ended.
 */
import type { Gap } from "../shared/snapshot.ts";
import type { Position } from "../shared/position.ts";
import type { Row } from "../shared/row.ts";
import { windowStartMs } from "../shared/window.ts";

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
  /** By window start, then by key. */
  readonly windows: ReadonlyMap<number, ReadonlyMap<string, Row>>;
  readonly positions: ReadonlyMap<string, Position>;
  readonly gaps: readonly Gap[];
  readonly records: number;
  readonly bytes: number;
};

export class WindowBuffer {
  #windows = new Map<number, Map<string, Row>>();
  #positions = new Map<string, Position>();
  #gaps: Gap[] = [];
  #records = 0;
  #bytes = 0;
  #firstRowAtMs: number | null = null;

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
      const start = windowStartMs(0, row.changedMs);
      let window = this.#windows.get(start);
      if (window === undefined) this.#windows.set(start, (window = new Map()));
      const before = window.get(row.key);
      if (before !== undefined) row.changes += before.changes;
      window.set(row.key, row);
    }
    if (page.rows.length > 0) this.#firstRowAtMs ??= nowMs;
    if (page.gap !== undefined) this.#gaps.push(page.gap);
    this.#records += page.records;
    this.#bytes += page.bytes;
    const from = this.#positions.get(page.shard)?.from ?? null;
    this.#positions.set(
      page.shard,
      this.#positions.has(page.shard) ? { ...page.position, from } : page.position,
    );
  }

  /** All that was added since the last call. */
  take(): Batch {
    const batch: Batch = {
      windows: this.#windows,
      positions: this.#positions,
      gaps: this.#gaps,
      records: this.#records,
      bytes: this.#bytes,
    };
    this.#windows = new Map();
    this.#positions = new Map();
    this.#gaps = [];
    this.#records = 0;
    this.#bytes = 0;
    this.#firstRowAtMs = null;
    return batch;
  }
}
