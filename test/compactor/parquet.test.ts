import { afterAll, beforeAll, expect, test } from "vitest";
import type { ParquetWriter } from "../../compactor/parquet.ts";
import { openParquetWriter } from "../../compactor/parquet.ts";
import type { DuckDB } from "../../shared/duckdb.ts";
import { openDuckDB, sqlText } from "../../shared/duckdb.ts";
import type { Row } from "../../shared/row.ts";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { T0, row, seq } from "../fakes/changes.ts";
import { setsumOfRows } from "../fakes/parquet.ts";

let writer: ParquetWriter;
let duckdb: DuckDB;
let dir: string;
beforeAll(async () => {
  writer = await openParquetWriter(128);
  duckdb = await openDuckDB({ threads: 1, memoryMaxMB: 128 });
  dir = await mkdtemp(join(tmpdir(), "varve-test-"));
});
afterAll(async () => {
  await writer.close();
  duckdb.close();
  await rm(dir, { recursive: true, force: true });
});

const WINDOW_MS = 300_000;

async function written(rows: readonly Row[]) {
  const stage = await writer.stage();
  for (const one of rows) stage.add(one);
  const file = await stage.write(T0, T0 + WINDOW_MS);
  await stage.close();
  return file;
}

async function readBack(bytes: Uint8Array): Promise<Record<string, unknown>[]> {
  const path = join(dir, "one.parquet");
  await writeFile(path, bytes);
  const result = await duckdb.connection.runAndReadAll(
    `SELECT *, epoch_ms(changed_at)::DOUBLE AS at_ms, epoch_ms(event_at)::DOUBLE AS event_ms
     FROM read_parquet(${sqlText(path)}) ORDER BY shard, seq`,
  );
  return result.getRowObjectsJS();
}

const ROWS = [
  row({ seq: seq(1), changedMs: T0 + 1, eventMs: T0 - 5, userId: "u1", event: "Bought" }),
  row({
    seq: seq("9".repeat(40)),
    key: '{"pk":"ü漢\\u0000"}',
    image: "ü漢\u{1F600}",
    shard: "s2",
    changes: 7,
  }),
  row({
    seq: seq(3),
    op: "delete",
    key: "c",
    image: null,
    kind: null,
    source: null,
    collection: null,
    id: null,
  }),
  row({ seq: seq(4), op: "update", key: "d", kind: "object", collection: "users", id: "d", eventMs: 1e17 }),
];

test("rows are read back as they were", async () => {
  const rows = await readBack((await written(ROWS)).bytes);
  expect(rows).toHaveLength(4);
  expect(rows[0]).toMatchObject({
    changed_ms: BigInt(T0 + 1),
    at_ms: T0 + 1,
    op: "insert",
    seq: "1".padStart(40, "0"),
    shard: "s1",
    changes: 1n,
    user_id: "u1",
    event: "Bought",
    event_ms: T0 - 5,
  });
  expect(rows[1]).toMatchObject({ op: "delete", image: null, kind: null, source: null, id: null });
  // A time that no calendar holds is left out; the row is not.
  expect(rows[2]).toMatchObject({ op: "update", event_ms: null });
  expect(rows[3]).toMatchObject({ seq: "9".repeat(40), changes: 7n, image: "ü漢\u{1F600}" });
});

test("the totals and statistics are those of the rows", async () => {
  const { totals, changes, stats } = await written(ROWS);
  expect(totals).toEqual({ rows: 4, sum: setsumOfRows(ROWS) });
  expect(changes).toBe(10);
  expect(JSON.parse(stats)).toMatchObject({
    numRecords: 4,
    minValues: { changed_ms: T0 + 1, collection: "tracks" },
    maxValues: { changed_ms: T0 + 1, collection: "users" },
    nullCount: { collection: 1 },
  });
});

test("a file holds the rows of its window, the last of each key for the changes of all", async () => {
  const rows = [
    row({ seq: seq(1), key: "a" }),
    row({ seq: seq(2), key: "b" }),
    row({ seq: seq(3), key: "a", op: "update", changes: 4 }),
    row({ seq: seq(4), key: "a", op: "delete" }),
    row({ seq: seq(5), key: "a", changedMs: T0 + WINDOW_MS }),
  ];
  const file = await written(rows);
  expect(file.totals).toEqual({
    rows: 2,
    sum: setsumOfRows(rows.filter((_, index) => [1, 3].includes(index))),
  });
  expect(file.changes).toBe(7);
  expect((await readBack(file.bytes)).map(({ seq: last, op, changes }) => [last, op, changes])).toEqual([
    ["2".padStart(40, "0"), "insert", 1n],
    ["4".padStart(40, "0"), "delete", 6n],
  ]);
});

test("stages do not mix", async () => {
  const [one, two] = [await writer.stage(), await writer.stage()];
  one.add(row({ key: "one" }));
  two.add(row({ key: "two" }));
  const files = [await two.write(T0, T0 + WINDOW_MS), await one.write(T0, T0 + WINDOW_MS)];
  for (const [index, { bytes }] of files.entries()) {
    expect((await readBack(bytes)).map(({ key }) => key)).toEqual([index === 0 ? "two" : "one"]);
  }
  await Promise.all([one.close(), two.close()]);
});
