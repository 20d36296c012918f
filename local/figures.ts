/** The figures of the live line, and where each comes from. */
import { DatabaseSync } from "node:sqlite";
import { z } from "zod";

export type Figures = {
  /** Events new to the table since the start, as its stream shows them; unknown of a foreign DynamoDB. */
  readonly events: number | undefined;
  /** Rows committed since the start. */
  readonly rows: number;
  readonly version: number | undefined;
  /** How far the watermark was behind when the last commit was made. */
  readonly lagMs: number | undefined;
};

export const noFigures: Figures = { events: undefined, rows: 0, version: undefined, lagMs: undefined };

const Committed = z.object({
  msg: z.literal("committed"),
  version: z.int(),
  rows: z.int(),
  watermark_ms: z.number().nullish(),
});

/** The figures after one more line of the compactor's log. */
export function afterCompactorLine(figures: Figures, line: unknown, nowMs: number): Figures {
  const committed = Committed.safeParse(line).data;
  if (committed === undefined) return figures;
  const watermarkMs = committed.watermark_ms ?? undefined;
  return {
    ...figures,
    rows: figures.rows + committed.rows,
    version: committed.version,
    lagMs: watermarkMs === undefined ? figures.lagMs : Math.max(0, nowMs - watermarkMs),
  };
}

export function describeFigures(figures: Figures): string {
  const words = [
    ...(figures.events === undefined ? [] : [`${count(figures.events)} events accepted`]),
    `${count(figures.rows)} rows committed`,
    figures.version === undefined ? "no version yet" : `version ${figures.version}`,
    ...(figures.lagMs === undefined ? [] : [`watermark lag ${(figures.lagMs / 1000).toFixed(1)} s`]),
  ];
  return words.join(" · ");
}

function count(value: number): string {
  return value.toLocaleString("en-US");
}

export type EventCounter = { readonly count: () => number; readonly close: () => void };

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
    close: () => {
      db.close();
    },
  };
}
