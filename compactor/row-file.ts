/**
 * One file of rows as it is made: blocks go in, and out come the Parquet file and what the log says of it, set checksum
 * included. The columns are those of PROTOCOL.md, "Rows".
 *
 * Laws
 * - A block's texts make a page each; numbers and what families share make one page a file.
 * - The summary is what `summarize` reads out of the file.
 */
import { createHash, hash } from "node:crypto";
import { SEQUENCE_DIGITS_MAX } from "../shared/sequence.ts";
import { setsumOf } from "../shared/setsum.ts";
import type { Block, TextColumn, TextName } from "./block.ts";
import { LENGTH_BYTES, TEXT_NAMES, VALUES_AT, hasText } from "./block.ts";
import type { Family } from "./families.ts";
import type { Chunk, Codec, Column, Page } from "./parquet.ts";
import { dataPage, dictionaryPage, encodeFile, indexBytes, levelsBytesMax, putLevels } from "./parquet.ts";
import type { ColumnStats, ParquetFile } from "./summary.ts";
import { STATS_COLUMNS, STATS_TEXT_MAX, statsJson } from "./summary.ts";

export type RowFile = {
  /** Takes all rows of a block, which may then be emptied. */
  readonly take: (block: Block) => void;
  readonly finish: () => ParquetFile;
};

type ColumnOf =
  | (Column & { readonly of: "text"; readonly from: TextName })
  | (Column & { readonly of: "family"; readonly from: keyof Family })
  | (Column & { readonly of: "number"; readonly from: "changedMs" | "eventMs" | "changes" });

const COLUMNS: readonly ColumnOf[] = [
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

/** Dictionaries and indexes of less are hardly smaller compressed, and every reader is faster without. */
const FAMILY_PLAIN_BYTES_MAX = 128 * 1024;
const LONG_BYTES = 8;
/** The years 1 to 9999: what every engine's timestamp holds. */
const EVENT_MS_MIN = -62_135_596_800_000;
const EVENT_MS_MAX = 253_402_300_799_999;

/** @param rowsMax of all blocks together */
export function openRowFile(families: readonly Family[], rowsMax: number): RowFile {
  const family = new Uint32Array(rowsMax);
  const numbers = new Map(
    COLUMNS.flatMap((column) => (column.of === "number" ? [[column.name, openNumbers(rowsMax)]] : [])),
  );
  const texts = new Map(TEXT_NAMES.map((name) => [name, { pages: [] as Page[], nulls: 0 }]));
  const digests = openDigests(families);
  const ids = openBounds();
  let [rows, changes, least, greatest] = [0, 0, Infinity, -Infinity];

  const chunkOf = (column: ColumnOf): Chunk => {
    if (column.of === "number") return numberChunk(column, numbers.get(column.name), rows, [least, greatest]);
    if (column.of === "family")
      return familyChunk(column, families, family.subarray(0, rows), ({ [column.from]: value }) => value);
    const { pages, nulls } = texts.get(column.from) ?? { pages: [], nulls: 0 };
    const bounds = column.name === "id" ? boundsOf(ids.stats()) : null;
    return { column, codec: "zstd", dictionary: null, pages, nulls, bounds };
  };
  const statsOf = (name: (typeof STATS_COLUMNS)[number]): ColumnStats => {
    if (name === "id") return { ...ids.stats(), nulls: texts.get("id")?.nulls ?? 0 };
    if (name === "changed_ms") return { least: String(least), greatest: String(greatest), nulls: 0 };
    return familyStats(families, family.subarray(0, rows), ({ [name]: value }) => value);
  };

  return {
    take: (block) => {
      family.set(block.family.subarray(0, block.rows), rows);
      for (const column of COLUMNS) {
        if (column.of !== "number") continue;
        const into = numbers.get(column.name);
        if (into !== undefined) addNumbers(into, column, block, rows);
      }
      for (const [name, text] of texts) {
        text.pages.push(textPage(block.texts[name], block.rows));
        text.nulls += block.rows - block.texts[name].values;
      }
      for (let index = 0; index < block.rows; index += 1) {
        const changedMs = block.changedMs[index] ?? 0;
        if (changedMs < least) least = changedMs;
        if (changedMs > greatest) greatest = changedMs;
        changes += block.changes[index] ?? 0;
      }
      digests.add(block);
      ids.add(block.texts.id, block.rows);
      rows += block.rows;
    },
    finish: () => {
      const bytes = encodeFile(COLUMNS.map(chunkOf), rows);
      return {
        totals: { rows, sum: setsumOf(digests.sum()) },
        changes,
        stats: statsJson(rows, STATS_COLUMNS.map(statsOf)),
        bytes,
        sha256: createHash("sha256").update(bytes).digest("hex"),
      };
    },
  };
}

function textPage({ bytes, end, present, values }: TextColumn, rows: number): Page {
  const start = putLevels(bytes, VALUES_AT, rows, values, present);
  return dataPage(bytes.subarray(start, end), rows, "plain", "zstd");
}

type Numbers = {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly valuesAt: number;
  readonly present: Uint8Array;
  values: number;
};

function openNumbers(rowsMax: number): Numbers {
  const valuesAt = levelsBytesMax(rowsMax);
  const bytes = new Uint8Array(valuesAt + LONG_BYTES * rowsMax);
  const present = new Uint8Array(Math.ceil(rowsMax / 8));
  return { bytes, view: new DataView(bytes.buffer), valuesAt, present, values: 0 };
}

function addNumbers(into: Numbers, { type, from }: ColumnOf & { of: "number" }, block: Block, rows: number): void {
  const { view, valuesAt, present } = into;
  const source = block[from];
  let { values } = into;
  for (let index = 0; index < block.rows; index += 1) {
    const value = source[index] ?? 0;
    // NaN, for none, is in no range either.
    if (from === "eventMs" && !isTime(value)) continue;
    const at = valuesAt + LONG_BYTES * values;
    if (type === "timestamp") putMicroseconds(view, at, value);
    else putLong(view, at, value);
    const row = rows + index;
    present[row >> 3] = (present[row >> 3] ?? 0) | (1 << (row & 7));
    values += 1;
  }
  into.values = values;
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

function numberChunk(
  column: ColumnOf & { of: "number" },
  numbers: Numbers | undefined,
  rows: number,
  changedMs: readonly [number, number],
): Chunk {
  if (numbers === undefined) throw new Error(`${column.name} has no numbers`);
  const { bytes, valuesAt, present, values } = numbers;
  const start = putLevels(bytes, valuesAt, rows, values, present);
  const plain = bytes.subarray(start, valuesAt + LONG_BYTES * values);
  const bound = (ms: number): Uint8Array => {
    const view = new DataView(new ArrayBuffer(LONG_BYTES));
    if (column.type === "timestamp") putMicroseconds(view, 0, ms);
    else putLong(view, 0, ms);
    return new Uint8Array(view.buffer);
  };
  const bounds =
    column.from === "changedMs" ? { least: bound(changedMs[0]), greatest: bound(changedMs[1]) } : null;
  const pages = [dataPage(plain, rows, "plain", "zstd")];
  return { column, codec: "zstd", dictionary: null, pages, nulls: rows - values, bounds };
}

type TextOf = (family: Family) => string | null;

function familyChunk(column: Column, families: readonly Family[], family: Uint32Array, textOf: TextOf): Chunk {
  const rows = family.length;
  const { indexOf, texts } = dictionaryOf(families, family, textOf);
  const indexes = new Uint32Array(rows);
  const present = new Uint8Array(Math.ceil(rows / 8));
  let values = 0;
  for (let row = 0; row < rows; row += 1) {
    const index = indexOf[family[row] ?? 0] ?? -1;
    if (index < 0) continue;
    indexes[values++] = index;
    present[row >> 3] = (present[row >> 3] ?? 0) | (1 << (row & 7));
  }
  const levels = new Uint8Array(levelsBytesMax(rows));
  const start = putLevels(levels, levels.length, rows, values, present);
  const nulls = rows - values;
  const bounds = boundsOf(familyStats(families, family, textOf));
  if (values === 0) {
    const pages = [dataPage(levels.subarray(start), rows, "plain", "none")];
    return { column, codec: "none", dictionary: null, pages, nulls, bounds };
  }
  const dictionary = Buffer.concat(texts.flatMap(plainText));
  const body = Buffer.concat([levels.subarray(start), indexBytes(indexes.subarray(0, values), texts.length)]);
  const codec: Codec = dictionary.length + body.length > FAMILY_PLAIN_BYTES_MAX ? "zstd" : "none";
  return {
    column,
    codec,
    dictionary: dictionaryPage(dictionary, texts.length, codec),
    pages: [dataPage(body, rows, "indexes", codec)],
    nulls,
    bounds,
  };
}

/** `indexOf` a family; -1 where its text is null. Only of families that have rows. */
function dictionaryOf(
  families: readonly Family[],
  family: Uint32Array,
  textOf: TextOf,
): { readonly indexOf: Int32Array; readonly texts: readonly string[] } {
  const indexOf = new Int32Array(families.length).fill(-1);
  const indexes = new Map<string, number>();
  for (const number of membersOf(families, family)) {
    const text = textOf(families[number] as Family);
    if (text === null) continue;
    const index = indexes.get(text) ?? indexes.size;
    indexes.set(text, index);
    indexOf[number] = index;
  }
  return { indexOf, texts: [...indexes.keys()] };
}

/** The families that have rows. */
function membersOf(families: readonly Family[], family: Uint32Array): number[] {
  const isIn = new Uint8Array(families.length);
  for (const number of family) isIn[number] = 1;
  return [...isIn.keys()].filter((number) => isIn[number] === 1);
}

function familyStats(families: readonly Family[], family: Uint32Array, textOf: TextOf): ColumnStats {
  const isNull = families.map((one) => (textOf(one) === null ? 1 : 0));
  let nulls = 0;
  for (const number of family) nulls += isNull[number] ?? 0;
  const { texts } = dictionaryOf(families, family, textOf);
  const sorted = texts.map((text) => Buffer.from(text)).toSorted(Buffer.compare);
  return { least: sorted[0]?.toString() ?? null, greatest: sorted.at(-1)?.toString() ?? null, nulls };
}

function plainText(text: string): Uint8Array[] {
  const bytes = Buffer.from(text);
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeUInt32LE(bytes.length);
  return [length, bytes];
}

function boundsOf({ least, greatest }: Omit<ColumnStats, "nulls">): Chunk["bounds"] {
  if (least === null || greatest === null) return null;
  if (least.length > STATS_TEXT_MAX || greatest.length > STATS_TEXT_MAX) return null;
  return { least: Buffer.from(least), greatest: Buffer.from(greatest) };
}

/** The least and the greatest text of a column. */
function openBounds() {
  let least: Buffer | null = null;
  let greatest: Buffer | null = null;
  return {
    add: (column: TextColumn, rows: number): void => {
      const { bytes, view } = column;
      let at = VALUES_AT;
      for (let index = 0; index < rows; index += 1) {
        if (!hasText(column, index)) continue;
        const start = at + LENGTH_BYTES;
        at = start + view.getUint32(at, true);
        if (least === null || compare(bytes, start, at, least) < 0) least = Buffer.from(bytes.subarray(start, at));
        if (greatest === null || compare(bytes, start, at, greatest) > 0)
          greatest = Buffer.from(bytes.subarray(start, at));
      }
    },
    stats: () => ({ least: least?.toString() ?? null, greatest: greatest?.toString() ?? null }),
  };
}

function compare(bytes: Uint8Array, start: number, end: number, other: Uint8Array): number {
  const length = Math.min(end - start, other.length);
  for (let at = 0; at < length; at += 1) {
    const difference = (bytes[start + at] ?? 0) - (other[at] ?? 0);
    if (difference !== 0) return difference;
  }
  return end - start - other.length;
}

const SEPARATOR = 0x7c;
const MESSAGE_FIRST_BYTES = 4096;
const WORDS = 4;
const SEQUENCE_BYTES = LENGTH_BYTES + SEQUENCE_DIGITS_MAX;

/** The set checksum's sum, see shared/setsum.ts. */
function openDigests(families: readonly Family[]) {
  let message = Buffer.allocUnsafeSlow(MESSAGE_FIRST_BYTES);
  /** Of each 32 bits their sum: doubles hold that of a block. */
  const words = new Float64Array(WORDS);
  let sum = 0n;
  let [shard, shardEnd] = ["", 0];

  const begin = (of: string): void => {
    shard = of;
    shardEnd = message.write(`${of}|`);
  };
  const addMessage = (bytes: number): void => {
    const digest = hash("md5", message.subarray(0, bytes), "binary");
    for (let word = 0; word < WORDS; word += 1)
      words[word] = (words[word] ?? 0) + wordAt(digest, 4 * word);
  };

  return {
    add: (block: Block): void => {
      const { key, seq } = block.texts;
      let keyAt = VALUES_AT;
      for (let index = 0; index < block.rows; index += 1) {
        const { shard: of, op } = families[block.family[index] ?? 0] as Family;
        const keyEnd = keyAt + LENGTH_BYTES + key.view.getUint32(keyAt, true);
        if (message.length < of.length * 3 + keyEnd - keyAt + MESSAGE_FIRST_BYTES / 2) {
          message = Buffer.allocUnsafeSlow(2 * message.length + of.length * 3 + keyEnd - keyAt);
          begin(of);
        }
        if (of !== shard || shardEnd === 0) begin(of);
        const seqAt = VALUES_AT + SEQUENCE_BYTES * index + LENGTH_BYTES;
        let end = copyBytes(seq.bytes, seqAt, seqAt + SEQUENCE_DIGITS_MAX, message, shardEnd);
        message[end++] = SEPARATOR;
        for (let at = 0; at < op.length; at += 1) message[end++] = op.charCodeAt(at);
        message[end++] = SEPARATOR;
        addMessage(copyBytes(key.bytes, keyAt + LENGTH_BYTES, keyEnd, message, end));
        keyAt = keyEnd;
      }
      words.forEach((word, index) => (sum += BigInt(word) << BigInt(32 * index)));
      words.fill(0);
    },
    sum: () => sum,
  };
}

const wordAt = (latin1: string, at: number): number =>
  (latin1.charCodeAt(at) |
    (latin1.charCodeAt(at + 1) << 8) |
    (latin1.charCodeAt(at + 2) << 16) |
    (latin1.charCodeAt(at + 3) << 24)) >>>
  0;

/** For so few bytes a loop is faster than a call. Gives where they end. */
function copyBytes(from: Uint8Array, start: number, end: number, to: Uint8Array, at: number): number {
  for (let index = start; index < end; index += 1) to[at + index - start] = from[index] ?? 0;
  return at + end - start;
}
