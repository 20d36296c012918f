/** What a bench gives: rows, as an aligned table for people or one JSON object a line for programs. */
export type BenchRow = {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** What `ratio` (or, without one, `value`) should stay over or under; null where there is no aim. */
  readonly limit: number | null;
  /** `value` against the yardstick that `name` names, measured in the same run. */
  readonly ratio: number | null;
};

export const median = (values: readonly number[]): number => quantile(values, 0.5);

/** The least value that so many of them do not exceed. @param share 0 to 1 */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN;
}

export const rowJson = ({ name, value, unit, limit, ratio }: BenchRow): string =>
  JSON.stringify({ name, value, unit, limit, ratio });

const HEADER = ["", "value", "unit", "ratio", "limit"] as const;

export function table(rows: readonly BenchRow[]): string {
  const lines = [
    HEADER,
    ...rows.map(({ name, value, unit, ratio, limit }) => [
      name,
      figure(value),
      unit,
      ratio === null ? "" : ratio.toFixed(2),
      limit === null ? "" : figure(limit),
    ]),
  ];
  const widths = HEADER.map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  return lines
    .map((line) =>
      line
        .map((cell, column) => pad(cell, column, widths))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

const pad = (cell: string, column: number, widths: readonly number[]): string =>
  column === 0 || column === 2 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0);

/** Three digits or more, thousands set apart. */
const figure = (value: number): string =>
  value.toLocaleString("en-US", { maximumFractionDigits: value < 10 ? 2 : value < 100 ? 1 : 0 });
