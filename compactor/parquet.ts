/**
 * Parquet files, as bytes: pages, column chunks, row groups, footer. Values are encoded where they lie; here
 * they get their levels and headers, and are compressed into the file one after the other.
 * Source: https://github.com/apache/parquet-format, `Encodings.md` and `src/main/thrift/parquet.thrift`
 *
 * Laws
 * - Every column is optional, and of a page its values follow its definition levels: so a buffer of values has
 *   `levelsBytesMax` free bytes before them.
 * - All but the first page of a chunk are data pages; the first may be its dictionary.
 * - Every row group has the same columns, and every column all of the group's rows.
 */
import { constants, zstdCompressSync } from "node:zlib";
import type { ThriftValue } from "./thrift.ts";
import { binary, bool, i32, i64, list, struct, text, varint } from "./thrift.ts";

export type ColumnType = "text" | "long" | "timestamp";
export type Column = { readonly name: string; readonly type: ColumnType };
export type Codec = keyof typeof CODEC;

/** As it is before it is compressed. */
export type Page = {
  /** Levels and values. */
  readonly plain: Uint8Array;
  /** Nulls included. */
  readonly rows: number;
  readonly encoding: "plain" | "indexes";
};

export type Dictionary = {
  /** As PLAIN has them. */
  readonly plain: Uint8Array;
  readonly values: number;
};

export type ColumnBounds = {
  readonly nulls: number;
  /** As PLAIN has them, a text without its length. */
  readonly bounds: { readonly least: Uint8Array; readonly greatest: Uint8Array } | null;
};

/** A file as far as it has come. Its memory is used again for the next one. */
export type ParquetOutput = {
  bytes: Buffer;
  end: number;
  rows: number;
  readonly groups: ThriftValue[];
  readonly group: {
    start: number;
    rows: number;
    plainBytes: number;
    columns: Column[];
    chunks: ThriftValue[];
  };
};

const TYPE = { text: 6, long: 2, timestamp: 2 } as const;
const CONVERTED_TYPE = { text: 0, long: 18, timestamp: 10 } as const;
const ENCODING = { plain: 0, levels: 3, indexes: 8 } as const;
const CODEC = { none: 0, zstd: 6 } as const;
const DATA_PAGE = 0;
const DICTIONARY_PAGE = 2;
const OPTIONAL = 1;
const MAGIC = new TextEncoder().encode("PAR1");

/** A timestamp in UTC, in microseconds. */
const TIMESTAMP_LOGICAL_TYPE = struct({ 8: struct({ 1: bool(true), 2: struct({ 2: struct({}) }) }) });

const LEVELS_LENGTH_BYTES = 4;
const RUN_BYTES_MAX = 8;
const GROWTH = 1.25;
/** Of its bytes, what a column's first page should come to; and how much more than one page the next. */
const SHARE = 1 / 5;
const MARGIN = 1.1;
const COMPRESSED_BYTES_MIN = 1024;

/** Room for the definition levels of so many rows. */
export const levelsBytesMax = (rows: number): number =>
  LEVELS_LENGTH_BYTES + RUN_BYTES_MAX + Math.ceil(rows / 8);

/**
 * Puts the definition levels of `rows` rows right before `end`; gives where they begin.
 * @param present a bit a row, the lowest first: whether it has a value
 */
export function putLevels(
  bytes: Uint8Array,
  end: number,
  rows: number,
  values: number,
  present: Uint8Array,
): number {
  const constant = values === rows || values === 0;
  const run = constant ? [...varint(rows * 2), values === 0 ? 0 : 1] : varint(Math.ceil(rows / 8) * 2 + 1);
  const bits = constant ? 0 : Math.ceil(rows / 8);
  const start = end - bits - run.length - LEVELS_LENGTH_BYTES;
  new DataView(bytes.buffer, bytes.byteOffset).setUint32(start, run.length + bits, true);
  bytes.set(run, start + LEVELS_LENGTH_BYTES);
  if (!constant) bytes.set(present.subarray(0, bits), end - bits);
  return start;
}

/**
 * At zstd's cheapest level.
 * @param bytesMax what it should come to. It comes in buffers of that size: a second one costs time, and one that is
 * much too large makes V8 collect garbage.
 */
const compressed = (plain: Uint8Array, bytesMax: number): Uint8Array =>
  zstdCompressSync(plain, {
    chunkSize: Math.max(COMPRESSED_BYTES_MIN, bytesMax),
    params: { [constants.ZSTD_c_compressionLevel]: 1 },
  });

/**
 * Dictionary indexes as a page has them, without levels: one run when all are equal, and their bits otherwise.
 * @param dictionarySize less than 2^24
 */
export function indexBytes(indexes: Uint32Array, dictionarySize: number): Uint8Array {
  const width = Math.max(1, 32 - Math.clz32(dictionarySize - 1));
  const first = indexes[0] ?? 0;
  if (indexes.every((index) => index === first)) {
    const value = Array.from({ length: Math.ceil(width / 8) }, (_, byte) => (first >>> (8 * byte)) & 0xff);
    return Uint8Array.from([width, ...varint(indexes.length * 2), ...value]);
  }
  const groups = Math.ceil(indexes.length / 8);
  const head = [width, ...varint(groups * 2 + 1)];
  const bytes = new Uint8Array(head.length + groups * width);
  bytes.set(head);
  let [at, held, bits] = [head.length, 0, 0];
  for (const index of indexes) {
    held |= index << bits;
    for (bits += width; bits >= 8; bits -= 8) {
      bytes[at++] = held;
      held >>>= 8;
    }
  }
  if (bits > 0) bytes[at] = held;
  return bytes;
}

export const openOutput = (): ParquetOutput => ({
  bytes: Buffer.allocUnsafeSlow(0),
  end: 0,
  rows: 0,
  groups: [],
  group: { start: 0, rows: 0, plainBytes: 0, columns: [], chunks: [] },
});

/** Begins a file; forgets the one before. */
export function beginFile(output: ParquetOutput): void {
  output.end = 0;
  output.rows = 0;
  output.groups.length = 0;
  append(output, MAGIC);
}

/** Begins a row group of so many rows. */
export function beginGroup({ group, end }: ParquetOutput, rows: number): void {
  Object.assign(group, { start: end, rows, plainBytes: 0, columns: [], chunks: [] });
}

export function endGroup(output: ParquetOutput): void {
  const { start, rows, plainBytes, chunks } = output.group;
  output.rows += rows;
  output.groups.push(
    struct({
      1: list(chunks),
      2: i64(plainBytes),
      3: i64(rows),
      5: i64(start),
      6: i64(output.end - start),
    }),
  );
}

/** Adds the group's next column, all of it. */
export function addColumn(
  output: ParquetOutput,
  column: Column,
  codec: Codec,
  { nulls, bounds }: ColumnBounds,
  dictionary: Dictionary | null,
  pages: Iterable<Page>,
): void {
  const { group } = output;
  const start = output.end;
  const before = group.plainBytes;
  const encodings = new Set<keyof typeof ENCODING>(["levels"]);
  if (dictionary !== null) {
    const header = struct({ 1: i32(dictionary.values), 2: i32(ENCODING.plain) });
    encodings.add("plain");
    addPage(output, dictionary.plain, codec, DICTIONARY_PAGE, { 7: header }, SHARE);
  }
  const dataStart = output.end;
  let rows = 0;
  let share = SHARE;
  for (const page of pages) {
    const header = struct({
      1: i32(page.rows),
      2: i32(ENCODING[page.encoding]),
      3: i32(ENCODING.levels),
      4: i32(ENCODING.levels),
    });
    encodings.add(page.encoding);
    share = MARGIN * addPage(output, page.plain, codec, DATA_PAGE, { 5: header }, share);
    rows += page.rows;
  }
  if (rows !== group.rows) throw new Error(`${column.name} has ${rows} rows of ${group.rows}`);
  const metaData = struct({
    1: i32(TYPE[column.type]),
    2: list([...encodings].map((encoding) => i32(ENCODING[encoding]))),
    3: list([text(column.name)]),
    4: i32(CODEC[codec]),
    5: i64(rows),
    6: i64(group.plainBytes - before),
    7: i64(output.end - start),
    9: i64(dataStart),
    11: dictionary === null ? undefined : i64(start),
    12: struct({
      3: i64(nulls),
      5: bounds === null ? undefined : binary(bounds.greatest),
      6: bounds === null ? undefined : binary(bounds.least),
    }),
  });
  group.columns.push(column);
  group.chunks.push(struct({ 2: i64(0), 3: metaData }));
}

/** Gives what share of its bytes the page came to. @param share what it should come to */
function addPage(
  output: ParquetOutput,
  plain: Uint8Array,
  codec: Codec,
  type: number,
  headerOfType: Readonly<Record<number, ThriftValue>>,
  share: number,
): number {
  const body = codec === "zstd" ? compressed(plain, Math.ceil(plain.length * share)) : plain;
  const header = struct({ 1: i32(type), 2: i32(plain.length), 3: i32(body.length), ...headerOfType }).bytes;
  append(output, header);
  append(output, body);
  output.group.plainBytes += header.length + plain.length;
  return body.length / plain.length;
}

/** The whole file, in memory of its own. */
export function endFile(output: ParquetOutput): Uint8Array {
  const { rows, groups } = output;
  const { columns } = output.group;
  const footer = struct({
    1: i32(1),
    2: list([struct({ 4: text("varve"), 5: i32(columns.length) }), ...columns.map(schemaElement)]),
    3: i64(rows),
    4: list(groups),
    6: text("varve"),
    // Bounds are by the type's own order: texts byte by byte.
    7: list(columns.map(() => struct({ 1: struct({}) }))),
  }).bytes;
  append(output, footer);
  append(output, int32(footer.length));
  append(output, MAGIC);
  return new Uint8Array(output.bytes.subarray(0, output.end));
}

const schemaElement = ({ name, type }: Column): ThriftValue =>
  struct({
    1: i32(TYPE[type]),
    3: i32(OPTIONAL),
    4: text(name),
    6: i32(CONVERTED_TYPE[type]),
    10: type === "timestamp" ? TIMESTAMP_LOGICAL_TYPE : undefined,
  });

function int32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

function append(output: ParquetOutput, bytes: ArrayLike<number>): void {
  const end = output.end + bytes.length;
  if (end > output.bytes.length) {
    const grown = Buffer.allocUnsafeSlow(Math.max(end, Math.ceil(output.bytes.length * GROWTH)));
    output.bytes.copy(grown, 0, 0, output.end);
    output.bytes = grown;
  }
  output.bytes.set(bytes, output.end);
  output.end = end;
}
