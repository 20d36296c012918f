/** Commits and files made by hand. */
import type { KeptCommit } from "../../../console/model/commits.ts";
import { keepCommit } from "../../../console/model/commits.ts";
import type { Add, Commit } from "../../../shared/delta.ts";
import { domainAction } from "../../../shared/delta.ts";
import type { DataFile } from "../../../shared/snapshot.ts";
import { EMPTY_LOG, LOG_DOMAIN, parseDataFile } from "../../../shared/snapshot.ts";
import type { Level } from "../../../shared/window.ts";

export const T0 = Date.UTC(2026, 10, 23, 12);

export function add(
  level: Level,
  windowMs: number,
  rows: number,
  fromMs: number,
  toMs: number,
  some: Partial<Add> = {},
): Add {
  return {
    path: `data/${level}-${windowMs}-${rows}`,
    partitionValues: {},
    size: rows * 100,
    modificationTime: toMs,
    dataChange: true,
    stats: JSON.stringify({
      numRecords: rows,
      minValues: { changed_ms: fromMs },
      maxValues: { changed_ms: toMs },
    }),
    tags: {
      level: String(level),
      window: String(windowMs),
      changes: String(rows),
      setsum: "0".repeat(32),
      sha256: "",
    },
    ...some,
  };
}

export function fileOf(one: Add): DataFile {
  const file = parseDataFile(one);
  if (file === null) throw new Error("no file");
  return file;
}

export const commit = (
  version: number,
  atMs: number,
  adds: readonly Add[],
  watermarkMs: number,
  operation = "WRITE",
): Commit => ({
  version,
  info: { inCommitTimestamp: atMs, timestamp: atMs, operation, txnId: `${version}` },
  actions: [...adds.map((one) => ({ add: one })), domainAction(LOG_DOMAIN, { ...EMPTY_LOG, watermarkMs })],
});

export const kept = (...given: readonly Parameters<typeof commit>[]): KeptCommit[] =>
  given.map((one) => keepCommit(commit(...one), 0));
