/** Stages whose files are JSON: the same totals and statistics. */
import { createHash } from "node:crypto";
import type { Stage } from "../../compactor/stage.ts";
import type { ParquetFile } from "../../compactor/summary.ts";
import type { MergeEngine } from "../../compactor/merge.ts";
import type { Row } from "../../shared/row.ts";
import { compareSequence, sequenceColumn } from "../../shared/sequence.ts";
import type { Totals } from "../../shared/snapshot.ts";
import type { Setsum } from "../../shared/setsum.ts";
import { setsumOf } from "../../shared/setsum.ts";

/** The set checksum as its definition has it, a row at a time. */
export function setsumOfRows(rows: Iterable<Pick<Row, "shard" | "seq" | "op" | "key">>): Setsum {
  let sum = 0n;
  for (const { shard, seq, op, key } of rows) {
    const digest = createHash("md5")
      .update(`${shard}|${sequenceColumn(seq)}|${op}|${key}`)
      .digest();
    sum += digest.readBigUInt64LE(0) + (digest.readBigUInt64LE(8) << 64n);
  }
  return setsumOf(sum);
}

export function encodeRows(rows: Iterable<Row>): ParquetFile {
  const list = [...rows];
  const bytes = new TextEncoder().encode(JSON.stringify(list));
  const times = list.map((row) => row.changedMs);
  return {
    bytes,
    totals: { rows: list.length, sum: setsumOfRows(list) },
    changes: list.reduce((sum, row) => sum + row.changes, 0),
    stats: JSON.stringify({
      numRecords: list.length,
      minValues: { changed_ms: Math.min(...times) },
      maxValues: { changed_ms: Math.max(...times) },
      nullCount: {},
    }),
    sha256: createHash("sha256").update(bytes).digest("hex"),
  };
}

export const decodeRows = (bytes: Uint8Array): Row[] => JSON.parse(new TextDecoder().decode(bytes)) as Row[];

/** A stage that keeps its rows where a test can look at them. */
export function jsonStage(): Stage & { readonly rows: readonly Row[] } {
  const rows: Row[] = [];
  return {
    rows,
    add: (row) => void rows.push(row),
    write: async (startMs, endMs) => {
      const last = new Map<string, Row>();
      for (const row of rows) {
        if (row.changedMs < startMs || row.changedMs >= endMs) continue;
        const changes = row.changes + (last.get(row.key)?.changes ?? 0);
        last.delete(row.key);
        last.set(row.key, { ...row, changes });
      }
      return encodeRows(last.values());
    },
    close: () => {},
  };
}

const totalsOf = (rows: readonly Row[]): Totals => ({ rows: rows.length, sum: setsumOfRows(rows) });

/** Merges such files: the last row of each key, for all the changes of the others. */
export const jsonMerge: MergeEngine = async ({ inputs, fetch, store, keepAll }) => {
  const rows = (await Promise.all(inputs.map(fetch))).flatMap(decodeRows);
  const last = new Map<string, Row>();
  for (const row of rows.toSorted((a, b) => a.changedMs - b.changedMs || compareSequence(a.seq, b.seq))) {
    last.set(row.key, { ...row, changes: row.changes + (last.get(row.key)?.changes ?? 0) });
  }
  const survivors = keepAll ? rows : [...last.values()];
  await store(encodeRows(survivors));
  return { read: totalsOf(rows), survivors: totalsOf(survivors) };
};
