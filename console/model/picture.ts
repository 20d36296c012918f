/** The changelog as a picture: its live files by level and window, and its gaps. Pure. */
import type { DataFile, Snapshot } from "../../shared/snapshot.ts";
import { LEVELS, LEVEL_MS } from "../../shared/window.ts";
import type { Level } from "../../shared/window.ts";
import type { Picture, PictureWindow } from "../state.ts";

/** Windows drawn of one level. Where there are more, neighbours are drawn as one. */
const WINDOWS_MAX = 1_000;
const LENGTHS_MS = [300_000, 3_600_000, 86_400_000, 7 * 86_400_000, 28 * 86_400_000, 364 * 86_400_000];
const FLUSHES_MAX = 400;
const GAPS_MAX = 200;

export function pictureOf({ files, gaps }: Snapshot, windowsMax = WINDOWS_MAX): Picture {
  const byLevel = Map.groupBy(files.values(), ({ level }) => level);
  return {
    windows: LEVELS.flatMap((level) => windowsOf(level, byLevel.get(level) ?? [], windowsMax)),
    flushes: (byLevel.get(0) ?? [])
      .toSorted((a, b) => b.maxChangedMs - a.maxChangedMs)
      .slice(0, FLUSHES_MAX)
      .map(({ minChangedMs: startMs, maxChangedMs: endMs, totals, sizeBytes: bytes }) => ({
        startMs,
        endMs,
        rows: totals.rows,
        bytes,
      })),
    levels: LEVELS.map((level) => {
      const { files: count, rows, bytes } = together(byLevel.get(level) ?? []);
      return { level, files: count, rows, bytes };
    }),
    gaps: [...gaps.values()].toSorted((a, b) => b.detectedMs - a.detectedMs).slice(0, GAPS_MAX),
  };
}

/** Ascending. */
function windowsOf(level: Level, files: readonly DataFile[], windowsMax: number): PictureWindow[] {
  const startsIn = (lengthMs: number): Map<number, DataFile[]> =>
    Map.groupBy(files, ({ windowStartMs }) => windowStartMs - (windowStartMs % lengthMs));
  const lengths = LENGTHS_MS.filter((lengthMs) => lengthMs >= LEVEL_MS[level]);
  let lengthMs = LEVEL_MS[level];
  let groups = startsIn(lengthMs);
  for (const longer of lengths) {
    if (groups.size <= windowsMax) break;
    lengthMs = longer;
    groups = startsIn(longer);
  }
  return [...groups]
    .toSorted(([a], [b]) => a - b)
    .map(([startMs, group]) => ({ level, startMs, lengthMs, ...together(group) }));
}

const together = (
  files: readonly DataFile[],
): Pick<PictureWindow, "files" | "rows" | "changes" | "bytes"> => ({
  files: files.length,
  rows: files.reduce((sum, { totals }) => sum + totals.rows, 0),
  changes: files.reduce((sum, { changes }) => sum + changes, 0),
  bytes: files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
});
