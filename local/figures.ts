/** The figures of the live line, and where each comes from. */
import { DatabaseSync } from "node:sqlite";
import { z } from "zod";
import { many } from "../shared/amounts.ts";
import type { LogLine } from "./log-line.ts";

export type Figures = {
  /** Events new to the table since the start, as its stream shows them; unknown of a foreign DynamoDB. */
  readonly events: number | undefined;
  /** Rows committed since the start. */
  readonly rows: number;
  /** Rows that the log had at the start; unknown until the first commit. */
  readonly rowsBefore: number | undefined;
  readonly version: number | undefined;
  /** Every change up to here is in the changelog. */
  readonly watermarkMs: number | undefined;
};

export const noFigures: Figures = {
  events: undefined,
  rows: 0,
  rowsBefore: undefined,
  version: undefined,
  watermarkMs: undefined,
};

const Committed = z.object({
  msg: z.literal("committed"),
  version: z.int(),
  rows: z.int(),
  rows_total: z.int(),
  watermark_ms: z.number(),
});

/** The figures after one more line of the compactor's log. */
export function afterCompactorLine(figures: Figures, line: LogLine): Figures {
  const committed = line.kind === "record" ? Committed.safeParse(line.record).data : undefined;
  if (committed === undefined) return figures;
  // By the totals: a compactor that is killed may have committed what it did not come to tell.
  const rowsBefore = figures.rowsBefore ?? committed.rows_total - committed.rows;
  return {
    ...figures,
    rows: committed.rows_total - rowsBefore,
    rowsBefore,
    version: committed.version,
    // 0 until the first shards have been read.
    watermarkMs: committed.watermark_ms || figures.watermarkMs,
  };
}

/** How far the watermark is behind the clock. */
function lagMs(figures: Figures, nowMs: number): number | undefined {
  return figures.watermarkMs === undefined ? undefined : Math.max(0, nowMs - figures.watermarkMs);
}

/** The figures for programs. */
export function statusOf(figures: Figures, nowMs: number): object {
  const { events, rows, version, watermarkMs } = figures;
  return { events, rows, version, watermarkMs, lagMs: lagMs(figures, nowMs) };
}

export function describeFigures(figures: Figures, nowMs: number): string {
  const lag = lagMs(figures, nowMs);
  const words = [
    ...(figures.events === undefined ? [] : [`${many(figures.events, "event")} accepted`]),
    `${many(figures.rows, "row")} committed`,
    figures.version === undefined ? "no version yet" : `version ${figures.version}`,
    lag === undefined ? "no watermark yet" : `watermark lag ${(lag / 1000).toFixed(1)} s`,
  ];
  return words.join(" · ");
}

export type EventCounter = { readonly count: () => number; readonly [Symbol.dispose]: () => void };

/** Counts the events inserted from now on, by the stream records in dynoxide's file. */
export function countEvents(dbPath: string, table: string): EventCounter {
  const db = new DatabaseSync(dbPath, { readOnly: true, timeout: 200 });
  const since = db.prepare(
    `SELECT MAX(id) AS last, COUNT(*) FILTER (WHERE event_name = 'INSERT' AND keys_json LIKE '%"e#%') AS events
     FROM _stream_records WHERE id > ? AND table_name = ?`,
  );
  const first = db.prepare("SELECT COALESCE(MAX(id), 0) AS last FROM _stream_records").get();
  let last = Number(first?.["last"] ?? 0);
  let events = 0;
  return {
    count: () => {
      try {
        const row = since.get(last, table);
        last = Number(row?.["last"] ?? last);
        events += Number(row?.["events"] ?? 0);
      } catch {
        // The file is being written to; the next look counts these too.
      }
      return events;
    },
    [Symbol.dispose]: () => {
      db.close();
    },
  };
}
