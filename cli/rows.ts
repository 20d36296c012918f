/** Rows as text: for a person, a line of JSON, a line of CSV. Columns as in the files. */
import * as z from "zod";
import { iso } from "../reader/range.ts";
import type { ChangeRow, Column } from "../reader/scan.ts";

export const FORMATS = ["table", "json", "csv", "parquet"] as const;
export type Format = (typeof FORMATS)[number];

export type RowFormat = {
  readonly header: string | null;
  /** @param version the commit that the row is from, when following */
  readonly line: (row: ChangeRow, version?: number) => string;
};

export function rowFormat(format: Exclude<Format, "parquet">, following: boolean): RowFormat {
  if (format === "json") return { header: null, line: rowJson };
  if (format === "csv") return { header: `${following ? "version," : ""}${CSV_HEADER}`, line: rowCsv };
  return { header: TABLE_HEADER, line: rowText };
}

/** One JSON object; `image` and `key` are JSON in it, their number text as it was. */
export function rowJson(row: ChangeRow, version?: number): string {
  const { image, key, changedMs, eventMs, userId, anonymousId, ...rest } = row;
  const columns = JSON.stringify({
    ...(version === undefined ? {} : { version }),
    changed_at: iso(changedMs),
    changed_ms: changedMs,
    ...rest,
    user_id: userId,
    anonymous_id: anonymousId,
    event_at: eventMs === null ? null : iso(eventMs),
  });
  return `${columns.slice(0, -1)},"key":${key},"image":${image ?? "null"}}`;
}

const CSV_HEADER =
  "changed_at,changed_ms,op,key,seq,shard,changes,kind,source,collection,id,user_id,anonymous_id,event,event_at,image";

/** RFC 4180. A null is an empty field, an empty text is `""`. */
function rowCsv(row: ChangeRow, version?: number): string {
  const fields = [
    ...(version === undefined ? [] : [version]),
    iso(row.changedMs),
    row.changedMs,
    row.op,
    row.key,
    row.seq,
    row.shard,
    row.changes,
    row.kind,
    row.source,
    row.collection,
    row.id,
    row.userId,
    row.anonymousId,
    row.event,
    row.eventMs === null ? null : iso(row.eventMs),
    row.image,
  ];
  return fields.map(csvField).join(",");
}

function csvField(value: string | number | null): string {
  if (value === null) return "";
  const text = String(value);
  return text === "" || /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Those that can be null and are shown. */
export const TABLE_COLUMNS: readonly Column[] = ["kind", "collection", "id", "event", "image"];
const WHAT_MAX = 60;
const TABLE_HEADER = `${"CHANGED AT".padEnd(24)}  ${"OP".padEnd(6)}  ${"COLLECTION".padEnd(12)}  ${"WHAT".padEnd(WHAT_MAX)}  ID`;

const REFUSED = z.object({ reason: z.object({ code: z.string(), message: z.string() }) });

/** Why an event was refused: what its image begins with, and the same for all, says little. */
function reasonOf({ kind, image }: ChangeRow): string | null {
  if (kind !== "rejected" || image === null) return null;
  const { data } = REFUSED.safeParse(JSON.parse(image));
  return data === undefined ? null : `${data.reason.code}: ${data.reason.message}`;
}

function rowText(row: ChangeRow): string {
  const what = row.event ?? reasonOf(row) ?? row.image ?? "";
  return [
    iso(row.changedMs),
    row.op.padEnd(6),
    (row.collection ?? "-").padEnd(12),
    (what.length > WHAT_MAX ? `${what.slice(0, WHAT_MAX - 1)}…` : what).padEnd(WHAT_MAX),
    row.id ?? row.key,
  ].join("  ");
}
