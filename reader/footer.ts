/**
 * What to fetch of a large Parquet file, by its footer: the chunks of the columns that are read, in the row groups
 * that their statistics do not rule out. Pure.
 */
import type { Filter, TimeRange } from "./range.ts";
import { admitsText } from "./range.ts";

/** Bytes [start, end) of a file. */
export type ByteRange = { readonly start: number; readonly end: number };

/** One column of one row group, as the footer describes it. */
export type Chunk = {
  readonly rowGroup: number;
  readonly column: string;
  /** As text; null where the footer does not say. */
  readonly min: string | null;
  readonly max: string | null;
  readonly bytes: ByteRange;
  /** DuckDB looks at it when it is there. */
  readonly bloom: ByteRange | null;
};

/** Two ranges with less than this between them are fetched as one. */
const GAP_MAX_BYTES = 64 * 1024;

/** Row groups that may hold a row of the question. */
export function rowGroupsFor(
  chunks: readonly Chunk[],
  range: TimeRange | null,
  filter: Filter,
): ReadonlySet<number> {
  const ruledOut = new Set<number>();
  for (const { rowGroup, column, min, max } of chunks) {
    if (min === null || max === null) continue;
    if (column === "changed_ms") {
      if (range !== null && (Number(max) <= range.sinceMs || Number(min) > range.untilMs))
        ruledOut.add(rowGroup);
    } else if (!admitsText(filter, column, min, max)) ruledOut.add(rowGroup);
  }
  return new Set(chunks.map(({ rowGroup }) => rowGroup).filter((group) => !ruledOut.has(group)));
}

/** Ascending, apart by more than a small gap. */
export function rangesToFetch(
  chunks: readonly Chunk[],
  rowGroups: ReadonlySet<number>,
  columns: ReadonlySet<string>,
): ByteRange[] {
  const wanted = chunks
    .filter(({ rowGroup, column }) => rowGroups.has(rowGroup) && columns.has(column))
    .flatMap(({ bytes, bloom }) => (bloom === null ? [bytes] : [bytes, bloom]))
    .toSorted((a, b) => a.start - b.start);
  const merged: { start: number; end: number }[] = [];
  for (const { start, end } of wanted) {
    const last = merged.at(-1);
    if (last !== undefined && start - last.end <= GAP_MAX_BYTES) last.end = Math.max(last.end, end);
    else merged.push({ start, end });
  }
  return merged;
}

export const bytesOf = (ranges: readonly ByteRange[]): number =>
  ranges.reduce((sum, { start, end }) => sum + end - start, 0);
