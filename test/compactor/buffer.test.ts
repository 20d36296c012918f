import { describe, expect, test } from "vitest";
import type { Batch, ShardPage } from "../../compactor/buffer.ts";
import { WindowBuffer } from "../../compactor/buffer.ts";
import type { Row } from "../../shared/row.ts";
import { T0, position, row, seq } from "../fakes/changes.ts";
import { decodeRows, jsonStage } from "../fakes/parquet.ts";

const MINUTE = 60_000;

const page = (
  shard: string,
  rows: readonly Row[],
  last: number | null,
  some: Partial<ShardPage> = {},
  from: number | null = null,
): ShardPage => {
  const at = position({
    from: from === null ? null : seq(from),
    seq: last === null ? null : seq(last),
    at: T0,
  });
  return { shard, rows, records: rows.length, bytes: 100 * rows.length, position: at, ...some };
};

/** The rows of a batch's files, window by window. */
async function rowsOf(batch: Batch): Promise<Row[]> {
  const rows: Row[] = [];
  for (const start of batch.windows.keys()) {
    const { bytes } = await batch.stage.write(start, start + 5 * MINUTE);
    rows.push(...decodeRows(bytes));
  }
  return rows;
}

const bufferOf = () => new WindowBuffer(jsonStage());

describe("one row a key and window", () => {
  test("the last one added stands, for all the changes before it", async () => {
    const buffer = bufferOf();
    const first = page("s1", [row({ key: "a", seq: seq(1) }), row({ key: "b", seq: seq(2) })], 2);
    buffer.add(first, T0);
    buffer.add(page("s1", [row({ key: "a", seq: seq(3) }), row({ key: "a", seq: seq(4) })], 4), T0);
    expect(
      (await rowsOf(buffer.take(jsonStage()))).map(({ key, seq: last, changes }) => [key, last, changes]),
    ).toEqual([
      ["b", "2", 1],
      ["a", "4", 3],
    ]);
  });

  test("windows stay apart", async () => {
    const buffer = bufferOf();
    const rows = [
      row({ changedMs: T0 }),
      row({ changedMs: T0 + 4 * MINUTE }),
      row({ changedMs: T0 + 5 * MINUTE }),
    ];
    buffer.add(page("s1", rows, 3), T0);
    const batch = buffer.take(jsonStage());
    expect([...batch.windows.keys()]).toEqual([T0, T0 + 5 * MINUTE]);
    expect((await rowsOf(batch)).map(({ changes }) => changes)).toEqual([2, 1]);
  });
});

describe("positions", () => {
  test("each batch goes on where the one before it ended", () => {
    const buffer = bufferOf();
    buffer.add(page("s1", [], 5, {}, 3), T0);
    buffer.add(page("s1", [], 8, {}, 5), T0);
    expect(buffer.take(jsonStage()).positions.get("s1")).toMatchObject({ from: "3", seq: "8" });
    buffer.add(page("s1", [], 9, {}, 8), T0);
    expect(buffer.take(jsonStage()).positions.get("s1")).toMatchObject({ from: "8", seq: "9" });
    expect(buffer.take(jsonStage()).positions.size).toBe(0);
  });

  test("a shard begun at its start", () => {
    const buffer = bufferOf();
    buffer.add(page("s1", [], null), T0);
    expect(buffer.take(jsonStage()).positions.get("s1")).toMatchObject({ from: null, seq: null });
    buffer.add(page("s1", [], 4), T0);
    expect(buffer.take(jsonStage()).positions.get("s1")).toMatchObject({ from: null, seq: "4" });
  });
});

test("what is counted starts again with each batch", () => {
  const buffer = bufferOf();
  expect(buffer.firstRowAtMs).toBeNull();
  buffer.add(page("s1", [], 1), T0);
  expect(buffer.firstRowAtMs).toBeNull();
  buffer.add(page("s1", [row()], 2), T0 + 5);
  buffer.add(page("s1", [row()], 3), T0 + 9);
  expect([buffer.firstRowAtMs, buffer.bytes]).toEqual([T0 + 5, 200]);
  expect(buffer.take(jsonStage())).toMatchObject({ records: 2, bytes: 200 });
  expect([buffer.firstRowAtMs, buffer.bytes]).toEqual([null, 0]);
});

test("the end of a shard, and a gap, are urgent", () => {
  const buffer = bufferOf();
  buffer.add(page("s1", [row()], 1), T0);
  expect(buffer.urgent).toBe(false);
  buffer.add(page("s1", [], 1, { gap: { shard: "s1", after: null, reason: "", detectedMs: T0 } }), T0);
  expect(buffer.urgent).toBe(true);
  expect(buffer.take(jsonStage()).gaps).toHaveLength(1);
  expect(buffer.urgent).toBe(false);
  buffer.add(page("s1", [], null, { position: position({ done: true }) }), T0);
  expect(buffer.urgent).toBe(true);
});
