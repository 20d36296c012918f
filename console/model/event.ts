/** A row of the changelog as a line of the event debugger. Pure. */
import type { ChangeRow } from "../../reader/scan.ts";
import { isJsonObject } from "../../shared/json.ts";
import type { JsonObject } from "../../shared/json.ts";
import type { EventLine, EventStatus } from "../state.ts";

/** Of `image`, so much is kept. An event's body is no longer than this. */
export const IMAGE_CHARS_MAX = 65_536;

const TYPE_OF: Readonly<Record<string, string>> = {
  tracks: "track",
  pages: "page",
  screens: "screen",
  identifies: "identify",
  groups: "group",
  aliases: "alias",
};

export function eventLine(row: ChangeRow, n: number): EventLine {
  const cut = (row.image?.length ?? 0) > IMAGE_CHARS_MAX;
  const json = row.image?.slice(0, IMAGE_CHARS_MAX) ?? null;
  const base = {
    n,
    changedMs: row.changedMs,
    op: row.op,
    source: row.source,
    user: row.userId ?? row.anonymousId,
    id: row.id,
    json,
    cut,
    shard: row.shard,
    seq: row.seq,
  };
  const status = statusOf(row.kind);
  if (status === "rejected") return { ...base, status, ...rejectedParts(json) };
  if (status === "object") {
    return { ...base, status, type: "object", name: `${row.collection ?? ""}/${row.id ?? ""}`, reason: null };
  }
  if (status === "change") return { ...base, status, type: row.op, name: row.key, reason: null };
  const type = TYPE_OF[row.collection ?? ""] ?? row.collection ?? "event";
  return { ...base, status, type, name: row.event, reason: null };
}

function statusOf(kind: string | null): EventStatus {
  if (kind === "event") return "accepted";
  return kind === "rejected" || kind === "object" ? kind : "change";
}

/** Of `{"reason":{"code","message"},"event"}`, whose event is as a client sent it: anything at all. */
function rejectedParts(json: string | null): Pick<EventLine, "type" | "name" | "user" | "reason"> {
  const body = parsed(json);
  const reason = isJsonObject(body["reason"]) ? body["reason"] : {};
  const event = isJsonObject(body["event"]) ? body["event"] : {};
  return {
    type: text(event["type"]) ?? "?",
    name: text(event["event"]) ?? text(event["name"]),
    user: text(event["userId"]) ?? text(event["anonymousId"]),
    reason: { code: text(reason["code"]) ?? "rejected", message: text(reason["message"]) ?? "" },
  };
}

function parsed(json: string | null): JsonObject {
  try {
    const value: unknown = JSON.parse(json ?? "");
    return isJsonObject(value) ? value : {};
  } catch {
    return {};
  }
}

const TEXT_MAX = 500;

function text(value: unknown): string | null {
  if (typeof value === "string") return value.slice(0, TEXT_MAX);
  return typeof value === "number" || typeof value === "boolean" ? String(value) : null;
}
