/** Amounts as people read them. */

/** `1,234` */
export const count = (value: number): string => value.toLocaleString("en-US");

/** `file` for 1, `files` for any other */
export const noun = (value: number, one: string, more = `${one}s`): string => (value === 1 ? one : more);

/** `1 file`, `1,234 files` */
export const many = (value: number, one: string, more?: string): string =>
  `${count(value)} ${noun(value, one, more)}`;

/** `958G` for 958000000000: short enough for a formula. */
export function short(value: number): string {
  const [scaled, unit] = scale(value, 4, ["", "k", "M", "G", "T", "P"]);
  return `${scaled}${unit}`;
}

/** `512 B`, `1.23 MB`, in units of 1,000. */
export function bytesText(value: number): string {
  const [scaled, unit] = scale(value, 3, ["B", "KB", "MB", "GB", "TB", "PB"]);
  return `${scaled} ${unit}`;
}

const SPANS = [
  [86_400, "d"],
  [3600, "h"],
  [60, "min"],
  [1, "s"],
] as const;

/** `46.6 s`, `4 min 10 s`, `2 h 15 min`. */
export function secondsText(seconds: number): string {
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const at = SPANS.findIndex(([size]) => seconds >= size);
  const [[size, unit], [nextSize, nextUnit]] = [SPANS[at] ?? SPANS[2], SPANS[at + 1] ?? SPANS[3]];
  return `${Math.floor(seconds / size)} ${unit} ${Math.floor((seconds % size) / nextSize)} ${nextUnit}`;
}

function scale(value: number, digits: number, [unit = "", ...larger]: readonly string[]): [number, string] {
  const rounded = Number(value.toPrecision(digits));
  return Math.abs(rounded) < 1000 || larger.length === 0
    ? [rounded, unit]
    : scale(value / 1000, digits, larger);
}
