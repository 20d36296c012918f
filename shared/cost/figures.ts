/** What a run of commits carried: the numbers that a measured workload is made of. Pure. */
import type { Commit } from "../delta.ts";

export type LogFigures = {
  readonly fromMs: number;
  readonly toMs: number;
  readonly commits: number;
  /** Commits that carry rows. */
  readonly flushes: number;
  readonly files: number;
  readonly rows: number;
  readonly changes: number;
  readonly bytes: number;
  /** Files and bytes written again by merging. */
  readonly mergedFiles: number;
  readonly mergedBytes: number;
};

export const NO_FIGURES: LogFigures = {
  fromMs: 0,
  toMs: 0,
  commits: 0,
  flushes: 0,
  files: 0,
  rows: 0,
  changes: 0,
  bytes: 0,
  mergedFiles: 0,
  mergedBytes: 0,
};

/** One commit more. Its rows are what its operationMetrics say, its bytes what its files are. */
export function countCommit(figures: LogFigures, { info, actions }: Commit): LogFigures {
  const adds = actions.flatMap((action) => ("add" in action ? [action.add] : []));
  const fresh = adds.filter((add) => add.dataChange);
  const merged = adds.filter((add) => !add.dataChange);
  const size = (of: typeof adds): number => of.reduce((sum, add) => sum + add.size, 0);
  const metrics = info["operationMetrics"] as { readonly numOutputRows?: string } | undefined;
  return {
    fromMs: figures.commits === 0 ? info.inCommitTimestamp : figures.fromMs,
    toMs: info.inCommitTimestamp,
    commits: figures.commits + 1,
    flushes: figures.flushes + (fresh.length > 0 ? 1 : 0),
    files: figures.files + fresh.length,
    rows: figures.rows + (fresh.length === 0 ? 0 : Number(metrics?.numOutputRows ?? 0)),
    changes: figures.changes + fresh.reduce((sum, add) => sum + Number(add.tags?.["changes"] ?? 0), 0),
    bytes: figures.bytes + size(fresh),
    mergedFiles: figures.mergedFiles + merged.length,
    mergedBytes: figures.mergedBytes + size(merged),
  };
}
