/**
 * An event: one call of a client SDK, checked and brought into Segment's common schema.
 *
 * - An id (messageId, userId, anonymousId, groupId, previousId) is never cut or rewritten: one that cannot
 *   stand is a reason to reject. A number is taken as its digits.
 * - `properties`, `traits`, `context` and `integrations` stay opaque.
 * - A write key in an event is dropped.
 */
import * as z from "zod";
import { cleanText, isCleanText, isJsonObject, isRawNumber } from "./json.ts";
import type { JsonObject } from "./json.ts";
import { eventTimes, parseTimeMs } from "./time.ts";
import type { EventTimes } from "./time.ts";

export const EVENT_TYPES = ["track", "identify", "page", "screen", "group", "alias"] as const;
export type EventType = (typeof EVENT_TYPES)[number];

export const EVENT_LIMITS = {
  /** One event as sent. With 32 KB there is no room for the documented 10,000 properties. */
  bytesMax: 32 * 1024,
  /** One event with the envelope's context merged in. */
  mergedBytesMax: 64 * 1024,
  depthMax: 32,
  messageIdMax: 100,
  /** Any other id: it may become part of a DynamoDB key, which holds 2,048 bytes. */
  idMax: 500,
} as const;

export const EVENT_COLLECTIONS: Readonly<Record<EventType, string>> = {
  track: "tracks",
  identify: "identifies",
  page: "pages",
  screen: "screens",
  group: "groups",
  alias: "aliases",
};

/** Nothing at all, or an object; PHP writes an empty one as `[]`. */
export function isOpaqueObject(value: unknown): boolean {
  return (
    value === undefined ||
    value === null ||
    isJsonObject(value) ||
    (Array.isArray(value) && value.length === 0)
  );
}

/**
 * A string of so many characters. Zod's own `min` and `max` look at the `length` of whatever has one, and where that is a
 * raw number, comparing it throws.
 */
export const boundedText = (min: number, max: number | null, error?: string) =>
  z
    .string(error === undefined ? undefined : { error })
    .refine((text) => text.length >= min && (max === null || text.length <= max), error)
    .meta({ ...(min > 0 && { minLength: min }), ...(max !== null && { maxLength: max }) });

const id = (name: string, max: number) => {
  const error = `${name} must be a string of at most ${max} characters: send it as it is, it is never cut`;
  return z.union([boundedText(0, max, error), z.number()], { error }).nullish();
};
/** Opaque: what is inside is the customer's. PHP writes an empty object as `[]`. */
const object = (name: string) =>
  z
    .unknown()
    .refine(isOpaqueObject, { error: `${name} must be a JSON object` })
    .meta({ type: ["object", "null", "array"], maxItems: 0 })
    .optional();
const time = z.unknown().meta({ description: "ISO 8601; seconds or milliseconds since 1970 are read too" });
const text = (name: string) => z.string({ error: `${name} must be a string` }).nullish();
const required = (name: string, call: string) =>
  boundedText(1, null, `${name} must be a string that is not empty: name what ${call}`);

const COMMON = {
  messageId: id("messageId", EVENT_LIMITS.messageIdMax),
  userId: id("userId", EVENT_LIMITS.idMax),
  anonymousId: id("anonymousId", EVENT_LIMITS.idMax),
  context: object("context"),
  integrations: object("integrations"),
  timestamp: time.optional(),
  originalTimestamp: time.optional(),
  sentAt: time.optional(),
};

const GROUP_ID = `groupId must be a string of 1-${EVENT_LIMITS.idMax} characters: name the group`;

/** What each type of event must look like. Fields that are not named here pass through. */
export const EVENT_SCHEMAS = {
  track: z.object({ ...COMMON, event: required("event", "happened"), properties: object("properties") }),
  identify: z.object({ ...COMMON, traits: object("traits") }),
  page: z.object({
    ...COMMON,
    name: text("name"),
    category: text("category"),
    properties: object("properties"),
  }),
  screen: z.object({
    ...COMMON,
    name: text("name"),
    category: text("category"),
    properties: object("properties"),
  }),
  group: z.object({
    ...COMMON,
    groupId: z.union([boundedText(1, EVENT_LIMITS.idMax, GROUP_ID), z.number()], { error: GROUP_ID }),
    traits: object("traits"),
  }),
  alias: z.object({ ...COMMON, previousId: id("previousId", EVENT_LIMITS.idMax) }),
} as const satisfies Record<EventType, z.ZodObject>;

const CODES: Readonly<Record<string, string>> = {
  event: "missing_event",
  groupId: "missing_group_id",
  messageId: "bad_message_id",
  userId: "bad_id",
  anonymousId: "bad_id",
  previousId: "bad_id",
};
const ID_NAMES = ["messageId", "userId", "anonymousId", "groupId", "previousId"] as const;

/** What the request says of all its events. */
export type Envelope = {
  readonly context: JsonObject | null;
  readonly integrations: JsonObject | null;
  readonly sentAt: unknown;
  /** `sentAt`, read once for all its events; null where it is absent or no time. */
  readonly sentAtMs: number | null;
  readonly originalTimestamp: unknown;
};

export type Receipt = {
  readonly receivedAtMs: number;
  /** The same instant, ISO 8601. */
  readonly receivedAt: string;
  /** A clock that is off by more than this is corrected. */
  readonly skewMaxMs: number;
  readonly newId: () => string;
  /** The request's text may hold a NUL, a lone surrogate or a prototype key. */
  readonly dirty: boolean;
};

export type NormalEvent = {
  readonly type: EventType;
  readonly collection: string;
  readonly messageId: string;
  readonly userId: string | null;
  readonly anonymousId: string | null;
  /** The track's event name, or the page or screen name. */
  readonly name: string | null;
  readonly eventAtMs: number;
  /** What a reader should know of it: a corrected clock, an absurd time. */
  readonly flags: readonly string[];
  /** The common schema, ready for JSON.stringify. */
  readonly record: JsonObject;
};

export type Reason = { readonly code: string; readonly message: string };
export type EventResult =
  | { readonly kind: "event"; readonly event: NormalEvent }
  | { readonly kind: "rejected"; readonly reason: Reason };

const rejected = (code: string, message: string): EventResult => ({
  kind: "rejected",
  reason: { code, message },
});

/** V8 compares and looks up its own strings by address: what a type in a body is looked up to is one of them. */
const TYPES: ReadonlyMap<unknown, EventType> = new Map(EVENT_TYPES.map((type) => [type, type]));

function idText(value: unknown): string | null {
  if (typeof value === "string") return value === "" ? null : value;
  return typeof value === "number" ? String(value) : null;
}

/** Digits too long for a double are still digits: an id of 20 of them is text. */
function withTextIds(raw: JsonObject): JsonObject {
  if (!ID_NAMES.some((name) => isRawNumber(raw[name]))) return raw;
  const copy = { ...raw };
  for (const name of ID_NAMES) {
    const value = copy[name];
    if (isRawNumber(value)) copy[name] = value.rawJSON;
  }
  return copy;
}

function uncleanId(raw: JsonObject): string | null {
  for (const name of ID_NAMES) {
    const value = raw[name];
    if (typeof value === "string" && !isCleanText(value)) return name;
  }
  return null;
}

/** Fields over the envelope's; an empty PHP array counts as an object. */
function merged(own: unknown, shared: JsonObject | null): JsonObject {
  const fields = isJsonObject(own) ? own : null;
  if (shared === null) return fields ?? {};
  return fields === null ? shared : { ...shared, ...fields };
}

function checkIds(type: EventType, raw: JsonObject): Reason | null {
  const userId = idText(raw["userId"]);
  const anonymousId = idText(raw["anonymousId"]);
  if (userId === null && anonymousId === null) {
    return { code: "missing_id", message: "userId or anonymousId is required: send at least one of them" };
  }
  if (type !== "alias") return null;
  const known = [userId, anonymousId, idText(raw["previousId"])].filter((value) => value !== null);
  if (known.length > 1) return null;
  return { code: "missing_id", message: "alias joins two ids: send previousId beside userId" };
}

/** RudderStack's SDKs put an identify's traits into its context. */
export function traitsOf(type: EventType, { traits, context }: JsonObject): JsonObject {
  if (isJsonObject(traits)) return traits;
  const inContext = type === "identify" && isJsonObject(context) ? context["traits"] : undefined;
  return isJsonObject(inContext) ? inContext : {};
}

const isPlainId = (value: unknown, max: number): boolean =>
  value === undefined || value === null || (typeof value === "string" && value.length <= max);
const isPlainText = (value: unknown): boolean =>
  value === undefined || value === null || typeof value === "string";

/**
 * True for most events that the schema would pass, and for none that it would not: the schema, which can
 * say why, is four times as slow.
 */
export function isPlainlyValid(type: EventType, raw: JsonObject): boolean {
  const plain =
    isPlainId(raw["messageId"], EVENT_LIMITS.messageIdMax) &&
    isPlainId(raw["userId"], EVENT_LIMITS.idMax) &&
    isPlainId(raw["anonymousId"], EVENT_LIMITS.idMax) &&
    isOpaqueObject(raw["context"]) &&
    isOpaqueObject(raw["integrations"]);
  if (!plain) return false;
  if (type === "track") {
    const event = raw["event"];
    return typeof event === "string" && event !== "" && isOpaqueObject(raw["properties"]);
  }
  if (type === "identify") return isOpaqueObject(raw["traits"]);
  if (type === "alias") return isPlainId(raw["previousId"], EVENT_LIMITS.idMax);
  if (type === "group") {
    const groupId = raw["groupId"];
    return (
      isPlainId(groupId, EVENT_LIMITS.idMax) &&
      typeof groupId === "string" &&
      groupId !== "" &&
      isOpaqueObject(raw["traits"])
    );
  }
  return isPlainText(raw["name"]) && isPlainText(raw["category"]) && isOpaqueObject(raw["properties"]);
}

/** What is wrong with the event, from its schema; null when nothing is. */
function faultOf(type: EventType, raw: JsonObject): Reason | null {
  const checked = EVENT_SCHEMAS[type].safeParse(raw);
  if (checked.success) return null;
  const issue = checked.error.issues[0];
  const message = issue?.message ?? "the event is malformed";
  return { code: CODES[String(issue?.path[0])] ?? "bad_field", message };
}

/** Checks one event and brings it into the common schema. `type` is the path's, or null inside a batch. */
export function normaliseEvent(
  sent: unknown,
  pathType: EventType | null,
  envelope: Envelope,
  receipt: Receipt,
): EventResult {
  if (!isJsonObject(sent)) return rejected("not_an_object", "an event must be a JSON object");
  const type = pathType ?? TYPES.get(sent["type"]);
  if (type === undefined) {
    return sent["type"] === undefined
      ? rejected("missing_type", `type is required inside a batch: one of ${EVENT_TYPES.join(", ")}`)
      : rejected("unknown_type", `type must be one of ${EVENT_TYPES.join(", ")}`);
  }
  let raw = sent;
  if (!isPlainlyValid(type, sent)) {
    raw = withTextIds(sent);
    const fault = faultOf(type, raw);
    if (fault !== null) return { kind: "rejected", reason: fault };
  }
  const missing = checkIds(type, raw);
  if (missing !== null) return { kind: "rejected", reason: missing };
  const unclean = receipt.dirty ? uncleanId(raw) : null;
  if (unclean !== null) {
    return rejected("bad_id", `${unclean} holds a NUL or half a surrogate pair: send whole characters`);
  }
  return { kind: "event", event: build(type, raw, envelope, receipt) };
}

/** Making ISO text is dear, so what was sent serves where it already is that text. */
function isoTime(times: EventTimes, receipt: Receipt): string {
  if (times.asSent !== null) return times.asSent;
  if (times.timestampMs === receipt.receivedAtMs) return receipt.receivedAt;
  return new Date(times.timestampMs).toISOString();
}

function build(type: EventType, raw: JsonObject, envelope: Envelope, receipt: Receipt): NormalEvent {
  const messageId = idText(raw["messageId"]) ?? receipt.newId();
  const userId = idText(raw["userId"]);
  const anonymousId = idText(raw["anonymousId"]);
  const original = raw["originalTimestamp"] ?? raw["timestamp"] ?? envelope.originalTimestamp;
  const own = raw["sentAt"] ?? null;
  const sentAt = own ?? envelope.sentAt;
  const sentAtMs = own === null ? envelope.sentAtMs : parseTimeMs(own);
  const times = eventTimes(original, sentAtMs, receipt.receivedAtMs, receipt.skewMaxMs);
  const timestamp = isoTime(times, receipt);
  const record: JsonObject = {
    ...raw,
    type,
    messageId,
    context: merged(raw["context"], envelope.context),
    integrations: merged(raw["integrations"], envelope.integrations),
    originalTimestamp: original ?? receipt.receivedAt,
    sentAt,
    receivedAt: receipt.receivedAt,
    timestamp,
  };
  if (userId !== null) record["userId"] = userId;
  if (anonymousId !== null) record["anonymousId"] = anonymousId;
  if (type === "group") record["groupId"] = String(raw["groupId"]);
  if ("writeKey" in record) record["writeKey"] = undefined;
  if ("write_key" in record) record["write_key"] = undefined;
  if ("varve" in record) record["varve"] = undefined;
  const name = type === "track" ? raw["event"] : type === "page" || type === "screen" ? raw["name"] : null;
  return {
    type,
    collection: EVENT_COLLECTIONS[type],
    messageId,
    userId,
    anonymousId,
    name: typeof name === "string" && name !== "" ? (receipt.dirty ? cleanText(name) : name) : null,
    eventAtMs: times.timestampMs,
    flags: times.flags,
    record,
  };
}
