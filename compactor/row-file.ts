/**
 * Blocks of rows to a file and what the log says of it. The columns are those of PROTOCOL.md, "Rows".
 *
 * Laws
 * - A block's texts make a page each; numbers, and what families share, make one page a row group.
 * - A row group's texts are so few that a reader has room for all of them, however few rows they are of.
 * - The summary is what `summarize` reads out of the file.
 */
import { createHash } from "node:crypto";
import { setsumOf } from "../shared/setsum.ts";
import type { Block, TextColumn, TextName } from "./block.ts";
import { LENGTH_BYTES, VALUES_AT, hasText, textBytes } from "./block.ts";
import { digestSum } from "./digest.ts";
import type { Family } from "./families.ts";
import type { Codec, Column, ColumnBounds, Dictionary, Page, ParquetOutput } from "./parquet.ts";
import {
  addColumn,
  beginFile,
  beginGroup,
  endFile,
  endGroup,
  indexBytes,
  levelsBytesMax,
  openOutput,
  putLevels,
} from "./parquet.ts";
import type { ColumnStats, ParquetFile } from "./summary.ts";
import { STATS_COLUMNS, STATS_TEXT_MAX, statsJson } from "./summary.ts";

type OfTexts = Column & { readonly of: "text"; readonly from: TextName };
type OfFamilies = Column & { readonly of: "family"; readonly from: keyof Family };
type OfNumbers = Column & { readonly of: "number"; readonly from: "changedMs" | "eventMs" | "changes" };

const COLUMNS: readonly (OfTexts | OfFamilies | OfNumbers)[] = [
  { name: "changed_at", type: "timestamp", of: "number", from: "changedMs" },
  { name: "changed_ms", type: "long", of: "number", from: "changedMs" },
  { name: "op", type: "text", of: "family", from: "op" },
  { name: "key", type: "text", of: "text", from: "key" },
  { name: "seq", type: "text", of: "text", from: "seq" },
  { name: "shard", type: "text", of: "family", from: "shard" },
  { name: "changes", type: "long", of: "number", from: "changes" },
  { name: "kind", type: "text", of: "family", from: "kind" },
  { name: "source", type: "text", of: "family", from: "source" },
  { name: "collection", type: "text", of: "family", from: "collection" },
  { name: "id", type: "text", of: "text", from: "id" },
  { name: "user_id", type: "text", of: "text", from: "userId" },
  { name: "anonymous_id", type: "text", of: "text", from: "anonymousId" },
  { name: "event", type: "text", of: "family", from: "event" },
  { name: "event_at", type: "timestamp", of: "number", from: "eventMs" },
  { name: "image", type: "text", of: "text", from: "image" },
];

const GROUP_TEXT_BYTES_MAX = 8 * 1024 ** 2;
/** Dictionaries and indexes of less are hardly smaller compressed. */
const FAMILY_PLAIN_BYTES_MAX = 128 * 1024;
const LONG_BYTES = 8;
/** The years 1 to 9999: what every engine's timestamp holds. */
const EVENT_MS_MIN = -62_135_596_800_000;
const EVENT_MS_MAX = 253_402_300_799_999;

/** Memory for a file, used again for the next: V8 collects garbage for the sake of what is new. */
export type Scratch = { readonly output: ParquetOutput; numbers: Uint8Array };

export const openScratch = (): Scratch => ({ output: openOutput(), numbers: new Uint8Array(0) });

export function encodeRows(
  blocks: readonly Block[],
  families: readonly Family[],
  scratch: Scratch,
): ParquetFile {
  const { output } = scratch;
  const stats = new Map<string, ColumnStats>();
  beginFile(output);
  for (const group of groupsOf(blocks)) {
    for (const [name, own] of encodeGroup(group, families, scratch)) {
      const before = stats.get(name);
      stats.set(name, before === undefined ? own : widest(name, before, own));
    }
  }
  const bytes = endFile(output);
  const rows = rowsIn(blocks);
  return {
    totals: { rows, sum: setsumOf(digestSum(blocks, families)) },
    changes: blocks.reduce((sum, block) => block.changes.subarray(0, block.rows).reduce(add, sum), 0),
    stats: statsJson(
      rows,
      STATS_COLUMNS.map((name) => stats.get(name) ?? NO_STATS),
    ),
    bytes,
    sha256: createHash("sha256").update(bytes).digest("hex"),
  };
}

const rowsIn = (blocks: readonly Block[]): number => blocks.reduce((sum, block) => sum + block.rows, 0);

/** Blocks that make a row group each. */
function groupsOf(blocks: readonly Block[]): Block[][] {
  const groups: Block[][] = [];
  let bytes = Infinity;
  for (const block of blocks) {
    const more = textBytes(block);
    if (bytes + more > GROUP_TEXT_BYTES_MAX) {
      groups.push([]);
      bytes = 0;
    }
    groups.at(-1)?.push(block);
    bytes += more;
  }
  return groups;
}

/** Adds a row group; gives its columns' statistics. */
function encodeGroup(
  blocks: readonly Block[],
  families: readonly Family[],
  scratch: Scratch,
): ReadonlyMap<string, ColumnStats> {
  const { output } = scratch;
  const rows = rowsIn(blocks);
  const kin = kinOf(blocks, families);
  const stats = new Map<string, ColumnStats>();
  beginGroup(output, rows);
  for (const column of COLUMNS) {
    if (column.of === "text") {
      const own = textStats(column, blocks, rows);
      stats.set(column.name, own);
      addColumn(output, column, "zstd", textBounds(own), null, textPages(column.from, blocks));
    } else if (column.of === "number") {
      const { page, values, least, greatest } = numberPage(column, blocks, rows, scratch);
      const nulls = rows - values;
      stats.set(column.name, { least: String(least), greatest: String(greatest), nulls });
      addColumn(output, column, "zstd", numberBounds(column, least, greatest, nulls), null, [page]);
    } else {
      const own = kinStats(kin, column.from);
      stats.set(column.name, own);
      const { dictionary, page, codec } = familyPage(kin, column.from, blocks, rows);
      addColumn(output, column, codec, textBounds(own), dictionary, [page]);
    }
  }
  endGroup(output);
  return stats;
}

function widest(name: string, one: ColumnStats, other: ColumnStats): ColumnStats {
  const isNumber = COLUMNS.some((column) => column.name === name && column.of === "number");
  const order = isNumber
    ? (a: string, b: string) => Number(a) - Number(b)
    : (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b));
  const furthest = (a: string | null, b: string | null, sign: 1 | -1): string | null =>
    a === null || b === null ? (a ?? b) : order(a, b) * sign <= 0 ? a : b;
  return {
    least: furthest(one.least, other.least, 1),
    greatest: furthest(one.greatest, other.greatest, -1),
    nulls: one.nulls + other.nulls,
  };
}

const add = (sum: number, more: number): number => sum + more;
const NO_STATS: ColumnStats = { least: null, greatest: null, nulls: 0 };

function* textPages(name: TextName, blocks: readonly Block[]): Iterable<Page> {
  for (const { texts, rows } of blocks) {
    const { bytes, end, present, values } = texts[name];
    const start = putLevels(bytes, VALUES_AT, rows, values, present);
    yield { plain: bytes.subarray(start, end), rows, encoding: "plain" };
  }
}

function textStats({ name, from }: OfTexts, blocks: readonly Block[], rows: number): ColumnStats {
  const nulls = blocks.reduce((left, { texts }) => left - texts[from].values, rows);
  if (!(STATS_COLUMNS as readonly string[]).includes(name)) return { ...NO_STATS, nulls };
  const bounds: TextBounds = { least: null, greatest: null };
  for (const block of blocks) widen(bounds, block.texts[from], block.rows);
  return { least: bounds.least?.toString() ?? null, greatest: bounds.greatest?.toString() ?? null, nulls };
}

type TextBounds = { least: Buffer | null; greatest: Buffer | null };

function widen(bounds: TextBounds, column: TextColumn, rows: number): void {
  const { bytes, view, starts } = column;
  for (let index = 0; index < rows; index += 1) {
    if (!hasText(column, index)) continue;
    const start = (starts[index] ?? 0) + LENGTH_BYTES;
    const end = start + view.getUint32(start - LENGTH_BYTES, true);
    const { least, greatest } = bounds;
    if (least === null || compare(bytes, start, end, least) < 0)
      bounds.least = Buffer.from(bytes.subarray(start, end));
    if (greatest === null || compare(bytes, start, end, greatest) > 0)
      bounds.greatest = Buffer.from(bytes.subarray(start, end));
  }
}

/** By the order of the bytes. Most texts differ early: a loop is faster than a call. */
function compare(bytes: Uint8Array, start: number, end: number, other: Uint8Array): number {
  const length = Math.min(end - start, other.length);
  for (let at = 0; at < length; at += 1) {
    const difference = (bytes[start + at] ?? 0) - (other[at] ?? 0);
    if (difference !== 0) return difference;
  }
  return end - start - other.length;
}

function textBounds({ least, greatest, nulls }: ColumnStats): ColumnBounds {
  if (least === null || greatest === null) return { nulls, bounds: null };
  if (least.length > STATS_TEXT_MAX || greatest.length > STATS_TEXT_MAX) return { nulls, bounds: null };
  return { nulls, bounds: { least: Buffer.from(least), greatest: Buffer.from(greatest) } };
}

type NumberPage = {
  readonly page: Page;
  readonly values: number;
  readonly least: number;
  readonly greatest: number;
};

function numberPage(column: OfNumbers, blocks: readonly Block[], rows: number, scratch: Scratch): NumberPage {
  const valuesAt = levelsBytesMax(rows);
  const bytesMax = valuesAt + LONG_BYTES * rows;
  if (scratch.numbers.length < bytesMax) scratch.numbers = new Uint8Array(bytesMax);
  const bytes = scratch.numbers;
  const to = {
    view: new DataView(bytes.buffer),
    end: valuesAt,
    row: 0,
    present: new Uint8Array(Math.ceil(rows / 8)),
    least: Infinity,
    greatest: -Infinity,
  };
  for (const block of blocks) putNumbers(to, column, block[column.from], block.rows);
  const { end, present, least, greatest } = to;
  const values = (end - valuesAt) / LONG_BYTES;
  const start = putLevels(bytes, valuesAt, rows, values, present);
  return { page: { plain: bytes.subarray(start, end), rows, encoding: "plain" }, values, least, greatest };
}

type NumbersTo = {
  readonly view: DataView;
  end: number;
  row: number;
  readonly present: Uint8Array;
  least: number;
  greatest: number;
};

function putNumbers(to: NumbersTo, { type, from }: OfNumbers, numbers: Float64Array, rows: number): void {
  const { view, present } = to;
  let { end, row, least, greatest } = to;
  for (let index = 0; index < rows; index += 1, row += 1) {
    const value = numbers[index] ?? Number.NaN;
    // NaN, for none, is no time either.
    if (from === "eventMs" && !isTime(value)) continue;
    if (type === "timestamp") putMicroseconds(view, end, value);
    else putLong(view, end, value);
    end += LONG_BYTES;
    present[row >> 3] = (present[row >> 3] ?? 0) | (1 << (row & 7));
    if (value < least) least = value;
    if (value > greatest) greatest = value;
  }
  Object.assign(to, { end, row, least, greatest });
}

const isTime = (ms: number): boolean => Number.isInteger(ms) && ms >= EVENT_MS_MIN && ms <= EVENT_MS_MAX;

function putLong(view: DataView, at: number, value: number): void {
  view.setInt32(at, value | 0, true);
  view.setInt32(at + 4, Math.floor(value / 2 ** 32), true);
}

/** Microseconds of a far time are more than a double holds: so the halves are multiplied one by one. */
function putMicroseconds(view: DataView, at: number, ms: number): void {
  const upper = Math.floor(ms / 2 ** 32);
  const lower = (ms - upper * 2 ** 32) * 1000;
  view.setInt32(at, lower | 0, true);
  view.setInt32(at + 4, upper * 1000 + Math.floor(lower / 2 ** 32), true);
}

function numberBounds({ type }: OfNumbers, least: number, greatest: number, nulls: number): ColumnBounds {
  const bound = (value: number): Uint8Array => {
    const view = new DataView(new ArrayBuffer(LONG_BYTES));
    if (type === "timestamp") putMicroseconds(view, 0, value);
    else putLong(view, 0, value);
    return new Uint8Array(view.buffer);
  };
  return { nulls, bounds: least > greatest ? null : { least: bound(least), greatest: bound(greatest) } };
}

/** A family that has rows. */
type Kin = { readonly family: Family; readonly number: number; readonly rows: number };

function kinOf(blocks: readonly Block[], families: readonly Family[]): Kin[] {
  const rowsOf = new Uint32Array(families.length);
  for (const block of blocks) {
    for (let index = 0; index < block.rows; index += 1) {
      const number = block.family[index] ?? 0;
      rowsOf[number] = (rowsOf[number] ?? 0) + 1;
    }
  }
  return families.flatMap((family, number) => {
    const rows = rowsOf[number] ?? 0;
    return rows === 0 ? [] : [{ family, number, rows }];
  });
}

function kinStats(kin: readonly Kin[], from: keyof Family): ColumnStats {
  const nulls = kin.reduce((sum, { family, rows }) => (family[from] === null ? sum + rows : sum), 0);
  const bounds: TextBounds = { least: null, greatest: null };
  for (const text of new Set(kin.flatMap(({ family }) => family[from] ?? []))) {
    const bytes = Buffer.from(text);
    if (bounds.least === null || Buffer.compare(bytes, bounds.least) < 0) bounds.least = bytes;
    if (bounds.greatest === null || Buffer.compare(bytes, bounds.greatest) > 0) bounds.greatest = bytes;
  }
  return { least: bounds.least?.toString() ?? null, greatest: bounds.greatest?.toString() ?? null, nulls };
}

type FamilyPage = { readonly dictionary: Dictionary | null; readonly page: Page; readonly codec: Codec };

function familyPage(
  kin: readonly Kin[],
  from: keyof Family,
  blocks: readonly Block[],
  rows: number,
): FamilyPage {
  const indexes = new Map<string | null, number>();
  for (const { family } of kin)
    if (family[from] !== null && !indexes.has(family[from])) indexes.set(family[from], indexes.size);
  const indexOf = new Int32Array((kin.at(-1)?.number ?? 0) + 1);
  for (const { family, number } of kin) indexOf[number] = indexes.get(family[from]) ?? -1;

  const values = new Uint32Array(rows);
  const present = new Uint8Array(Math.ceil(rows / 8));
  let [row, count] = [0, 0];
  for (const block of blocks) {
    for (let at = 0; at < block.rows; at += 1, row += 1) {
      const index = indexOf[block.family[at] ?? 0] ?? -1;
      if (index < 0) continue;
      values[count++] = index;
      present[row >> 3] = (present[row >> 3] ?? 0) | (1 << (row & 7));
    }
  }
  const space = new Uint8Array(levelsBytesMax(rows));
  const levels = space.subarray(putLevels(space, space.length, rows, count, present));
  // Not every reader takes a dictionary without values.
  if (count === 0)
    return { dictionary: null, page: { plain: levels, rows, encoding: "plain" }, codec: "none" };
  const texts = Buffer.concat([...indexes.keys()].flatMap((text) => plainText(text ?? "")));
  const plain = Buffer.concat([levels, indexBytes(values.subarray(0, count), indexes.size)]);
  return {
    dictionary: { plain: texts, values: indexes.size },
    page: { plain, rows, encoding: "indexes" },
    codec: texts.length + plain.length > FAMILY_PLAIN_BYTES_MAX ? "zstd" : "none",
  };
}

function plainText(text: string): Uint8Array[] {
  const bytes = Buffer.from(text);
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeUInt32LE(bytes.length);
  return [length, bytes];
}
