/**
 * The set checksum: an order-independent sum over rows, so that "all rows ever committed = live +
 * superseded + expired + forgotten" can be checked without keeping the rows.
 *
 * sum = Σ MD5(`shard|seq|op|key`), each digest read as a 128-bit integer, modulo 2^128; 32 hex digits.
 * A row lost, repeated or moved to another key shows; it guards against faults, not against forgers.
 * MD5 because every engine that reads the files has it built in: anyone can recompute the sum in SQL.
 */
declare const brand: unique symbol;
export type Setsum = string & { readonly [brand]: "Setsum" };

const MODULUS = 1n << 128n;

export const EMPTY_SETSUM = "0".repeat(32) as Setsum;

export function parseSetsum(text: string): Setsum | null {
  return /^[0-9a-f]{32}$/.test(text) ? (text as Setsum) : null;
}

export function setsumOf(sum: bigint): Setsum {
  return (((sum % MODULUS) + MODULUS) % MODULUS).toString(16).padStart(32, "0") as Setsum;
}

export const addSetsum = (a: Setsum, b: Setsum): Setsum => setsumOf(BigInt(`0x${a}`) + BigInt(`0x${b}`));
export const subtractSetsum = (a: Setsum, b: Setsum): Setsum => setsumOf(BigInt(`0x${a}`) - BigInt(`0x${b}`));

/**
 * DuckDB's expression for the sum over a relation with the row columns. It gives two HUGEINTs,
 * the sums of the digests' upper and lower halves; `setsumFromHalves` joins them.
 * (DuckDB's md5_number reads the digest as a little-endian integer, halves included.)
 */
export const SETSUM_DIGEST_SQL = "md5_number(concat_ws('|', shard, seq, op, key))";
export const SETSUM_HALVES_SQL =
  "coalesce(sum((digest >> 64)::HUGEINT), 0)::VARCHAR AS sum_upper, coalesce(sum((digest & 18446744073709551615::UHUGEINT)::HUGEINT), 0)::VARCHAR AS sum_lower";

export const setsumFromHalves = (upper: string, lower: string): Setsum =>
  setsumOf((BigInt(upper) << 64n) + BigInt(lower));
