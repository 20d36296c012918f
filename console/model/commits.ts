/** A log entry as the console keeps it. Pure. */
import { countCommit, NO_FIGURES } from "../../shared/cost/figures.ts";
import type { LogFigures } from "../../shared/cost/figures.ts";
import type { Commit } from "../../shared/delta.ts";
import type { DataFile } from "../../shared/snapshot.ts";
import { logStateIn, parseDataFile } from "../../shared/snapshot.ts";
import type { CommitLine } from "../state.ts";

export type KeptCommit = {
  readonly line: CommitLine;
  readonly figures: LogFigures;
  /** Files with changes of this commit, merged away since or not. */
  readonly files: readonly DataFile[];
};

/** @param watermarkBeforeMs stands where the entry does not say */
export function keepCommit(commit: Commit, watermarkBeforeMs: number): KeptCommit {
  const figures = countCommit(NO_FIGURES, commit);
  const adds = commit.actions.flatMap((action) => ("add" in action ? [action.add] : []));
  const files = adds
    .filter(({ dataChange }) => dataChange)
    .map(parseDataFile)
    .filter((file) => file !== null);
  return {
    figures,
    files,
    line: {
      version: commit.version,
      atMs: commit.info.inCommitTimestamp,
      operation: commit.info.operation,
      rows: files.reduce((sum, { totals }) => sum + totals.rows, 0),
      changes: figures.changes,
      bytes: figures.bytes + figures.mergedBytes,
      filesAdded: adds.length,
      filesRemoved: commit.actions.filter((action) => "remove" in action).length,
      watermarkMs: logStateIn(commit)?.watermarkMs ?? watermarkBeforeMs,
    },
  };
}

/** What all of them carried together. */
export function sumFigures(commits: readonly KeptCommit[]): LogFigures {
  const [first] = commits;
  if (first === undefined) return NO_FIGURES;
  const sum = (of: (figures: LogFigures) => number): number =>
    commits.reduce((total, { figures }) => total + of(figures), 0);
  return {
    fromMs: first.line.atMs,
    toMs: commits.at(-1)?.line.atMs ?? first.line.atMs,
    commits: commits.length,
    flushes: sum(({ flushes }) => flushes),
    files: sum(({ files }) => files),
    rows: sum(({ rows }) => rows),
    changes: sum(({ changes }) => changes),
    bytes: sum(({ bytes }) => bytes),
    mergedFiles: sum(({ mergedFiles }) => mergedFiles),
    mergedBytes: sum(({ mergedBytes }) => mergedBytes),
  };
}
