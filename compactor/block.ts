/**
 * Rows on their way into a file, column by column, in memory outside V8's heap: the garbage collector would copy what
 * lay there until the flush. A text column is as its page will be: PLAIN values, with room for the levels before them.
 *
 * Laws
 * - A block takes rows until it `isFull`, and its texts then make a page each.
 * - `older` links a row to the one before it of the same key.
 */
import type { Row } from "../shared/row.ts";
import { SEQUENCE_DIGITS_MAX } from "../shared/sequence.ts";
import { levelsBytesMax } from "./parquet.ts";

export const BLOCK_ROWS = 2048;
/** Of a block's texts together: some 2,048 events. */
const BLOCK_TEXT_BYTES = 2 * 1024 ** 2;
export const VALUES_AT = levelsBytesMax(BLOCK_ROWS);
/** Before a text's bytes stands their number. */
export const LENGTH_BYTES = 4;
/** UTF-8 takes at most so many bytes for one of JavaScript's 16 bits. */
const UTF8_BYTES_MAX = 3;
const FIRST_BYTES = 16 * 1024;
const GROWTH = 1.5;
const MARGIN = 1.1;
const DIGIT_0 = 0x30;

export type TextColumn = {
  bytes: Buffer<ArrayBuffer>;
  view: DataView;
  /** Where a row's value begins, its length included. */
  readonly starts: Uint32Array;
  /** Where the next value begins. */
  end: number;
  /** A bit a row, the lowest first: whether it has a value. */
  readonly present: Uint8Array;
  values: number;
};

export const TEXT_NAMES = ["key", "seq", "id", "userId", "anonymousId", "image"] as const;
export type TextName = (typeof TEXT_NAMES)[number];

export type Block = {
  rows: number;
  readonly changedMs: Float64Array;
  /** NaN: none. */
  readonly eventMs: Float64Array;
  readonly changes: Float64Array;
  readonly family: Uint32Array;
  readonly older: Int32Array;
  readonly texts: Readonly<Record<TextName, TextColumn>>;
};

/** @param like a block that was filled before: the next holds about as much */
export function openBlock(like: Block | null): Block {
  const openText = (name: TextName): TextColumn =>
    openTextColumn(like === null ? FIRST_BYTES : Math.ceil(like.texts[name].end * MARGIN));
  return {
    rows: 0,
    changedMs: new Float64Array(BLOCK_ROWS),
    eventMs: new Float64Array(BLOCK_ROWS),
    changes: new Float64Array(BLOCK_ROWS),
    family: new Uint32Array(BLOCK_ROWS),
    older: new Int32Array(BLOCK_ROWS),
    texts: {
      key: openText("key"),
      seq: openText("seq"),
      id: openText("id"),
      userId: openText("userId"),
      anonymousId: openText("anonymousId"),
      image: openText("image"),
    },
  };
}

function openTextColumn(capacity: number): TextColumn {
  const bytes = Buffer.allocUnsafeSlow(capacity);
  const view = new DataView(bytes.buffer);
  return {
    bytes,
    view,
    starts: new Uint32Array(BLOCK_ROWS),
    end: VALUES_AT,
    present: new Uint8Array(BLOCK_ROWS / 8),
    values: 0,
  };
}

export function emptyBlock(block: Block): void {
  block.rows = 0;
  for (const name of TEXT_NAMES) {
    const column = block.texts[name];
    column.end = VALUES_AT;
    column.present.fill(0);
    column.values = 0;
  }
}

/** Bytes that the block holds on to, whatever is in it. */
export const blockBytes = ({ texts }: Block): number =>
  TEXT_NAMES.reduce((sum, name) => sum + texts[name].bytes.length, 0);

/** Of its texts, levels and lengths included. */
export function textBytes({ texts }: Block): number {
  const { key, seq, id, userId, anonymousId, image } = texts;
  return key.end + seq.end + id.end + userId.end + anonymousId.end + image.end;
}

export const isFull = (block: Block): boolean =>
  block.rows === BLOCK_ROWS || textBytes(block) > BLOCK_TEXT_BYTES;

/** Adds a row of a family; gives its index. Its `older` is for the caller to set. */
export function addRow(block: Block, row: Row, family: number): number {
  const index = block.rows++;
  const { texts } = block;
  block.changedMs[index] = row.changedMs;
  block.eventMs[index] = row.eventMs ?? Number.NaN;
  block.changes[index] = row.changes;
  block.family[index] = family;
  addText(texts.key, index, row.key);
  addSequence(texts.seq, index, row.seq);
  addText(texts.id, index, row.id);
  addText(texts.userId, index, row.userId);
  addText(texts.anonymousId, index, row.anonymousId);
  addText(texts.image, index, row.image);
  return index;
}

function addText(column: TextColumn, index: number, text: string | null): void {
  if (text === null) return;
  makeRoom(column, LENGTH_BYTES + text.length * UTF8_BYTES_MAX);
  const length = column.bytes.write(text, column.end + LENGTH_BYTES);
  column.view.setUint32(column.end, length, true);
  endValue(column, index, LENGTH_BYTES + length);
}

/** Zero-padded, so that the order of the text is that of the numbers. */
function addSequence(column: TextColumn, index: number, digits: string): void {
  makeRoom(column, LENGTH_BYTES + SEQUENCE_DIGITS_MAX);
  const { bytes, end } = column;
  const zeros = SEQUENCE_DIGITS_MAX - digits.length;
  column.view.setUint32(end, SEQUENCE_DIGITS_MAX, true);
  for (let at = 0; at < zeros; at += 1) bytes[end + LENGTH_BYTES + at] = DIGIT_0;
  bytes.write(digits, end + LENGTH_BYTES + zeros);
  endValue(column, index, LENGTH_BYTES + SEQUENCE_DIGITS_MAX);
}

function endValue(column: TextColumn, index: number, bytes: number): void {
  column.starts[index] = column.end;
  column.end += bytes;
  column.present[index >> 3] = (column.present[index >> 3] ?? 0) | (1 << (index & 7));
  column.values += 1;
}

function makeRoom(column: TextColumn, more: number): void {
  const { bytes, end } = column;
  if (end + more <= bytes.length) return;
  column.bytes = Buffer.allocUnsafeSlow(Math.max(end + more, Math.ceil(bytes.length * GROWTH)));
  column.view = new DataView(column.bytes.buffer);
  bytes.copy(column.bytes, 0, 0, end);
}

export const hasText = ({ present }: TextColumn, index: number): boolean =>
  (((present[index >> 3] ?? 0) >> (index & 7)) & 1) === 1;

/** Adds to `to` a copy of a row that stands for so many changes. */
export function copyRow(block: Block, index: number, to: Block, changes: number): void {
  const copy = to.rows++;
  to.changedMs[copy] = block.changedMs[index] ?? 0;
  to.eventMs[copy] = block.eventMs[index] ?? Number.NaN;
  to.changes[copy] = changes;
  to.family[copy] = block.family[index] ?? 0;
  copyText(block.texts.key, index, to.texts.key, copy);
  copyText(block.texts.seq, index, to.texts.seq, copy);
  copyText(block.texts.id, index, to.texts.id, copy);
  copyText(block.texts.userId, index, to.texts.userId, copy);
  copyText(block.texts.anonymousId, index, to.texts.anonymousId, copy);
  copyText(block.texts.image, index, to.texts.image, copy);
}

function copyText(from: TextColumn, index: number, to: TextColumn, copy: number): void {
  if (!hasText(from, index)) return;
  const start = from.starts[index] ?? 0;
  const bytes = LENGTH_BYTES + from.view.getUint32(start, true);
  makeRoom(to, bytes);
  from.bytes.copy(to.bytes, to.end, start, start + bytes);
  endValue(to, copy, bytes);
}
