/**
 * A stage: rows on their way into files, those of one batch. They lie in blocks, in memory that is used again by the
 * next stage; what a stage holds is bounded by what is read between two flushes.
 *
 * Laws
 * - Of each key a file has the row that was added last, for the changes of all of the key's rows in the window.
 * - A flush stands for the minutes until its window is merged: its rows are not sorted.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Row } from "../shared/row.ts";
import type { Block } from "./block.ts";
import { BLOCK_ROWS, LENGTH_BYTES, addRow, blockBytes, copyRows, emptyBlock, isFull, openBlock } from "./block.ts";
import { openFamilies } from "./families.ts";
import { NO_ROW, areEqual, keyHash, openLatest } from "./latest.ts";
import { openRowFile } from "./row-file.ts";
import type { ParquetFile } from "./summary.ts";

export type Stage = {
  readonly add: (row: Row) => void;
  /**
   * The file of the rows with `changedMs` in [startMs, endMs). One call at a time, and none of `add` after the first.
   */
  readonly write: (startMs: number, endMs: number) => Promise<ParquetFile>;
  readonly close: () => void;
};

export type OpenStage = () => Stage;

/** What is kept of closed stages for the next. */
const SPARE_BYTES_MAX = 32 * 1024 ** 2;

export function openStages(): OpenStage {
  const spare: Block[] = [];
  let spareBytes = 0;
  return () =>
    openStage({
      take: () => {
        const block = spare.pop();
        if (block === undefined) return openBlock();
        spareBytes -= blockBytes(block);
        return block;
      },
      give: (block) => {
        emptyBlock(block);
        const bytes = blockBytes(block);
        if (spareBytes + bytes > SPARE_BYTES_MAX) return;
        spareBytes += bytes;
        spare.push(block);
      },
    });
}

type Blocks = { readonly take: () => Block; readonly give: (block: Block) => void };

function openStage(memory: Blocks): Stage {
  const blocks: Block[] = [];
  const families = openFamilies();
  let repeats = false;
  let current: Block | null = null;

  const blockOf = (row: number): Block => blocks[Math.floor(row / BLOCK_ROWS)] as Block;
  const latest = openLatest((row, other) => {
    const [one, two] = [blockOf(row), blockOf(other)];
    const [oneAt, twoAt] = [one.keyAt[row % BLOCK_ROWS] ?? 0, two.keyAt[other % BLOCK_ROWS] ?? 0];
    const { key } = one.texts;
    const length = LENGTH_BYTES + key.view.getUint32(oneAt, true);
    return areEqual(key.bytes, oneAt, two.texts.key.bytes, twoAt, length);
  });

  return {
    add: (row) => {
      if (current === null || isFull(current)) blocks.push((current = memory.take()));
      const index = addRow(current, row, families.of(row));
      const { key } = current.texts;
      const hash = keyHash(key.view, (current.keyAt[index] ?? 0) + LENGTH_BYTES, key.end);
      const older = latest.put((blocks.length - 1) * BLOCK_ROWS + index, hash);
      current.older[index] = older;
      if (older !== NO_ROW) repeats = true;
    },

    write: async (startMs, endMs) => {
      const changes = repeats ? changesOfLast(blocks, startMs, endMs) : null;
      const file = openRowFile(
        families.all,
        blocks.reduce((rows, block) => rows + block.rows, 0),
      );
      let packed = memory.take();
      const target = (): Block => {
        if (isFull(packed)) {
          file.take(packed);
          emptyBlock(packed);
        }
        return packed;
      };
      for (const [number, block] of blocks.entries()) {
        const standing = changes?.[number] ?? changesWithin(block, startMs, endMs);
        if (isWhole(block, standing)) file.take(block);
        else copyRows(block, (index) => standing[index] ?? 0, target);
        // Answers arrive meanwhile.
        await nextTurn();
      }
      if (packed.rows > 0) file.take(packed);
      memory.give(packed);
      return file.finish();
    },

    close: () => {
      current = null;
      for (const block of blocks.splice(0)) memory.give(block);
    },
  };
}

/** What each row of a block stands for in a window's file; 0: it is not in it. */
function changesWithin({ rows, changedMs, changes }: Block, startMs: number, endMs: number): Float64Array {
  const standing = changes.slice(0, rows);
  for (let index = 0; index < rows; index += 1) {
    const ms = changedMs[index] ?? 0;
    if (ms < startMs || ms >= endMs) standing[index] = 0;
  }
  return standing;
}

/** The same, where some keys have several rows: by block, the last row of each key has the changes of those before it. */
function changesOfLast(blocks: readonly Block[], startMs: number, endMs: number): Float64Array[] {
  const standing = blocks.map((block) => changesWithin(block, startMs, endMs));
  for (const [number, block] of [...blocks.entries()].toReversed()) {
    const own = standing[number] as Float64Array;
    for (let index = block.rows - 1; index >= 0; index -= 1) {
      let total = own[index] ?? 0;
      // Not in the window, or a later row stands for it, and for all before it.
      if (total === 0) continue;
      for (let row = block.older[index] ?? NO_ROW; row !== NO_ROW; ) {
        const [of, at] = [Math.floor(row / BLOCK_ROWS), row % BLOCK_ROWS];
        const others = standing[of] as Float64Array;
        total += others[at] ?? 0;
        others[at] = 0;
        row = blocks[of]?.older[at] ?? NO_ROW;
      }
      own[index] = total;
    }
  }
  return standing;
}

function isWhole({ rows, changes }: Block, standing: Float64Array): boolean {
  for (let index = 0; index < rows; index += 1) if (standing[index] !== changes[index]) return false;
  return true;
}
