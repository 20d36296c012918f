/**
 * Parquet files of one row group, as bytes: pages, column chunks, footer. Values are encoded where they lie; here
 * they get their levels and headers, and are compressed.
 * Source: https://github.com/apache/parquet-format, `Encodings.md` and `src/main/thrift/parquet.thrift`
 *
 * Laws
 * - Every column is optional, and of a page its values follow its definition levels: so a buffer of values has
 *   `levelsBytesMax` free bytes before them.
 * - All but the first page of a chunk are data pages; the first may be its dictionary.
 */
import type { ZstdOptions } from "node:zlib";
import { constants, zstdCompressSync } from "node:zlib";
import type { ThriftValue } from "./thrift.ts";
import { binary, bool, i32, i64, list, struct, text, varint } from "./thrift.ts";

export type ColumnType = "text" | "long" | "timestamp";
export type Column = { readonly name: string; readonly type: ColumnType };

export type Encoding = keyof typeof ENCODING;
export type Codec = keyof typeof CODEC;

export type Page = {
  readonly header: Uint8Array;
  readonly body: Uint8Array;
  /** Before it was compressed, header included. */
  readonly plainBytes: number;
  readonly encoding: Encoding;
};

export type Chunk = {
  readonly column: Column;
  readonly codec: Codec;
  readonly dictionary: Page | null;
  readonly pages: readonly Page[];
  readonly nulls: number;
  /** As PLAIN has them, a text without its length. */
  readonly bounds: { readonly least: Uint8Array; readonly greatest: Uint8Array } | null;
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
  const run = constant
    ? [...varint(rows * 2), values === 0 ? 0 : 1]
    : varint(Math.ceil(rows / 8) * 2 + 1);
  const bits = constant ? 0 : Math.ceil(rows / 8);
  const start = end - bits - run.length - LEVELS_LENGTH_BYTES;
  new DataView(bytes.buffer, bytes.byteOffset).setUint32(start, run.length + bits, true);
  bytes.set(run, start + LEVELS_LENGTH_BYTES);
  if (!constant) bytes.set(present.subarray(0, bits), end - bits);
  return start;
}

/** @param plain levels and values */
export function dataPage(plain: Uint8Array, rows: number, encoding: Encoding, codec: Codec): Page {
  const header = struct({
    1: i32(rows),
    2: i32(ENCODING[encoding]),
    3: i32(ENCODING.levels),
    4: i32(ENCODING.levels),
  });
  return page(plain, encoding, codec, (sizes) => ({ 1: i32(DATA_PAGE), ...sizes, 5: header }));
}

/** @param plain the values, as PLAIN has them */
export function dictionaryPage(plain: Uint8Array, values: number, codec: Codec): Page {
  const header = struct({ 1: i32(values), 2: i32(ENCODING.plain) });
  return page(plain, "plain", codec, (sizes) => ({ 1: i32(DICTIONARY_PAGE), ...sizes, 7: header }));
}

function page(
  plain: Uint8Array,
  encoding: Encoding,
  codec: Codec,
  headerOf: (sizes: Record<number, ThriftValue>) => Record<number, ThriftValue>,
): Page {
  const body = codec === "zstd" ? compressed(plain) : plain;
  const header = Uint8Array.from(
    struct(headerOf({ 2: i32(plain.length), 3: i32(body.length) })).bytes,
  );
  return { header, body, plainBytes: header.length + plain.length, encoding };
}

/** At zstd's cheapest level. Told the sizes, it compresses in one go, into one buffer: half as dear as otherwise. */
function compressed(plain: Uint8Array): Uint8Array {
  const options: ZstdOptions & { readonly pledgedSrcSize: number } = {
    chunkSize: compressedBytesMax(plain.length),
    pledgedSrcSize: plain.length,
    params: { [constants.ZSTD_c_compressionLevel]: 1 },
  };
  const bytes = zstdCompressSync(plain, options);
  // What zstd gives lies in a buffer of the size it might have come to.
  return Uint8Array.from(bytes);
}

/** `ZSTD_COMPRESSBOUND`: https://github.com/facebook/zstd/blob/dev/lib/zstd.h */
const compressedBytesMax = (bytes: number): number =>
  bytes + (bytes >> 8) + Math.max(0, (128 * 1024 - bytes) >> 11) + 64;

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

/** The whole file. Every chunk has `rows` rows. */
export function encodeFile(chunks: readonly Chunk[], rows: number): Uint8Array {
  const parts: Uint8Array[] = [MAGIC];
  let offset = MAGIC.length;
  const columns: ThriftValue[] = [];
  for (const chunk of chunks) {
    columns.push(struct({ 2: i64(0), 3: chunkMetaData(chunk, rows, offset) }));
    for (const one of pagesOf(chunk)) {
      parts.push(one.header, one.body);
      offset += one.header.length + one.body.length;
    }
  }
  const plainBytes = chunks.flatMap(pagesOf).reduce((sum, one) => sum + one.plainBytes, 0);
  const footer = struct({
    1: i32(1),
    2: list([
      struct({ 4: text("varve"), 5: i32(chunks.length) }),
      ...chunks.map(({ column }) => schemaElement(column)),
    ]),
    3: i64(rows),
    4: list([
      struct({
        1: list(columns),
        2: i64(plainBytes),
        3: i64(rows),
        5: i64(MAGIC.length),
        6: i64(offset - MAGIC.length),
      }),
    ]),
    6: text("varve"),
    // Bounds are by the type's own order: texts byte by byte.
    7: list(chunks.map(() => struct({ 1: struct({}) }))),
  }).bytes;
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, footer.length, true);
  return Buffer.concat([...parts, Uint8Array.from(footer), length, MAGIC]);
}

const pagesOf = ({ dictionary, pages }: Chunk): readonly Page[] =>
  dictionary === null ? pages : [dictionary, ...pages];

const schemaElement = ({ name, type }: Column): ThriftValue =>
  struct({
    1: i32(TYPE[type]),
    3: i32(OPTIONAL),
    4: text(name),
    6: i32(CONVERTED_TYPE[type]),
    10: type === "timestamp" ? TIMESTAMP_LOGICAL_TYPE : undefined,
  });

function chunkMetaData(chunk: Chunk, rows: number, offset: number): ThriftValue {
  const { column, codec, dictionary, nulls, bounds } = chunk;
  const pages = pagesOf(chunk);
  const encodings = new Set(["levels" as const, ...pages.map(({ encoding }) => encoding)]);
  const dictionaryBytes = dictionary === null ? 0 : dictionary.header.length + dictionary.body.length;
  return struct({
    1: i32(TYPE[column.type]),
    2: list([...encodings].map((encoding) => i32(ENCODING[encoding]))),
    3: list([text(column.name)]),
    4: i32(CODEC[codec]),
    5: i64(rows),
    6: i64(pages.reduce((sum, { plainBytes }) => sum + plainBytes, 0)),
    7: i64(pages.reduce((sum, { header, body }) => sum + header.length + body.length, 0)),
    9: i64(offset + dictionaryBytes),
    11: dictionary === null ? undefined : i64(offset),
    12: struct({
      3: i64(nulls),
      5: bounds === null ? undefined : binary(bounds.greatest),
      6: bounds === null ? undefined : binary(bounds.least),
    }),
  });
}
