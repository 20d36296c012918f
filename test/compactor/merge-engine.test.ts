/** Merging in DuckDB with the least memory: what comes out is held to the definition, row by row. */
import { randomBytes } from "node:crypto";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { duckdbEngine } from "../../compactor/merge-engine.ts";
import { addAction, flushKey } from "../../compactor/plan.ts";
import { openStages } from "../../compactor/stage.ts";
import type { DuckDB } from "../../shared/duckdb.ts";
import { openDuckDB, sqlText } from "../../shared/duckdb.ts";
import type { Row } from "../../shared/row.ts";
import { sequenceColumn } from "../../shared/sequence.ts";
import type { DataFile, Totals } from "../../shared/snapshot.ts";
import { parseDataFile } from "../../shared/snapshot.ts";
import { LEVEL_MS } from "../../shared/window.ts";
import { T0, row, seq } from "../fakes/changes.ts";
import { setsumOfRows } from "../fakes/parquet.ts";

const MEMORY_MB = 64;
const MEGABYTE = 1024 ** 2;

const openStage = openStages(2 ** 25);
let duckdb: DuckDB;
let dir: string;
beforeAll(async () => {
  duckdb = await openDuckDB({ threads: 1, memoryMaxMB: 1024 });
  dir = await mkdtemp(join(tmpdir(), "varve-test-"));
});
afterAll(async () => {
  duckdb.close();
  await rm(dir, { recursive: true, force: true });
});

type Flush = { readonly file: DataFile; readonly bytes: Uint8Array };

async function flushOf(rows: readonly Row[]): Promise<Flush> {
  const stage = openStage();
  for (const one of rows) stage.add(one);
  const { bytes, ...file } = await stage.write(T0, T0 + LEVEL_MS[0]);
  stage.close();
  const path = flushKey(T0, crypto.randomUUID());
  const sizeBytes = bytes.byteLength;
  const action = addAction(
    { path, level: 0, windowStartMs: T0, sizeBytes, minChangedMs: T0, file },
    T0,
    true,
  );
  const parsed = "add" in action ? parseDataFile(action.add) : null;
  if (parsed === null) throw new Error("the file cannot be parsed");
  return { file: parsed, bytes };
}

type Kept = { readonly key: string; readonly seq: string; readonly op: string; readonly changes: number };

type Outcome = {
  readonly read: Totals;
  readonly survivors: Totals;
  readonly outputs: readonly { readonly stats: string; readonly sizeBytes: number }[];
  /** In the order of the files. */
  readonly rows: readonly Kept[];
  readonly groupRowsMax: number;
};

async function merged(
  flushes: readonly Flush[],
  some: { readonly keepAll?: boolean; readonly fileBytesMax?: number } = {},
): Promise<Outcome> {
  const outputs: { readonly stats: string; readonly sizeBytes: number }[] = [];
  const paths: string[] = [];
  const { read, survivors } = await duckdbEngine(MEMORY_MB)({
    inputs: flushes.map(({ file }) => file),
    fetch: async (file) => flushes.find((flush) => flush.file === file)?.bytes ?? new Uint8Array(),
    store: async ({ bytes, stats }) => {
      outputs.push({ stats, sizeBytes: bytes.byteLength });
      const path = join(dir, `${crypto.randomUUID()}.parquet`);
      await writeFile(path, bytes);
      paths.push(path);
    },
    keepAll: some.keepAll ?? false,
    fileBytesMax: some.fileBytesMax ?? 128 * MEGABYTE,
    signal: new AbortController().signal,
  });
  const ask = async (sql: string): Promise<unknown[][]> =>
    (await duckdb.connection.runAndReadAll(sql)).getRows();
  const rows: Kept[] = [];
  let groupRowsMax = 0;
  for (const path of paths) {
    const found = await ask(
      `SELECT key, seq, op, changes::INTEGER FROM read_parquet(${sqlText(path)}, file_row_number = true) ORDER BY file_row_number`,
    );
    for (const [key, sequence, op, changes] of found)
      rows.push({ key, seq: sequence, op, changes } as unknown as Kept);
    const [[most]] = (await ask(
      `SELECT max(row_group_num_rows)::INTEGER FROM parquet_metadata(${sqlText(path)})`,
    )) as [[number]];
    groupRowsMax = Math.max(groupRowsMax, most);
  }
  return { read, survivors, outputs, rows, groupRowsMax };
}

const byBytes = (a: string | null, b: string | null): number =>
  a === b ? 0 : a === null ? 1 : b === null ? -1 : Buffer.compare(Buffer.from(a), Buffer.from(b));
const bySort = (a: Row, b: Row): number =>
  byBytes(a.source, b.source) ||
  byBytes(a.collection, b.collection) ||
  byBytes(a.id, b.id) ||
  byBytes(a.key, b.key) ||
  byBytes(sequenceColumn(a.seq), sequenceColumn(b.seq));

/** By the definition, sorted. */
function survivorsOf(rows: readonly Row[], keepAll: boolean): Row[] {
  const last = new Map<string, Row>();
  for (const one of rows) {
    const before = last.get(one.key);
    const changes = one.changes + (before?.changes ?? 0);
    const isLater =
      before === undefined ||
      one.changedMs - before.changedMs > 0 ||
      (one.changedMs === before.changedMs && sequenceColumn(one.seq) > sequenceColumn(before.seq));
    last.set(one.key, { ...(isLater ? one : before), changes });
  }
  return (keepAll ? [...rows] : [...last.values()]).toSorted(bySort);
}

async function expectMerged(
  batches: readonly (readonly Row[])[],
  some: { readonly keepAll?: boolean; readonly fileBytesMax?: number } = {},
): Promise<Outcome> {
  const flushes: Flush[] = [];
  for (const batch of batches) flushes.push(await flushOf(batch));
  const outcome = await merged(flushes, some);
  const all = batches.flat();
  const expected = survivorsOf(all, some.keepAll ?? false);
  const identities = (rows: readonly Row[]): Kept[] =>
    rows.map(({ key, seq: sequence, op, changes }) => ({ key, seq: sequenceColumn(sequence), op, changes }));
  expect(outcome.rows.length).toBe(expected.length);
  expect(outcome.rows).toEqual(identities(expected));
  expect(outcome.read).toEqual({ rows: all.length, sum: setsumOfRows(all) });
  expect(outcome.survivors).toEqual({ rows: expected.length, sum: setsumOfRows(expected) });
  return outcome;
}

/** `count` rows in `files` files: events, objects of some `keys` keys, deletes of both, names of many scripts. */
function windowOf(count: number, files: number, imageBytes: number, keys: number): Row[][] {
  const batches: Row[][] = Array.from({ length: files }, () => []);
  for (let n = 0; n < count; n += 1) {
    const isEvent = n % 3 === 0;
    const isDelete = n % 17 === 0;
    // An event is deleted some time after it was written.
    const number = isEvent ? (isDelete ? n - 51 : n) : (n * 7919) % keys;
    const id = `${["k", "ü", "漢", "😀"][number % 4]}${number}`;
    const size = Math.floor((imageBytes * 3) / 4);
    batches[Math.floor((n * files) / count)]?.push(
      row({
        changedMs: T0 + Math.floor((n * 299_000) / count),
        seq: seq(n + 1),
        op: isDelete ? "delete" : isEvent ? "insert" : "update",
        key: JSON.stringify({ pk: `${isEvent ? "e" : "o"}#shop#${id}` }),
        kind: isEvent ? "event" : "object",
        collection: isEvent ? (isDelete ? null : "tracks") : "users",
        id,
        image: isDelete ? null : JSON.stringify(randomBytes(size).toString("base64")),
      }),
    );
  }
  // One row a key in a flush, as a stage has it.
  return batches.map((batch) => [...new Map(batch.map((one) => [one.key, one])).values()]);
}

describe("a window is merged, whatever its size", () => {
  test.each([
    ["small", windowOf(2_000, 6, 200, 500)],
    ["of 40 MB in rows of a kilobyte", windowOf(40_000, 6, 1_000, 20_000)],
    ["of 60 MB in rows of 400 KB", windowOf(150, 3, 400_000, 1_000)],
    ["of 60 MB in changes of a few keys, of 100 KB each", windowOf(600, 100, 100_000, 4)],
  ])(
    "%s",
    async (_, batches) => {
      await expectMerged(batches);
    },
    120_000,
  );

  test("with all its history", async () => {
    await expectMerged(windowOf(30_000, 6, 1_000, 100), { keepAll: true });
  }, 120_000);

  test("of a table that is not Varve's", async () => {
    const generic = windowOf(30_000, 4, 1_000, 5_000).map((batch) =>
      batch.map((one) => ({ ...one, kind: null, source: null, collection: null, id: null })),
    );
    await expectMerged(generic);
  }, 120_000);
});

test("what is larger than a file is split along its sort order, into files of about that size", async () => {
  const objects = windowOf(60_000, 6, 1_000, 60_000).map((batch) =>
    batch.filter(({ kind }) => kind === "object"),
  );
  const fileBytesMax = 8 * MEGABYTE;
  const { outputs } = await expectMerged(objects, { fileBytesMax });
  expect(outputs.length).toBeGreaterThan(2);
  for (const size of outputs.slice(0, -1).map(({ sizeBytes }) => sizeBytes)) {
    expect(size).toBeGreaterThan(0.8 * fileBytesMax);
    expect(size).toBeLessThan(1.3 * fileBytesMax);
  }
  const bounds = outputs.flatMap(({ stats }) => {
    const { minValues, maxValues } = JSON.parse(stats) as Record<string, Record<string, string>>;
    return [minValues?.["id"] ?? "", maxValues?.["id"] ?? ""];
  });
  expect(new Set(bounds).size).toBe(bounds.length);
  expect(bounds.toSorted(byBytes)).toEqual(bounds);
}, 120_000);

test("a row group is small enough to be read with little memory", async () => {
  const { groupRowsMax } = await expectMerged(windowOf(150, 3, 400_000, 1_000));
  expect(groupRowsMax).toBeLessThan(30);
}, 120_000);

test("what fails while files are fetched is said as it is, and nothing is left behind", async () => {
  const own = await mkdtemp(join(dir, "merging-"));
  vi.stubEnv("TMPDIR", own);
  const flushes = [await flushOf([row({ seq: seq(1) })]), await flushOf([row({ seq: seq(2) })])];
  let underWay = 0;
  const slow = async (): Promise<Uint8Array> => {
    underWay += 1;
    await new Promise((resolve) => {
      setTimeout(resolve, 50);
    });
    underWay -= 1;
    return new Uint8Array(10);
  };
  const merge = duckdbEngine(MEMORY_MB)({
    inputs: flushes.map(({ file }) => file),
    fetch: (file) => (file === flushes[0]?.file ? Promise.reject(new Error("the store is out")) : slow()),
    store: async () => undefined,
    keepAll: false,
    fileBytesMax: 1,
    signal: new AbortController().signal,
  });
  await expect(merge).rejects.toThrow("the store is out");
  expect(underWay).toBe(0);
  expect(await readdir(own)).toEqual([]);
  vi.unstubAllEnvs();
});

test("a merge that is told to stop in the midst of it stops, and leaves nothing behind", async () => {
  const own = await mkdtemp(join(dir, "merging-"));
  vi.stubEnv("TMPDIR", own);
  const flushes: Flush[] = [];
  for (const batch of windowOf(40_000, 6, 1_000, 20_000)) flushes.push(await flushOf(batch));
  const stopping = new AbortController();
  let fetched = 0;
  let stored = 0;
  const merge = duckdbEngine(MEMORY_MB)({
    inputs: flushes.map(({ file }) => file),
    fetch: async (file) => {
      if ((fetched += 1) === flushes.length) stopping.abort();
      return flushes.find((flush) => flush.file === file)?.bytes ?? new Uint8Array();
    },
    store: async () => void (stored += 1),
    keepAll: false,
    fileBytesMax: 128 * MEGABYTE,
    signal: stopping.signal,
  });
  await expect(merge).rejects.toThrow(/interrupt/i);
  expect(stored).toBe(0);
  expect(await readdir(own)).toEqual([]);
  vi.unstubAllEnvs();
}, 120_000);
