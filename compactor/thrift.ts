/**
 * Values in Thrift's compact protocol, as far as Parquet's headers and footers need it.
 * Source: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
 */

export type ThriftValue = { readonly type: number; readonly bytes: readonly number[] };

const TRUE = 1;
const FALSE = 2;
const I32 = 5;
const I64 = 6;
const BINARY = 8;
const LIST = 9;
const STRUCT = 12;
const STOP = 0;
/** A longer list has its length after its header. */
const LIST_SHORT_MAX = 14;

/** @param value a safe integer that is not negative */
export function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  bytes.push(rest);
  return bytes;
}

const zigzag = (value: number): number[] => varint(value < 0 ? -2 * value - 1 : 2 * value);

export const bool = (value: boolean): ThriftValue => ({ type: value ? TRUE : FALSE, bytes: [] });
export const i32 = (value: number): ThriftValue => ({ type: I32, bytes: zigzag(value) });
export const i64 = (value: number): ThriftValue => ({ type: I64, bytes: zigzag(value) });
export const binary = (value: Uint8Array): ThriftValue => ({
  type: BINARY,
  bytes: [...varint(value.length), ...value],
});
export const text = (value: string): ThriftValue => binary(new TextEncoder().encode(value));

/** All of one type, and at least one. */
export function list(values: readonly ThriftValue[]): ThriftValue {
  const type = values[0]?.type ?? STOP;
  const head =
    values.length > LIST_SHORT_MAX ? [0xf0 | type, ...varint(values.length)] : [(values.length << 4) | type];
  return { type: LIST, bytes: [...head, ...values.flatMap(({ bytes }) => bytes)] };
}

/** By field number, each at most 15 more than the one before. */
export function struct(fields: Readonly<Record<number, ThriftValue | undefined>>): ThriftValue {
  const bytes: number[] = [];
  let last = 0;
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined) continue;
    const id = Number(name);
    bytes.push(((id - last) << 4) | value.type);
    for (const byte of value.bytes) bytes.push(byte);
    last = id;
  }
  bytes.push(STOP);
  return { type: STRUCT, bytes };
}
