/** What to read: the range of a question, and the files that may hold its answer. Pure. */
import { VarveError } from "../shared/errors.ts";
import type { DataFile, Snapshot } from "../shared/snapshot.ts";

/** (sinceMs, untilMs] */
export type TimeRange = { readonly kind: "time"; readonly sinceMs: number; readonly untilMs: number };
/** Rows of the commits above `since`, up to `until`. */
export type VersionRange = { readonly kind: "version"; readonly since: number; readonly until: number };

/** A point to read from: a time in UTC ms, or a version of the log. */
export type Since =
  | { readonly kind: "time"; readonly ms: number }
  | { readonly kind: "version"; readonly version: number };

const RELATIVE_MS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const ISO = /^\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:?\d{2})?)?$/;

/** `2026-11-23T09:00:00Z` (UTC when no offset is given), `2h` ago, or `#120`, or `120`, a version. */
export function parseSince(text: string, nowMs: number): Since {
  const version = /^#?(\d{1,15})$/.exec(text);
  if (version?.[1] !== undefined) return { kind: "version", version: Number(version[1]) };
  const relative = /^(\d{1,6})([smhd])$/.exec(text);
  if (relative !== null) {
    return { kind: "time", ms: nowMs - Number(relative[1]) * (RELATIVE_MS[relative[2] ?? ""] ?? 0) };
  }
  if (ISO.test(text)) {
    const zoned = /(?:Z|[+-]\d{2}:?\d{2})$/.test(text) || text.length === 10 ? text : `${text}Z`;
    const ms = Date.parse(zoned.replace(" ", "T"));
    if (!Number.isNaN(ms) && isDate(text.slice(0, 10))) return { kind: "time", ms };
  }
  throw new VarveError(
    "bad_since",
    `${JSON.stringify(text)} is neither a time nor a version.`,
    "Give an ISO time (2026-11-23T09:00:00Z), a span back from now (30s, 15m, 2h, 7d), or a version number (120).",
  );
}

/** JavaScript takes 30 February for 2 March. */
const isDate = (date: string): boolean => iso(Date.parse(date)).startsWith(date);

export type Filter = { readonly collection?: string | undefined; readonly source?: string | undefined };

/** The range (since, until] in time. Nothing is ever read past the watermark: there the log is not complete yet. */
export function timeRange(snapshot: Snapshot, sinceMs: number, untilMs?: number): TimeRange {
  const { watermarkMs } = snapshot.log;
  if (untilMs !== undefined && untilMs < sinceMs) {
    throw new VarveError(
      "empty_range",
      `until ${iso(untilMs)} is before since ${iso(sinceMs)}.`,
      "Give --until a later time than --since.",
    );
  }
  return { kind: "time", sinceMs, untilMs: Math.max(sinceMs, Math.min(untilMs ?? watermarkMs, watermarkMs)) };
}

/** Files whose statistics do not rule them out, in time order. */
export function filesInRange(
  files: Iterable<DataFile>,
  { sinceMs, untilMs }: TimeRange,
  filter: Filter,
): DataFile[] {
  return [...files]
    .filter((file) => file.maxChangedMs > sinceMs && file.minChangedMs <= untilMs)
    .filter(
      (file) => mayHold(file, "collection", filter.collection) && mayHold(file, "source", filter.source),
    )
    .toSorted((a, b) => a.minChangedMs - b.minChangedMs);
}

function mayHold(file: DataFile, column: "collection" | "source", wanted: string | undefined): boolean {
  if (wanted === undefined) return true;
  const stats = JSON.parse(file.add.stats ?? "{}") as {
    minValues?: Record<string, string>;
    maxValues?: Record<string, string>;
    nullCount?: Record<string, number>;
  };
  if (stats.nullCount?.[column] === file.totals.rows) return false;
  const [min, max] = [stats.minValues?.[column], stats.maxValues?.[column]];
  return min === undefined || max === undefined || (min <= wanted && wanted <= max);
}

/** Runs of files that overlap in time: each run can be read, sorted and forgotten before the next. */
export function timeRuns(files: readonly DataFile[]): DataFile[][] {
  const runs: DataFile[][] = [];
  let endMs = -1;
  for (const file of files) {
    const run = runs.at(-1);
    if (run === undefined || file.minChangedMs > endMs) runs.push([file]);
    else run.push(file);
    endMs = Math.max(endMs, file.maxChangedMs);
  }
  return runs;
}

export const iso = (ms: number): string => new Date(ms).toISOString();
