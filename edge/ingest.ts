/**
 * A request's parsed body to what is accepted and what is rejected, item by item. Pure.
 *
 * - One bad event never fails its batch.
 * - Of two events with one messageId in a request the first stands.
 */
import * as z from "zod";
import { boundedText, EVENT_LIMITS, isOpaqueObject, normaliseEvent, traitsOf } from "../shared/event.ts";
import type { Envelope, EventType, NormalEvent, Reason, Receipt } from "../shared/event.ts";
import {
  cleanJson,
  cleanText,
  isCleanText,
  isDeeperThan,
  isJsonObject,
  isLargerThan,
  isRawNumber,
  opensMoreThan,
  parseJson,
} from "../shared/json.ts";
import type { JsonObject } from "../shared/json.ts";
import { eventTimes, parseTimeMs } from "../shared/time.ts";
import type { Batch } from "./batch.ts";
import type { Puts } from "./items.ts";
import type { ObjectWrite } from "./objects.ts";
import type { PlainBatch } from "./plain.ts";
import type { Rules } from "./rules.ts";

export const REQUEST_LIMITS = {
  /** Once decompressed: 500 KB of events, as SDKs count them, and what stands around and between them. */
  bytesMax: 512 * 1024,
  eventsMax: 2500,
  objectsMax: 1000,
  propertiesMax: 10_000,
  /** A request's events with the envelope's context merged into each: what it makes of us in memory. */
  mergedBytesMax: 8 * 1024 * 1024,
} as const;

/** What a path asks for. */
export type Call =
  | { readonly kind: "single"; readonly type: EventType }
  | { readonly kind: "batch" }
  | { readonly kind: "set" };

export type AcceptedEvent = {
  readonly index: number;
  readonly event: NormalEvent;
  /** JSON text of the common schema. */
  readonly body: string;
};
export type AcceptedObject = ObjectWrite & { readonly index: number };

export type Rejection = {
  readonly index: number;
  readonly messageId: string | null;
  readonly code: string;
  readonly message: string;
  /** As sent. */
  readonly event: unknown;
};

export type Ingested = {
  readonly kind: "ingested";
  /** How many events or objects the request holds. */
  readonly total: number;
  /** Of the events that were plain: full ones, and what is left over. */
  readonly batches: readonly Batch[];
  readonly puts: readonly Puts[];
  readonly events: readonly AcceptedEvent[];
  readonly objects: readonly AcceptedObject[];
  readonly rejected: readonly Rejection[];
};
export type Refused = {
  readonly kind: "refused";
  readonly status: 400 | 401 | 403 | 404 | 405 | 429 | 503;
  readonly code: string;
  readonly message: string;
  readonly fix: string;
};

export type IngestContext = Receipt & { readonly rules: Rules };

export const refused = (status: Refused["status"], code: string, message: string, fix: string): Refused => ({
  kind: "refused",
  status,
  code,
  message,
  fix,
});

export function ingest(call: Call, body: unknown, context: IngestContext): Ingested | Refused {
  if (call.kind === "set") return ingestSet(body, context);
  if (call.kind === "single") return ingestEvents([[0, body]], 1, call.type, NO_ENVELOPE, context);
  const batch = isJsonObject(body) ? body["batch"] : body;
  if (!Array.isArray(batch)) {
    return refused(400, "no_batch", "the body has no batch", 'send {"batch": [event, ...]}');
  }
  if (batch.length === 0) return refused(400, "no_events", "the batch holds no event", "send at least one");
  if (batch.length > REQUEST_LIMITS.eventsMax) {
    return refused(
      400,
      "too_many_events",
      `the batch holds ${batch.length} events, more than ${REQUEST_LIMITS.eventsMax}`,
      `send at most ${REQUEST_LIMITS.eventsMax} in one request`,
    );
  }
  const envelope = isJsonObject(body) ? envelopeOf(body, context.dirty) : NO_ENVELOPE;
  if ("kind" in envelope) return envelope;
  return ingestEvents(batch.entries(), batch.length, null, envelope, context);
}

/**
 * As `ingest`, of a batch whose plain events have been read. Null when an odd event has the messageId of a plain one:
 * which of them is the first is for `ingest` to see.
 */
export function ingestRest(
  plain: PlainBatch,
  envelope: Envelope,
  context: Omit<IngestContext, "dirty">,
): Ingested | Refused | null {
  const { total, batches, puts, odd } = plain;
  const sent = odd.map(({ index, text }): [number, unknown] => [index, parseJson(text)]);
  const rest = ingestEvents(sent, total, null, envelope, { ...context, dirty: true });
  if (rest.kind === "refused") return rest;
  const plainIds = new Set(odd.length === 0 ? [] : plain.messageIds());
  if (rest.events.some(({ event }) => plainIds.has(event.messageId))) return null;
  const objects = [...plain.objects, ...rest.objects].toSorted((a, b) => a.index - b.index);
  return { ...rest, batches, puts, objects };
}

const NO_ENVELOPE: Envelope = {
  context: null,
  integrations: null,
  sentAt: undefined,
  sentAtMs: null,
  originalTimestamp: undefined,
};

export function envelopeOf(body: JsonObject, dirty: boolean): Envelope | Refused {
  const { context, integrations } = body;
  for (const shared of [context, integrations]) {
    if (!isJsonObject(shared)) continue;
    if (dirty) cleanJson(shared);
    const tooDeep = isDeeperThan(shared, EVENT_LIMITS.depthMax);
    if (!tooDeep && !isLargerThan(JSON.stringify(shared), EVENT_LIMITS.bytesMax)) continue;
    return refused(
      400,
      "envelope_too_large",
      "the batch's own context or integrations is larger or deeper than one event may be",
      `keep it under ${EVENT_LIMITS.bytesMax} bytes and ${EVENT_LIMITS.depthMax} levels`,
    );
  }
  return {
    context: isJsonObject(context) ? context : null,
    integrations: isJsonObject(integrations) ? integrations : null,
    sentAt: body["sentAt"],
    sentAtMs: parseTimeMs(body["sentAt"]),
    originalTimestamp: body["originalTimestamp"] ?? body["timestamp"],
  };
}

function messageIdOf(sent: unknown): string | null {
  const messageId = isJsonObject(sent) ? (sent["messageId"] ?? sent["id"]) : null;
  return typeof messageId === "string" ? messageId.slice(0, EVENT_LIMITS.messageIdMax) : null;
}

type Encoded =
  | { readonly kind: "encoded"; readonly event: NormalEvent; readonly body: string }
  | { readonly kind: "rejected"; readonly reason: Reason };

const tooLarge: Encoded = {
  kind: "rejected",
  reason: {
    code: "event_too_large",
    message: `an event may have ${EVENT_LIMITS.bytesMax} bytes of JSON (${EVENT_LIMITS.mergedBytesMax} with the batch's context): send less in it`,
  },
};
const tooDeep: Encoded = {
  kind: "rejected",
  reason: {
    code: "too_deep",
    message: `an event may nest ${EVENT_LIMITS.depthMax} levels: flatten it, or send what is deep as text`,
  },
};

function encode(sent: unknown, type: EventType | null, envelope: Envelope, context: IngestContext): Encoded {
  const result = normaliseEvent(sent, type, envelope, context);
  if (result.kind === "rejected") return result;
  const { event } = result;
  if (context.dirty) cleanJson(event.record);
  const verdict = context.rules(event);
  if (verdict.kind === "rejected") return verdict;
  const { violations } = verdict;
  if (violations.length > 0)
    event.record["varve"] = { flags: [...event.flags, ...verdict.flags], violations };
  else if (verdict.flags.length + event.flags.length > 0) {
    event.record["varve"] = { flags: [...event.flags, ...verdict.flags] };
  }
  let body: string;
  try {
    body = JSON.stringify(event.record);
    if (isLargerThan(body, EVENT_LIMITS.bytesMax)) {
      if (isLargerThan(body, EVENT_LIMITS.mergedBytesMax)) return tooLarge;
      if (isLargerThan(JSON.stringify(sent), EVENT_LIMITS.bytesMax)) return tooLarge;
    }
  } catch {
    // JSON.stringify recurses: its stack is the first to end.
    return tooDeep;
  }
  if (opensMoreThan(body, EVENT_LIMITS.depthMax) && isDeeperThan(event.record, EVENT_LIMITS.depthMax)) {
    return tooDeep;
  }
  return { kind: "encoded", event, body };
}

function ingestEvents(
  batch: Iterable<readonly [number, unknown]>,
  total: number,
  type: EventType | null,
  envelope: Envelope,
  context: IngestContext,
): Ingested | Refused {
  const events: AcceptedEvent[] = [];
  const objects: AcceptedObject[] = [];
  const rejected: Rejection[] = [];
  const seen = new Set<string>();
  let mergedLength = 0;
  for (const [index, sent] of batch) {
    const encoded = encode(sent, type, envelope, context);
    if (encoded.kind === "rejected") {
      const messageId = messageIdOf(sent);
      if (context.dirty) cleanJson(sent);
      const event = typeof sent === "string" ? cleanText(sent) : sent;
      rejected.push({ index, messageId, ...encoded.reason, event });
      continue;
    }
    const { event, body } = encoded;
    if (seen.has(event.messageId)) continue;
    seen.add(event.messageId);
    mergedLength += body.length;
    if (mergedLength > REQUEST_LIMITS.mergedBytesMax) {
      return refused(
        400,
        "context_too_large",
        "the batch's context, merged into each of its events, makes them too large together",
        "send fewer events in one request, or a smaller context",
      );
    }
    events.push({ index, event, body });
    const object = objectOf(event, index);
    if (object !== null) objects.push(object);
  }
  return { kind: "ingested", total, batches: [], puts: [], events, objects, rejected };
}

/** identify upserts `users`, group upserts `accounts`. */
function objectOf(event: NormalEvent, index: number): AcceptedObject | null {
  const { record, eventAtMs } = event;
  const properties = traitsOf(event.type, record);
  if (event.type === "identify" && event.userId !== null) {
    return { index, collection: "users", id: event.userId, eventAtMs, properties };
  }
  if (event.type === "group") {
    return { index, collection: "accounts", id: String(record["groupId"]), eventAtMs, properties };
  }
  return null;
}

const OBJECT_ID = "id must be a string of 1-100 characters";
const OBJECT_ID_UNCLEAN = "id holds a NUL or half a surrogate pair: send whole characters";
const OBJECT_PROPERTIES = "properties must be a JSON object";

export const SET_OBJECT = z.object({
  id: z.union([boundedText(1, 100, OBJECT_ID), z.number()], { error: OBJECT_ID }),
  properties: z
    .unknown()
    .refine(isOpaqueObject, { error: OBJECT_PROPERTIES })
    .meta({
      type: ["object", "null", "array"],
      maxItems: 0,
      maxProperties: REQUEST_LIMITS.propertiesMax,
      additionalProperties: { type: ["string", "number", "boolean", "null"] },
      description: `Each value at most ${EVENT_LIMITS.bytesMax} bytes`,
    })
    .optional(),
  timestamp: z
    .unknown()
    .meta({ description: "When the object was so; absent, when it is received" })
    .optional(),
});

export const SET_COLLECTION = boundedText(1, 100).regex(/^[a-z](?:[a-z_]*[a-z])?$/);

function ingestSet(body: unknown, context: IngestContext): Ingested | Refused {
  const call = isJsonObject(body) ? body : {};
  const collection = SET_COLLECTION.safeParse(call["collection"]);
  if (!collection.success) {
    return refused(
      400,
      "bad_collection",
      "collection must be 1-100 of a-z and _, with no _ at either end",
      'send {"collection": "rooms", "objects": [{"id": "1", "properties": {}}]}',
    );
  }
  const sent = call["objects"];
  if (!Array.isArray(sent) || sent.length === 0 || sent.length > REQUEST_LIMITS.objectsMax) {
    return refused(
      400,
      "bad_objects",
      `objects must be a list of 1-${REQUEST_LIMITS.objectsMax} objects`,
      'send {"collection": "rooms", "objects": [{"id": "1", "properties": {}}]}',
    );
  }
  const objects: AcceptedObject[] = [];
  const rejected: Rejection[] = [];
  for (const [index, asSent] of (sent as unknown[]).entries()) {
    const object = withTextId(asSent);
    const isUnclean = context.dirty && hasUncleanId(object);
    if (context.dirty) cleanJson(object);
    const reason = isUnclean ? { code: "bad_object", message: OBJECT_ID_UNCLEAN } : checkObject(object);
    if (reason === null && isJsonObject(object)) {
      const properties = isJsonObject(object["properties"]) ? object["properties"] : {};
      // One from the future would stand above all that is written until then.
      const sentTime = object["timestamp"] ?? call["timestamp"];
      const { timestampMs: eventAtMs } = eventTimes(sentTime, null, context.receivedAtMs, context.skewMaxMs);
      objects.push({ index, collection: collection.data, id: String(object["id"]), eventAtMs, properties });
    } else {
      const { code, message } = reason ?? { code: "bad_object", message: OBJECT_PROPERTIES };
      rejected.push({ index, messageId: messageIdOf(object), code, message, event: object });
    }
  }
  return { kind: "ingested", total: sent.length, batches: [], puts: [], events: [], objects, rejected };
}

/** Digits too long for a double are still digits, as in an event's ids. */
function withTextId(object: unknown): unknown {
  const id = isJsonObject(object) ? object["id"] : undefined;
  return isJsonObject(object) && isRawNumber(id) ? { ...object, id: id.rawJSON } : object;
}

function hasUncleanId(object: unknown): boolean {
  const id = isJsonObject(object) ? object["id"] : undefined;
  return typeof id === "string" && !isCleanText(id);
}

function checkObject(object: unknown): Reason | null {
  const checked = SET_OBJECT.safeParse(object);
  if (!checked.success) {
    const message = isJsonObject(object)
      ? (checked.error.issues[0]?.message ?? OBJECT_PROPERTIES)
      : "an object must be a JSON object";
    return { code: "bad_object", message };
  }
  const properties = Object.entries(checked.data.properties ?? {});
  if (properties.length > REQUEST_LIMITS.propertiesMax) {
    return {
      code: "too_many_properties",
      message: `an object may have ${REQUEST_LIMITS.propertiesMax} properties`,
    };
  }
  for (const [name, value] of properties) {
    if (typeof value === "object" && value !== null && !isRawNumber(value)) {
      return { code: "not_scalar", message: `property ${name} must be a string, number, boolean or null` };
    }
    if (typeof value === "string" && isLargerThan(value, EVENT_LIMITS.bytesMax)) {
      return {
        code: "value_too_large",
        message: `property ${name} is larger than ${EVENT_LIMITS.bytesMax} bytes`,
      };
    }
  }
  return null;
}
