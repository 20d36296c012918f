/**
 * Windows: aligned UTC intervals [start, start + length). Levels 1 to 3 are five minutes, an hour, a day;
 * a level 0 file (one flush) holds rows of one level 1 window, so that it is merged as a whole.
 */
export const LEVELS = [0, 1, 2, 3] as const;
export type Level = (typeof LEVELS)[number];

const FIVE_MINUTES_MS = 300_000;
export const LEVEL_MS: Readonly<Record<Level, number>> = {
  0: FIVE_MINUTES_MS,
  1: FIVE_MINUTES_MS,
  2: 3_600_000,
  3: 86_400_000,
};

export const windowStartMs = (level: Level, ms: number): number => ms - (ms % LEVEL_MS[level]);

/** The UTC date of `ms`, as the partition column `dt` has it: `2026-11-23`. */
export const dateOf = (ms: number): string => new Date(ms).toISOString().slice(0, 10);
