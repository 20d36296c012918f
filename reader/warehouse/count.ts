/** Counts, as many as a question has, in one pass over a relation. */
import type { DuckDBConnection } from "@duckdb/node-api";

/** How many rows each condition is true of. */
export async function countEach(
  scratch: DuckDBConnection,
  relation: string,
  conditions: readonly string[],
): Promise<readonly number[]> {
  if (conditions.length === 0) return [];
  const counts = conditions.map((condition) => `count_if(${condition})::INTEGER`);
  const counted = await scratch.runAndReadAll(`SELECT ${counts.join(", ")} FROM ${relation}`);
  return (counted.getRows()[0] ?? []).map(Number);
}
