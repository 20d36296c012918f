/** What to read: the range of a question, and the files that may hold its answer. Pure. */
import { VarveError } from "../shared/errors.ts";
import type { Op } from "../shared/row.ts";
import { parseDataKey } from "../shared/keys.ts";
import type { DataFile, Snapshot } from "../shared/snapshot.ts";
import { LEVEL_MS } from "../shared/window.ts";

/** (sinceMs, untilMs] */
export type TimeRange = { readonly kind: "time"; readonly sinceMs: number; readonly untilMs: number };
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

/** A row must satisfy all that are given. */
export type Filter = {
  readonly source?: string | undefined;
  readonly collection?: string | undefined;
  readonly id?: string | undefined;
  readonly op?: Op | undefined;
  readonly kind?: string | undefined;
  /** JSON text, as in the row. */
  readonly key?: string | undefined;
};

/** The filters that are columns of text, by column. */
export const FILTER_COLUMNS = ["source", "collection", "id", "op", "kind", "key"] as const;

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

/** Something that an answer's reader should know, though nothing is wrong. */
export type Notice = {
  readonly code: "before_first_commit" | "not_complete_yet" | "until_not_complete" | "until_inside_window";
  readonly message: string;
};

/** Throws `in_future` and `past_retention`; what is only remarkable comes back as notices. */
export function checkRange(
  snapshot: Snapshot,
  sinceMs: number,
  untilMs: number | undefined,
  nowMs: number,
): Notice[] {
  const { watermarkMs } = snapshot.log;
  if (sinceMs > nowMs && sinceMs > watermarkMs) {
    throw new VarveError(
      "in_future",
      `since ${iso(sinceMs)} is in the future: it is ${iso(nowMs)}, and the changelog is ${completeUpTo(watermarkMs)}.`,
      "Give an earlier time.",
    );
  }
  const keptMs = keptSinceMs(snapshot);
  if (keptMs !== null && sinceMs < keptMs) {
    throw new VarveError(
      "past_retention",
      `since ${iso(sinceMs)} is past retention: rows up to ${iso(keptMs)} have expired.`,
      `Give ${iso(keptMs)} or later, or take all that is kept with --from-snapshot.`,
    );
  }
  const notices: Notice[] = [];
  const beginsMs = snapshot.metaData.createdTime ?? 0;
  if (sinceMs < beginsMs) {
    notices.push({
      code: "before_first_commit",
      message: `the changelog begins at ${iso(beginsMs)}: what changed before then is not in it`,
    });
  }
  if (sinceMs > watermarkMs) {
    notices.push({
      code: "not_complete_yet",
      message: `the changelog is ${completeUpTo(watermarkMs)}: changes after ${iso(sinceMs)} are not told before they are all in`,
    });
  } else if (untilMs !== undefined && untilMs > watermarkMs) {
    notices.push({
      code: "until_not_complete",
      message: `the changelog is ${completeUpTo(watermarkMs)}: this ends there, not at ${iso(untilMs)}`,
    });
  }
  if (untilMs !== undefined && splitsWindow(snapshot, untilMs)) {
    notices.push({
      code: "until_inside_window",
      message: `${iso(untilMs)} is inside a window of which only each key's last change is kept: a key that changed again in it is told by that change, after ${iso(untilMs)}`,
    });
  }
  return notices;
}

const splitsWindow = ({ files }: Snapshot, untilMs: number): boolean =>
  [...files.values()].some((file) => file.minChangedMs <= untilMs && untilMs < file.maxChangedMs);

/**
 * The least T that (T, W] is still whole for; null when no row has expired. What expired lies in windows before all
 * that is live; the log remembers the removed files' names for some days.
 */
export function keptSinceMs({ log, files, removed }: Snapshot): number | null {
  if (log.expired.rows === 0) return null;
  let liveStartMs = log.watermarkMs;
  let firstRowMs = log.watermarkMs + 1;
  for (const { windowStartMs, minChangedMs } of files.values()) {
    liveStartMs = Math.min(liveStartMs, windowStartMs);
    firstRowMs = Math.min(firstRowMs, minChangedMs);
  }
  let expiredEndMs: number | null = null;
  for (const path of removed.keys()) {
    const parsed = parseDataKey(path);
    if (parsed === null) continue;
    const endMs = parsed.windowStartMs + LEVEL_MS[parsed.level];
    if (endMs <= liveStartMs) expiredEndMs = Math.max(expiredEndMs ?? 0, endMs);
  }
  return (expiredEndMs ?? firstRowMs) - 1;
}

/** Files that partition and statistics do not rule out, in time order. */
export function filesInRange(files: Iterable<DataFile>, range: TimeRange, filter: Filter): DataFile[] {
  return [...files]
    .filter((file) => file.maxChangedMs > range.sinceMs && file.minChangedMs <= range.untilMs)
    .filter((file) => mayHold(file, filter))
    .toSorted((a, b) => a.minChangedMs - b.minChangedMs);
}

/** False when the file's statistics rule out every row of the filter. */
export function mayHold(file: DataFile, filter: Filter): boolean {
  const asked = FILTER_COLUMNS.filter((column) => filter[column] !== undefined);
  if (asked.length === 0) return true;
  const { minValues, maxValues, nullCount } = statsOf(file);
  return asked.every((column) => {
    if (nullCount?.[column] === file.totals.rows) return false;
    const [min, max] = [minValues?.[column], maxValues?.[column]];
    return typeof min !== "string" || typeof max !== "string" || admitsText(filter, column, min, max);
  });
}

/** True unless `column` is filtered by a value outside of [min, max]. Parquet and Delta order text by bytes. */
export function admitsText(filter: Filter, column: string, min: string, max: string): boolean {
  const wanted = filter[column as keyof Filter];
  return wanted === undefined || (compareBytes(min, wanted) <= 0 && compareBytes(wanted, max) <= 0);
}

type Stats = {
  readonly minValues?: Readonly<Record<string, unknown>>;
  readonly maxValues?: Readonly<Record<string, unknown>>;
  readonly nullCount?: Readonly<Record<string, number>>;
};

export const statsOf = (file: DataFile): Stats => JSON.parse(file.add.stats ?? "{}") as Stats;

/** Order of UTF-8 bytes, which JavaScript's own differs from beyond the basic plane. */
export function compareBytes(a: string, b: string): number {
  const [left, right] = [encoder.encode(a), encoder.encode(b)];
  const length = Math.min(left.length, right.length);
  for (let index = 0; index < length; index += 1) {
    const difference = (left[index] as number) - (right[index] as number);
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}

const encoder = new TextEncoder();

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

const STEP_FILES_MAX = 64;
const STEP_BYTES_MAX = 32 * 1024 * 1024;

/** Whole runs, joined while they are small: what is fetched and sorted at a time. */
export function readingSteps(files: readonly DataFile[]): DataFile[][] {
  const steps: DataFile[][] = [];
  let bytes = 0;
  for (const run of timeRuns(files)) {
    const size = run.reduce((sum, file) => sum + file.sizeBytes, 0);
    const step = steps.at(-1);
    if (step === undefined || step.length + run.length > STEP_FILES_MAX || bytes + size > STEP_BYTES_MAX) {
      steps.push([...run]);
      bytes = size;
    } else {
      step.push(...run);
      bytes += size;
    }
  }
  return steps;
}

export const describeSince = (since: Since): string =>
  since.kind === "time" ? iso(since.ms) : String(since.version);

/** For people: no shard has been read while the watermark is 0. */
export const completeUpTo = (watermarkMs: number): string =>
  watermarkMs === 0 ? "not complete up to any time yet" : `complete up to ${iso(watermarkMs)}`;

export const iso = (ms: number): string => new Date(ms).toISOString();
