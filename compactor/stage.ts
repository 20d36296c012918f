/**
 * A stage: rows on their way into files, those of one batch. They lie in blocks, in memory that is used again by the
 * next stage; what a stage holds is bounded by what is read between two flushes.
 *
 * Laws
 * - Of each key a file has the row that was added last, for the changes of all of the key's rows in the window.
 * - A flush stands for the minutes until its window is merged: its rows are not sorted.
 */
import type { Row } from "../shared/row.ts";
import type { Block } from "./block.ts";
import {
  BLOCK_ROWS,
  LENGTH_BYTES,
  addRow,
  blockBytes,
  copyRow,
  emptyBlock,
  isFull,
  openBlock,
} from "./block.ts";
import { openFamilies } from "./families.ts";
import type { Latest } from "./latest.ts";
import { NO_ROW, areEqual, keyHash, openLatest } from "./latest.ts";
import type { Scratch } from "./row-file.ts";
import { encodeRows, openScratch } from "./row-file.ts";
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

const SPARE_LATEST_MAX = 2;

/** @param spareBytesMax what may be kept of closed stages for the next ones: new memory would make V8 collect garbage. */
export function openStages(spareBytesMax: number): OpenStage {
  const spare: Block[] = [];
  let spareBytes = 0;
  const spareLatest: Latest[] = [];
  const scratch = openScratch();
  return () =>
    openStage({
      scratch,
      take: (like) => {
        const block = spare.pop();
        if (block === undefined) return openBlock(like);
        spareBytes -= blockBytes(block);
        return block;
      },
      give: (block) => {
        emptyBlock(block);
        const bytes = blockBytes(block);
        if (spareBytes + bytes > spareBytesMax) return;
        spareBytes += bytes;
        spare.push(block);
      },
      takeLatest: () => spareLatest.pop() ?? openLatest(),
      giveLatest: (latest) => {
        if (spareLatest.length === SPARE_LATEST_MAX) return;
        latest.clear();
        spareLatest.push(latest);
      },
    });
}

type Blocks = {
  readonly take: (like: Block | null) => Block;
  readonly give: (block: Block) => void;
  readonly takeLatest: () => Latest;
  readonly giveLatest: (latest: Latest) => void;
  /** One file is encoded at a time, at one go. */
  readonly scratch: Scratch;
};

function openStage(memory: Blocks): Stage {
  const blocks: Block[] = [];
  const families = openFamilies();
  let repeats = false;
  let closed = false;
  let current: Block | null = null;

  const blockOf = (row: number): Block => blocks[Math.floor(row / BLOCK_ROWS)] as Block;
  const latest = memory.takeLatest();
  const isSameKey = (row: number, other: number): boolean => {
    const [one, two] = [blockOf(row), blockOf(other)];
    const [{ key }, { key: otherKey }] = [one.texts, two.texts];
    const [oneAt, twoAt] = [key.starts[row % BLOCK_ROWS] ?? 0, otherKey.starts[other % BLOCK_ROWS] ?? 0];
    const length = LENGTH_BYTES + key.view.getUint32(oneAt, true);
    return areEqual(key.bytes, oneAt, otherKey.bytes, twoAt, length);
  };

  return {
    add: (row) => {
      if (current === null || isFull(current)) blocks.push((current = memory.take(current)));
      const index = addRow(current, row, families.of(row));
      const { key } = current.texts;
      const hash = keyHash(key.view, (key.starts[index] ?? 0) + LENGTH_BYTES, key.end);
      const older = latest.put((blocks.length - 1) * BLOCK_ROWS + index, hash, isSameKey);
      current.older[index] = older;
      if (older !== NO_ROW) repeats = true;
    },

    write: async (startMs, endMs) => {
      const standing = standingRows(blocks, startMs, endMs, repeats);
      const whole: Block[] = [];
      const packed: Block[] = [];
      const target = (): Block => {
        const last = packed.at(-1);
        if (last !== undefined && !isFull(last)) return last;
        const next = memory.take(last ?? null);
        packed.push(next);
        return next;
      };
      for (const [number, block] of blocks.entries()) {
        const changes = standing[number] as Float64Array;
        if (isWhole(block, changes)) whole.push(block);
        else {
          for (let index = 0; index < block.rows; index += 1) {
            const stands = changes[index] ?? 0;
            if (stands > 0) copyRow(block, index, target(), stands);
          }
        }
      }
      const file = encodeRows([...whole, ...packed], families.all, memory.scratch);
      for (const block of packed) memory.give(block);
      return file;
    },

    close: () => {
      current = null;
      if (closed) return;
      closed = true;
      memory.giveLatest(latest);
      for (const block of blocks.splice(0)) memory.give(block);
    },
  };
}

/**
 * By block, the changes that each row stands for in a window's file; 0: it is not in it.
 * @param repeats whether some key has several rows: the last of them then stands for those before it
 */
function standingRows(
  blocks: readonly Block[],
  startMs: number,
  endMs: number,
  repeats: boolean,
): Float64Array[] {
  const standing = blocks.map((block) => changesWithin(block, startMs, endMs));
  if (!repeats) return standing;
  for (let number = blocks.length - 1; number >= 0; number -= 1) {
    const [block, own] = [blocks[number] as Block, standing[number] as Float64Array];
    for (let index = block.rows - 1; index >= 0; index -= 1) {
      let total = own[index] ?? 0;
      // It is not in the window, or a later row stands for it and all before it.
      if (total === 0) continue;
      for (let row = block.older[index] ?? NO_ROW; row !== NO_ROW;) {
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

function changesWithin({ rows, changedMs, changes }: Block, startMs: number, endMs: number): Float64Array {
  const standing = changes.slice(0, rows);
  for (let index = 0; index < rows; index += 1) {
    const ms = changedMs[index] ?? 0;
    if (ms < startMs || ms >= endMs) standing[index] = 0;
  }
  return standing;
}

function isWhole({ rows, changes }: Block, standing: Float64Array): boolean {
  for (let index = 0; index < rows; index += 1) if (standing[index] !== changes[index]) return false;
  return true;
}
