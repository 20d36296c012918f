/** Files are read back by DuckDB, and what is said of them is held to what DuckDB finds in them. */
import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { BLOCK_ROWS } from "../../compactor/block.ts";
import { WindowBuffer } from "../../compactor/buffer.ts";
import { openStages } from "../../compactor/stage.ts";
import type { ParquetFile } from "../../compactor/summary.ts";
import { summarize } from "../../compactor/summary.ts";
import type { DuckDB } from "../../shared/duckdb.ts";
import { openDuckDB, sqlText } from "../../shared/duckdb.ts";
import type { Row } from "../../shared/row.ts";
import { OPS } from "../../shared/row.ts";
import { sequenceColumn } from "../../shared/sequence.ts";
import { LEVEL_MS } from "../../shared/window.ts";
import { T0, position, row, seq } from "../fakes/changes.ts";
import { setsumOfRows } from "../fakes/parquet.ts";

const WINDOW_MS = LEVEL_MS[0];

const openStage = openStages(2 ** 25);
let duckdb: DuckDB;
let dir: string;
beforeAll(async () => {
  duckdb = await openDuckDB({ threads: 1, memoryMaxMB: 256 });
  dir = await mkdtemp(join(tmpdir(), "varve-test-"));
});
afterAll(async () => {
  duckdb.close();
  await rm(dir, { recursive: true, force: true });
});

async function written(rows: readonly Row[], startMs = T0): Promise<ParquetFile> {
  const stage = openStage();
  for (const one of rows) stage.add(one);
  const file = await stage.write(startMs, startMs + WINDOW_MS);
  stage.close();
  return file;
}

let files = 0;
async function relationOf({ bytes }: ParquetFile): Promise<string> {
  const path = join(dir, `${(files += 1)}.parquet`);
  await writeFile(path, bytes);
  return `read_parquet(${sqlText(path)})`;
}

async function query(sql: string): Promise<unknown[][]> {
  return (await duckdb.connection.runAndReadAll(sql)).getRows();
}

type Kept = Omit<Row, "seq"> & { readonly seq: string };

async function readBack(file: ParquetFile): Promise<Kept[]> {
  const rows = await query(
    `SELECT changed_ms::DOUBLE, op, key, seq, shard, changes::DOUBLE, kind, source, collection, id, user_id, anonymous_id, event,
     epoch_us(event_at)::VARCHAR, image, epoch_us(changed_at) = changed_ms * 1000 FROM ${await relationOf(file)}`,
  );
  return rows.map((values) => {
    const [changedMs, op, key, digits, shard, changes, kind, source, collection, id, ...others] = values;
    const [userId, anonymousId, event, eventUs, image, isSameTime] = others;
    expect(isSameTime).toBe(true);
    const eventMs = eventUs === null ? null : Number(BigInt(eventUs as string) / 1000n);
    const texts = { kind, source, collection, id, userId, anonymousId, event, eventMs, image };
    return { changedMs, op, key, seq: digits, shard, changes, ...texts } as Kept;
  });
}

/** By the definition: of each key the row that was added last, for the changes of all. */
function lastOf(rows: readonly Row[], startMs: number): Row[] {
  const last = new Map<string, Row>();
  for (const one of rows) {
    if (one.changedMs < startMs || one.changedMs >= startMs + WINDOW_MS) continue;
    last.set(one.key, { ...one, changes: one.changes + (last.get(one.key)?.changes ?? 0) });
  }
  return [...last.values()];
}

const isTime = (ms: number | null): boolean =>
  ms !== null && Number.isSafeInteger(ms) && ms >= -62135596800000 && ms <= 253402300799999;
const asKept = (one: Row): Kept => ({
  ...one,
  seq: sequenceColumn(one.seq),
  eventMs: isTime(one.eventMs) ? one.eventMs : null,
});
const byKey = <T extends { readonly key: string }>(rows: readonly T[]): T[] =>
  rows.toSorted((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));

/** What is written of `rows` for a window is what the definition says, and what DuckDB finds in it. */
async function expectTrue(file: ParquetFile, rows: readonly Row[], startMs = T0): Promise<void> {
  const kept = lastOf(rows, startMs);
  expect(byKey(await readBack(file))).toEqual(byKey(kept).map(asKept));
  const { bytes, sha256, ...summary } = file;
  expect(sha256).toBe(createHash("sha256").update(bytes).digest("hex"));
  expect(summary).toEqual(await summarize(duckdb.connection, await relationOf(file)));
  expect(summary.totals).toEqual({ rows: kept.length, sum: setsumOfRows(kept) });
}

const TEXT = fc.oneof(
  fc.string({ unit: "grapheme", maxLength: 12 }),
  fc.string({ unit: "binary", maxLength: 200 }),
  fc.constantFrom("", "é", "𝒳", "\u0000", "\u{10FFFF}", "\uE000", "a".repeat(129)),
);
const NULLABLE = fc.option(TEXT, { freq: 3 });
const EVENT_MS = fc.oneof(
  fc.integer({ min: T0 - 1e6, max: T0 }),
  fc.constantFrom(-62135596800000, -62135596800001, 253402300799999, 253402300800000, -1, 0, 0.5),
  fc.constantFrom(null, 9e15, 1e17, -1e300, Number.NaN, Infinity),
);
const ROW: fc.Arbitrary<Row> = fc.record({
  changedMs: fc.integer({ min: T0 - 5, max: T0 + WINDOW_MS + 5 }),
  op: fc.constantFrom(...OPS),
  key: fc.oneof(fc.constantFrom("a", "b", '{"pk":"e#shop#1"}'), TEXT),
  seq: fc.bigInt({ min: 0n, max: 10n ** 40n - 1n }).map((digits) => seq(digits.toString())),
  shard: fc.constantFrom("s1", "shardId-00000001790000000000-0c5ab1de", "ü"),
  changes: fc.integer({ min: 1, max: 2 ** 40 }),
  kind: fc.constantFrom("event", "object", null),
  source: NULLABLE,
  collection: NULLABLE,
  id: NULLABLE,
  userId: NULLABLE,
  anonymousId: NULLABLE,
  event: NULLABLE,
  eventMs: EVENT_MS,
  image: NULLABLE,
});

test("whatever the rows are, DuckDB reads what the definition says", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(ROW, { minLength: 1, maxLength: 60 }), async (rows) => {
      const windows = new Set(rows.map(({ changedMs }) => Math.floor((changedMs - T0) / WINDOW_MS)));
      const stage = openStage();
      for (const one of rows) stage.add(one);
      for (const window of windows) {
        const startMs = T0 + window * WINDOW_MS;
        await expectTrue(await stage.write(startMs, startMs + WINDOW_MS), rows, startMs);
      }
      stage.close();
    }),
    { numRuns: 150 },
  );
});

/** Text that does not repeat, so that it has its full length in a page. */
const textOf = (index: number, length: number): string =>
  Array.from({ length: Math.ceil(length / 8) }, (_, part) =>
    ((index * 2654435761 + part * 40503) % 2 ** 32).toString(16).padStart(8, "0"),
  )
    .join("")
    .slice(0, length);

test.each([
  ["just a block", BLOCK_ROWS, (index: number) => row({ key: `k${index}`, seq: seq(index) })],
  ["a row more", BLOCK_ROWS + 1, (index: number) => row({ key: `k${index}`, seq: seq(index) })],
  [
    "many blocks, their keys repeated in others",
    4 * BLOCK_ROWS,
    (index: number) =>
      row({
        key: `k${(index * 7919) % 5000}`,
        seq: seq(index),
        changedMs: T0 + (index % 3 === 0 ? WINDOW_MS : 1),
        event: `event ${index % 300}`,
        userId: index % 5 === 0 ? null : `user-${index}`,
        eventMs: index % 4 === 0 ? null : T0 + index,
      }),
  ],
  [
    "no family twice",
    2 * BLOCK_ROWS,
    (index: number) => row({ key: `k${index}`, seq: seq(index), event: textOf(index, 60), collection: null }),
  ],
  [
    "images of 64 KB, and one of a megabyte",
    120,
    (index: number) =>
      row({ key: `k${index}`, seq: seq(index), image: textOf(index, index === 7 ? 1e6 : 65_536), id: null }),
  ],
  [
    "long keys, of two bytes a letter",
    300,
    (index: number) => row({ key: `${"ü漢".repeat(2500)}${index % 200}`, seq: seq(index) }),
  ],
])("%s", async (_, count, rowAt) => {
  const rows = Array.from({ length: count }, (__, index) => rowAt(index));
  await expectTrue(await written(rows), rows);
  // The memory of the stage before is used again.
  const fewer = rows.slice(0, 100);
  await expectTrue(await written(fewer), fewer);
});

test("the file has the columns, their types and the format that merged files have", async () => {
  const relation = await relationOf(await written([row()]));
  const path = relation.slice("read_parquet(".length, -1);
  expect(await query(`SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM ${relation})`)).toEqual([
    ["changed_at", "TIMESTAMP WITH TIME ZONE"],
    ["changed_ms", "BIGINT"],
    ["op", "VARCHAR"],
    ["key", "VARCHAR"],
    ["seq", "VARCHAR"],
    ["shard", "VARCHAR"],
    ["changes", "BIGINT"],
    ["kind", "VARCHAR"],
    ["source", "VARCHAR"],
    ["collection", "VARCHAR"],
    ["id", "VARCHAR"],
    ["user_id", "VARCHAR"],
    ["anonymous_id", "VARCHAR"],
    ["event", "VARCHAR"],
    ["event_at", "TIMESTAMP WITH TIME ZONE"],
    ["image", "VARCHAR"],
  ]);
  const copy = join(dir, "copy.parquet");
  await duckdb.connection.run(`COPY (SELECT * FROM ${relation}) TO ${sqlText(copy)} (FORMAT parquet)`);
  const schema = (file: string): Promise<unknown[][]> =>
    query(
      `SELECT name, type, repetition_type, converted_type, logical_type::VARCHAR FROM parquet_schema(${file}) OFFSET 1`,
    );
  expect(await schema(path)).toEqual(await schema(sqlText(copy)));
});

test("the footer's bounds let readers pass over the file", async () => {
  const rows = [row({ id: "b", changedMs: T0 + 7 }), row({ id: "a", key: "c", source: null })];
  const relation = await relationOf(await written(rows));
  const bounds = await query(
    `SELECT path_in_schema, stats_min_value, stats_max_value, stats_null_count::INTEGER
     FROM parquet_metadata(${relation.slice("read_parquet(".length, -1)})`,
  );
  expect(bounds.filter(([name]) => ["changed_ms", "id", "source", "event"].includes(name as string))).toEqual(
    [
      ["changed_ms", String(T0 + 1), String(T0 + 7), 0],
      ["source", "shop", "shop", 1],
      ["id", "a", "b", 0],
      ["event", null, null, 2],
    ],
  );
  expect(await query(`SELECT key FROM ${relation} WHERE changed_ms > ${T0 + 1} AND id = 'b'`)).toHaveLength(
    1,
  );
  expect(await query(`SELECT key FROM ${relation} WHERE changed_ms > ${T0 + 7}`)).toEqual([]);
});

test("a file a window, with the last row of each key for the changes of all", async () => {
  const rows = [
    row({ seq: seq(1), key: "a" }),
    row({ seq: seq(2), key: "b" }),
    row({ seq: seq(3), key: "a", op: "update", changes: 4 }),
    row({ seq: seq(4), key: "a", op: "delete", image: null }),
    row({ seq: seq(5), key: "a", changedMs: T0 + WINDOW_MS }),
  ];
  const buffer = new WindowBuffer(openStage());
  const { from: _, ...after } = position({ seq: seq(5) });
  buffer.add({ shard: "s1", rows, records: 5, bytes: 500, position: { ...after, from: null } }, T0);
  const { stage, windows } = buffer.take(openStage());
  expect([...windows.keys()]).toEqual([T0, T0 + WINDOW_MS]);
  const first = await stage.write(T0, T0 + WINDOW_MS);
  const second = await stage.write(T0 + WINDOW_MS, T0 + 2 * WINDOW_MS);
  stage.close();
  buffer.close();
  expect(first.changes).toBe(7);
  expect(first.totals).toEqual({ rows: 2, sum: setsumOfRows(rows.filter((__, at) => at === 1 || at === 3)) });
  await expectTrue(first, rows);
  await expectTrue(second, rows, T0 + WINDOW_MS);
});

test("stages do not mix", async () => {
  const [one, two] = [openStage(), openStage()];
  one.add(row({ key: "one" }));
  two.add(row({ key: "two" }));
  const [second, first] = await Promise.all([two.write(T0, T0 + WINDOW_MS), one.write(T0, T0 + WINDOW_MS)]);
  expect((await readBack(first)).map(({ key }) => key)).toEqual(["one"]);
  expect((await readBack(second)).map(({ key }) => key)).toEqual(["two"]);
  one.close();
  two.close();
});
