/**
 * What flows now, and what flowed lately, out of the log alone: rows by the second in which they changed, rows by
 * the commit that brought them, and how far the watermark was behind. Pure.
 *
 * - A file's rows are spread evenly over the time that its statistics give them, unless it was looked into.
 * - A commit's rows are spread over the time since the commit before.
 * - Nothing is told of times past the watermark, nor of commits past the last one: not all of it is in yet.
 */
import type { Flow } from "../state.ts";
import type { KeptCommit } from "./commits.ts";
import type { Reading } from "./samples.ts";

/** What was found in one data file: rows by second, of those the rejected. */
export type Digest = {
  readonly seconds: readonly {
    readonly second: number;
    readonly rows: number;
    readonly rejected: number;
  }[];
};

export type FlowInput = {
  readonly nowMs: number;
  /** Ascending. */
  readonly commits: readonly KeptCommit[];
  readonly digests: ReadonlyMap<string, Digest>;
  /** Ascending. */
  readonly readings: readonly Reading[];
};

const STEPS_MS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600].map((seconds) => seconds * 1000);
const BUCKETS_MAX = 240;
const SPAN_MIN_MS = 120_000;
/** Of a log that commits often; of others, as far back as they make that many commits. */
const SPAN_LONG_MS = 600_000;
const SPAN_MAX_MS = 12 * 3_600_000;
const NOW_MIN_MS = 10_000;
const OVERDUE = 3;
const ERRORS_SPAN_MS = 300_000;

export function flowOf({ nowMs, commits, digests, readings }: FlowInput): Flow {
  const firstMs = Math.min(commits[0]?.line.atMs ?? nowMs, nowMs - SPAN_MIN_MS);
  const spanMs = Math.max(SPAN_LONG_MS, BUCKETS_MAX * (cadenceMs(commits) ?? 0));
  const fromMs = Math.max(firstMs, nowMs - Math.min(SPAN_MAX_MS, spanMs));
  const stepMs = STEPS_MS.find((step) => (nowMs - fromMs) / step <= BUCKETS_MAX) ?? 3_600_000;
  const lastEndMs = Math.floor(nowMs / stepMs) * stepMs;
  const count = Math.max(1, Math.ceil((lastEndMs - fromMs) / stepMs));
  const startMs = lastEndMs - count * stepMs;
  const endsMs = Array.from({ length: count }, (_, index) => startMs + (index + 1) * stepMs);
  const zeros = (): number[] => Array.from({ length: count }, () => 0);

  const rows = zeros();
  const rejected = zeros();
  const committed = zeros();
  const looked = Array.from({ length: count }, () => false);
  const blind = Array.from({ length: count }, () => false);
  const grid = { startMs, stepMs, count };
  let beforeMs = commits[0]?.line.atMs ?? 0;
  for (const { line, files } of commits) {
    spread(committed, grid, beforeMs, line.atMs, line.rows);
    beforeMs = line.atMs;
    for (const { path, minChangedMs, maxChangedMs, totals } of files) {
      const digest = digests.get(path);
      if (digest === undefined) {
        spread(rows, grid, minChangedMs, maxChangedMs + 1, totals.rows);
        mark(blind, grid, minChangedMs, maxChangedMs);
        continue;
      }
      mark(looked, grid, minChangedMs, maxChangedMs);
      for (const one of digest.seconds) {
        spread(rows, grid, one.second * 1000, one.second * 1000 + 1000, one.rows);
        spread(rejected, grid, one.second * 1000, one.second * 1000 + 1000, one.rejected);
      }
    }
  }
  const watermarkMs = commits.at(-1)?.line.watermarkMs ?? 0;
  // The next commit is still to come; when it is overdue, nothing is being committed.
  const lastMs = commits.at(-1)?.line.atMs ?? 0;
  const isOverdue = nowMs - lastMs > OVERDUE * Math.max(stepMs, cadenceMs(commits) ?? 0);
  const committedMs = isOverdue ? nowMs : lastMs;
  const perSecond = (value: number): number => (value * 1000) / stepMs;
  const isIn = (endMs: number): boolean => endMs <= watermarkMs && endMs > (commits[0]?.line.atMs ?? nowMs);
  const known = (values: readonly number[], unknown?: readonly boolean[]): (number | null)[] =>
    values.map((value, index) =>
      isIn(endsMs[index] ?? 0) && unknown?.[index] !== true ? perSecond(value) : null,
    );
  // Where nothing was looked into and nothing changed, nothing was rejected.
  const unseen = blind.map((one, index) => one && looked[index] !== true);
  const accepted = rows.map((value, index) => Math.max(0, value - (rejected[index] ?? 0)));
  return {
    stepMs,
    endsMs,
    accepted: known(accepted),
    rejected: known(rejected, unseen),
    committed: committed.map((value, index) => {
      const endMs = endsMs[index] ?? 0;
      return endMs > (commits[0]?.line.atMs ?? nowMs) && endMs <= committedMs ? perSecond(value) : null;
    }),
    lagMs: lags(commits, endsMs),
    errors: errorsIn(readings, endsMs, stepMs),
    now: {
      ...nowRates(commits, digests, nowMs),
      errors: errorsSince(readings, nowMs - ERRORS_SPAN_MS),
      errorsSpanMs: ERRORS_SPAN_MS,
    },
  };
}

type Grid = { readonly startMs: number; readonly stepMs: number; readonly count: number };

/** Adds `amount` to the buckets that [fromMs, toMs) lies in, each by its share. */
function spread(buckets: number[], grid: Grid, fromMs: number, toMs: number, amount: number): void {
  if (amount === 0) return;
  const { startMs, stepMs, count } = grid;
  const [from, to] = [Math.min(fromMs, toMs - 1), toMs];
  const first = Math.max(0, Math.floor((from - startMs) / stepMs));
  const last = Math.min(count - 1, Math.floor((to - 1 - startMs) / stepMs));
  for (let index = first; index <= last; index += 1) {
    const begin = startMs + index * stepMs;
    const share = (Math.min(to, begin + stepMs) - Math.max(from, begin)) / (to - from);
    buckets[index] = (buckets[index] ?? 0) + amount * share;
  }
}

function mark(buckets: boolean[], { startMs, stepMs, count }: Grid, fromMs: number, toMs: number): void {
  const first = Math.max(0, Math.floor((fromMs - startMs) / stepMs));
  const last = Math.min(count - 1, Math.floor((toMs - startMs) / stepMs));
  for (let index = first; index <= last; index += 1) buckets[index] = true;
}

function lags(commits: readonly KeptCommit[], endsMs: readonly number[]): (number | null)[] {
  let at = -1;
  return endsMs.map((endMs) => {
    while ((commits[at + 1]?.line.atMs ?? Infinity) <= endMs) at += 1;
    const watermarkMs = commits[at]?.line.watermarkMs ?? 0;
    return watermarkMs === 0 ? null : Math.max(0, endMs - watermarkMs);
  });
}

/** Counters rise; one that fell was that of a process before. */
function errorsIn(
  readings: readonly Reading[],
  endsMs: readonly number[],
  stepMs: number,
): (number | null)[] {
  const buckets = new Map<number, number>();
  readings.forEach(({ atMs, errors }, index) => {
    const before = readings[index - 1];
    if (before === undefined) return;
    const endMs = Math.ceil(atMs / stepMs) * stepMs;
    buckets.set(endMs, (buckets.get(endMs) ?? 0) + Math.max(0, errors - before.errors));
  });
  const firstMs = readings[0]?.atMs ?? Infinity;
  return endsMs.map((endMs) => buckets.get(endMs) ?? (endMs > firstMs ? 0 : null));
}

function errorsSince(readings: readonly Reading[], sinceMs: number): number | null {
  const last = readings.at(-1);
  const first = readings.find(({ atMs }) => atMs >= sinceMs);
  return last === undefined || first === undefined ? null : Math.max(0, last.errors - first.errors);
}

/** How long a commit takes to be followed by another, ms: the median of late; null when there is none. */
export function cadenceMs(commits: readonly KeptCommit[]): number | null {
  const late = commits.slice(-30);
  const gaps = late
    .slice(1)
    .map(({ line }, index) => line.atMs - (late[index]?.line.atMs ?? line.atMs))
    .toSorted((a, b) => a - b);
  return gaps[Math.floor(gaps.length / 2)] ?? null;
}

/** Rates over a few commits' time: what changed by the watermark, what was committed by now. */
function nowRates(
  commits: readonly KeptCommit[],
  digests: ReadonlyMap<string, Digest>,
  nowMs: number,
): Pick<Flow["now"], "acceptedPerSecond" | "rejectedPerSecond" | "committedPerSecond"> {
  const cadence = cadenceMs(commits);
  const last = commits.at(-1);
  if (cadence === null || last === undefined)
    return { acceptedPerSecond: null, rejectedPerSecond: null, committedPerSecond: null };
  const spanMs = Math.max(NOW_MIN_MS, 2 * cadence);
  const { watermarkMs } = last.line;
  const within = { startMs: watermarkMs - spanMs, stepMs: spanMs, count: 1 };
  const rows = [0];
  const rejected = [0];
  let blind = false;
  for (const { files } of commits) {
    for (const { path, minChangedMs, maxChangedMs, totals } of files) {
      if (maxChangedMs <= within.startMs) continue;
      const digest = digests.get(path);
      if (digest === undefined) {
        blind = true;
        spread(rows, within, minChangedMs, maxChangedMs + 1, totals.rows);
      }
      for (const one of digest?.seconds ?? []) {
        spread(rows, within, one.second * 1000, one.second * 1000 + 1000, one.rows);
        spread(rejected, within, one.second * 1000, one.second * 1000 + 1000, one.rejected);
      }
    }
  }
  const committed = commits
    .filter(({ line }) => line.atMs > nowMs - spanMs)
    .reduce((sum, { line }) => sum + line.rows, 0);
  const perSecond = (value: number): number => (value * 1000) / spanMs;
  return {
    acceptedPerSecond: perSecond(Math.max(0, (rows[0] ?? 0) - (rejected[0] ?? 0))),
    rejectedPerSecond: blind ? null : perSecond(rejected[0] ?? 0),
    committedPerSecond: perSecond(committed),
  };
}
