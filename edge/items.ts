/** The items of events and rejected events, as PutRequests in JSON: written once, never parsed back. */
import { EVENT_LIMITS } from "../shared/event.ts";
import type { NormalEvent } from "../shared/event.ts";
import { eventPk, rejectedPk } from "../shared/item.ts";
import { cleanText, isJsonObject, parseJson } from "../shared/json.ts";
import type { JsonObject } from "../shared/json.ts";
import type { Rejection } from "./ingest.ts";

export type Stamp = {
  readonly source: string;
  readonly receivedAtMs: number;
  /** Seconds: DynamoDB's TTL, after which a resent event counts as a new one. */
  readonly expiresAtS: number;
};

/** One or more puts of a BatchWriteItem, at most as many as it takes. */
export type Puts = {
  /** `{"PutRequest":...}`, in UTF-8, with commas between them. */
  readonly bytes: Uint8Array;
  /** Where each one's event stood in the request; null for an item that no client waits for. */
  readonly indexes: readonly (number | null)[];
};

const encoder = new TextEncoder();
const quote = (text: string): string => JSON.stringify(text);

/** Makes the items of one request's events; what they share is written once. */
export function eventPuts(stamp: Stamp): (event: NormalEvent, body: string, index: number) => Puts {
  const prefix = eventPk(stamp.source, "");
  const shared = `},"kind":{"S":"event"},"source":{"S":"${stamp.source}"},"received_at":{"N":"${stamp.receivedAtMs}"},"expires_at":{"N":"${stamp.expiresAtS}"},"collection":{"S":"`;
  return (event, body, index) => {
    let text = `{"PutRequest":{"Item":{"pk":{"S":${quote(prefix + event.messageId)}${shared}${event.collection}"},"event_at":{"N":"${event.eventAtMs}"}`;
    if (event.userId !== null) text += `,"user_id":{"S":${quote(event.userId)}}`;
    if (event.anonymousId !== null) text += `,"anonymous_id":{"S":${quote(event.anonymousId)}}`;
    if (event.name !== null) text += `,"event":{"S":${quote(event.name)}}`;
    return { bytes: encoder.encode(`${text},"body":{"S":${quote(body)}}}}}`), indexes: [index] };
  };
}

/** The event that the one put writes. */
export function eventOf({ bytes }: Puts): JsonObject {
  const { PutRequest } = JSON.parse(new TextDecoder().decode(bytes)) as {
    PutRequest: { Item: { body: { S: string } } };
  };
  return parseJson(PutRequest.Item.body.S) as JsonObject;
}

/** The event as it was sent, without its write key; cut, as a string, where it is too large to keep. */
function keptEvent(event: unknown): unknown {
  if (typeof event === "string") return cleanText(event.slice(0, EVENT_LIMITS.bytesMax));
  const kept = isJsonObject(event) ? { ...event, writeKey: undefined, write_key: undefined } : event;
  try {
    const text = JSON.stringify(kept) ?? "null";
    return text.length <= EVENT_LIMITS.bytesMax ? kept : cleanText(text.slice(0, EVENT_LIMITS.bytesMax));
  } catch {
    return "an event nested too deep to keep";
  }
}

async function digestHex(text: string): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", encoder.encode(text)));
  return Array.from(digest.subarray(0, 16), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const rejectedBody = ({ code, message, event }: Rejection): string =>
  JSON.stringify({ reason: { code, message }, event: keptEvent(event) });

/**
 * Each named by its content: what a client sends again, or a request holds twice, is kept once. (BatchWriteItem
 * refuses a key that it is given twice.)
 */
export async function rejectedPuts(rejections: readonly Rejection[], stamp: Stamp): Promise<readonly Puts[]> {
  const bodies = new Set(rejections.map(rejectedBody));
  return Promise.all(Array.from(bodies, (body) => rejectedPut(body, stamp)));
}

async function rejectedPut(body: string, stamp: Stamp): Promise<Puts> {
  const id = await digestHex(body);
  const item = `"pk":{"S":${quote(rejectedPk(stamp.source, id))}},"kind":{"S":"rejected"},"source":{"S":"${stamp.source}"},"collection":{"S":"rejected"},"received_at":{"N":"${stamp.receivedAtMs}"},"expires_at":{"N":"${stamp.expiresAtS}"},"body":{"S":${quote(body)}}`;
  return { bytes: encoder.encode(`{"PutRequest":{"Item":{${item}}}}`), indexes: [null] };
}
