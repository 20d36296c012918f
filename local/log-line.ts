/** What of a part's output a person should see. */
import type { PartName } from "./part.ts";

export type LogLine =
  | { readonly kind: "record"; readonly level: string; readonly record: Readonly<Record<string, unknown>> }
  | { readonly kind: "text"; readonly text: string };

export function parseLogLine(text: string): LogLine {
  if (text.startsWith("{")) {
    try {
      const record = JSON.parse(text) as Record<string, unknown>;
      const { level } = record;
      return { kind: "record", level: typeof level === "string" ? level : "info", record };
    } catch {
      // It only looked like a record.
    }
  }
  return { kind: "text", text };
}

const SILENT_LEVELS: ReadonlySet<string> = new Set(["debug", "info"]);
const DYNOXIDE_GREETINGS = /^(Dynoxide listening|Shutting down)/;

/** Undefined for what is routine. */
export function describeLogLine(part: PartName, line: LogLine): string | undefined {
  if (line.kind === "text") {
    if (line.text.trim() === "" || DYNOXIDE_GREETINGS.test(line.text)) return undefined;
    return `${part}: ${line.text}`;
  }
  if (SILENT_LEVELS.has(line.level)) return undefined;
  const { level: _level, msg, time: _time, ...rest } = line.record;
  const details = Object.entries(rest).map(([name, value]) => `${name}=${word(value)}`);
  return [`${part}: ${line.level}:`, ...(msg === undefined ? [] : [word(msg)]), ...details].join(" ");
}

function word(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}
