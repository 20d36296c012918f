import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { DuckDB } from "../../shared/duckdb.ts";
import { openDuckDB, sqlText } from "../../shared/duckdb.ts";
import { sequenceColumn } from "../../shared/sequence.ts";
import type { Setsum } from "../../shared/setsum.ts";
import {
  EMPTY_SETSUM,
  SETSUM_DIGEST_SQL,
  SETSUM_HALVES_SQL,
  addSetsum,
  parseSetsum,
  setsumFromHalves,
  setsumOf,
  subtractSetsum,
} from "../../shared/setsum.ts";
import { row, seq } from "../fakes/changes.ts";
import { setsumOfRows } from "../fakes/parquet.ts";

const setsum = fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }).map(setsumOf);

describe("sums form a group", () => {
  test("addition is associative and commutative, with zero and inverses", () => {
    fc.assert(
      fc.property(setsum, setsum, setsum, (a, b, c) => {
        expect(addSetsum(a, b)).toBe(addSetsum(b, a));
        expect(addSetsum(addSetsum(a, b), c)).toBe(addSetsum(a, addSetsum(b, c)));
        expect(addSetsum(a, EMPTY_SETSUM)).toBe(a);
        expect(subtractSetsum(addSetsum(a, b), b)).toBe(a);
      }),
    );
  });

  test("a sum is 32 hex digits, and parses back", () => {
    fc.assert(fc.property(setsum, (a) => parseSetsum(a) === a));
    for (const text of ["", "0", "G".repeat(32), "0".repeat(33)]) expect(parseSetsum(text)).toBeNull();
  });
});

describe("DuckDB's SQL", () => {
  let duckdb: DuckDB;
  beforeAll(async () => {
    duckdb = await openDuckDB({ threads: 1, memoryMaxMB: 64 });
  });
  afterAll(() => duckdb.close());

  async function sqlSum(values: string): Promise<Setsum> {
    const result = await duckdb.connection.runAndReadAll(
      `SELECT ${SETSUM_HALVES_SQL} FROM (SELECT *, ${SETSUM_DIGEST_SQL} AS digest FROM (${values}))`,
    );
    const [[upper, lower]] = result.getRows() as [[string, string]];
    return setsumFromHalves(upper, lower);
  }

  test("gives the sum that its definition gives", async () => {
    const rows = Array.from({ length: 300 }, (_, index) =>
      row({
        shard: `shardId-${index % 7}`,
        seq: seq(10n ** BigInt(index % 39) + BigInt(index) + ""),
        op: (["insert", "update", "delete"] as const)[index % 3] ?? "insert",
        key: JSON.stringify({ pk: `o#shop#users#it's ${index} ü 漢` }),
      }),
    );
    const values = rows.map(
      ({ shard, seq: number, op, key }) =>
        `(${[shard, sequenceColumn(number), op, key].map(sqlText).join(", ")})`,
    );
    expect(await sqlSum(`SELECT * FROM (VALUES ${values.join(", ")}) AS t(shard, seq, op, key)`)).toBe(
      setsumOfRows(rows),
    );
  });

  test("gives zero for no rows", async () => {
    expect(await sqlSum("SELECT '' AS shard, '' AS seq, '' AS op, '' AS key WHERE false")).toBe(EMPTY_SETSUM);
  });
});
