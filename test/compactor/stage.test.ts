import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { WindowBuffer } from "../../compactor/buffer.ts";
import { openParquetWriter } from "../../compactor/parquet.ts";
import { openDuckDB, sqlText } from "../../shared/duckdb.ts";
import { LEVEL_MS } from "../../shared/window.ts";
import { T0, position, row, seq } from "../fakes/changes.ts";
import { setsumOfRows } from "../fakes/parquet.ts";

async function read(bytes: Uint8Array): Promise<unknown[][]> {
  const dir = await mkdtemp(join(tmpdir(), "varve-test-"));
  const { connection, close } = await openDuckDB({ threads: 1, memoryMaxMB: 128 });
  try {
    const path = join(dir, "file.parquet");
    await writeFile(path, bytes);
    const result = await connection.runAndReadAll(
      `SELECT op, key, seq, shard, changes::INTEGER, kind, source, collection, id, user_id, event, epoch_ms(event_at)::DOUBLE, image
       FROM read_parquet(${sqlText(path)}) ORDER BY key`,
    );
    return result.getRows();
  } finally {
    close();
    await rm(dir, { recursive: true, force: true });
  }
}

test("a file a window, with the last row of each key, whatever its text holds", async () => {
  const parquet = await openParquetWriter(256);
  try {
    const buffer = new WindowBuffer(await parquet.stage());
    const odd = {
      source: "a'b",
      id: '\u0000\n\t"',
      userId: "",
      event: "𝒳",
      eventMs: -1,
      image: '{"\u001e":"é"}',
    };
    const rows = [
      row({ key: "a", seq: seq(1), op: "insert", kind: "object" }),
      row({ key: "b", seq: seq(2), ...odd }),
      row({ key: "a", seq: seq(3), op: "update", kind: "object" }),
      row({ key: "c", seq: seq("9".repeat(40)), eventMs: 9e15 }),
      row({ key: "a", seq: seq(4), op: "delete", kind: "object", image: null }),
      row({ key: "a", seq: seq(5), changedMs: T0 + LEVEL_MS[0], kind: null, source: null, id: null }),
    ];
    const { from: _, ...after } = position({ seq: seq(5) });
    const page = { shard: "s1", rows, records: 6, bytes: 600, position: { ...after, from: null } };
    buffer.add(page, T0);
    const { stage, windows } = buffer.take(await parquet.stage());
    const files = [];
    for (const start of windows.keys()) files.push(await stage.write(start, start + LEVEL_MS[0]));
    await stage.close();
    await buffer.close();
    const [first, second] = files;
    if (first === undefined || second === undefined || files.length !== 2) throw new Error("not two files");
    const pad = (digits: string) => digits.padStart(40, "0");
    expect(await read(first.bytes)).toEqual([
      ["delete", "a", pad("4"), "s1", 3, "object", "shop", "tracks", "1", null, null, null, null],
      ["insert", "b", pad("2"), "s1", 1, "event", odd.source, "tracks", odd.id, "", odd.event, -1, odd.image],
      ["insert", "c", "9".repeat(40), "s1", 1, "event", "shop", "tracks", "1", null, null, null, "{}"],
    ]);
    expect((await read(second.bytes)).map((values) => values.slice(0, 7))).toEqual([
      ["insert", "a", pad("5"), "s1", 1, null, null],
    ]);
    const kept = rows.filter((_row, index) => [1, 3, 4].includes(index));
    expect(first.totals).toEqual({ rows: 3, sum: setsumOfRows(kept) });
    expect(first.changes).toBe(5);
    expect(JSON.parse(second.stats)).toMatchObject({ numRecords: 1, nullCount: { id: 1, changed_ms: 0 } });
  } finally {
    await parquet.close();
  }
});
