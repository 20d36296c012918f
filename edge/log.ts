/** The edge's log: what failed, and never a write key, a body or an address. */
import { describeError } from "../shared/errors.ts";

export const log = (at: string, reason: string): void =>
  console.error(JSON.stringify({ level: "error", at, reason }));

/** A SyntaxError's message quotes what was read: where it was thrown must do. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof SyntaxError)) return describeError(error);
  const frames = error.stack?.split("\n").filter((line) => /^\s+at .*:\d+:\d+/.test(line)) ?? [];
  return `${error.name} ${frames[0]?.trim() ?? ""}`;
}
