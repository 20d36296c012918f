/** One event of a batch, read as it is: what its members are, and whether its item can be written from its bytes. */
import { EVENT_COLLECTIONS, EVENT_LIMITS } from "../shared/event.ts";
import type { Envelope, EventType } from "../shared/event.ts";
import { eventPk } from "../shared/item.ts";
import { parseJson } from "../shared/json.ts";
import type { JsonObject } from "../shared/json.ts";
import { eventTimes, parseTimeMs } from "../shared/time.ts";
import type { AcceptedObject } from "./ingest.ts";
import type { Stamp } from "./items.ts";
import {
  addName,
  CLOSE_OBJECT,
  COLON,
  COMMA,
  copyString,
  copyValue,
  isAt,
  makeRoom,
  OPEN_LIST,
  OPEN_OBJECT,
  openCopy,
  openNames,
  peek,
  QUOTE,
  take,
  write,
  writeAscii,
  writeSource,
} from "./json-copy.ts";
import type { JsonCopy } from "./json-copy.ts";
import { textOf } from "./open-batch.ts";
import type { OpenBatch } from "./open-batch.ts";
import { createPieceSet } from "./piece-set.ts";
import type { PieceSet } from "./piece-set.ts";

const N = 0x6e;

const encoder = new TextEncoder();
const bytesOf = (text: string): Uint8Array => encoder.encode(text);
/** As it stands inside a JSON string. */
const escaped = (json: string): string => JSON.stringify(json).slice(1, -1);
const escapedBytes = (json: string): Uint8Array => bytesOf(escaped(json));

export type PlainContext = {
  readonly envelope: Envelope;
  readonly stamp: Stamp;
  /** `stamp.receivedAtMs`, ISO 8601. */
  readonly receivedAt: string;
  readonly skewMaxMs: number;
  readonly eventsMax: number;
  /** Where the items go. */
  readonly table: string;
  readonly isBot: (userAgent: string) => boolean;
  /** Whether an event without a user agent of its own is a bot's. */
  readonly clientIsBot: boolean;
};

/** The members of an event that this reads; all others are copied unseen. */
const FIELDS = [
  "type",
  "event",
  "name",
  "category",
  "messageId",
  "userId",
  "anonymousId",
  "groupId",
  "properties",
  "traits",
  "context",
  "integrations",
  "timestamp",
  "originalTimestamp",
  "sentAt",
  "receivedAt",
  "writeKey",
  "write_key",
  "varve",
] as const;
type Field = (typeof FIELDS)[number];
const FIELD_BYTES = FIELDS.map(bytesOf);
const field = (name: Field): number => FIELDS.indexOf(name);
const TYPE = field("type");
const EVENT = field("event");
const NAME = field("name");
const CATEGORY = field("category");
const MESSAGE_ID = field("messageId");
const USER_ID = field("userId");
const ANONYMOUS_ID = field("anonymousId");
const GROUP_ID = field("groupId");
const PROPERTIES = field("properties");
const TRAITS = field("traits");
const CONTEXT = field("context");
const INTEGRATIONS = field("integrations");
const TIMESTAMP = field("timestamp");
const ORIGINAL_TIMESTAMP = field("originalTimestamp");
const SENT_AT = field("sentAt");

/** By a name's length and first byte, which no two of them share. */
const FIELD_OF = new Int8Array(32 * 32).fill(-1);
const slotOf = (length: number, first: number): number => ((length & 31) << 5) | (first & 31);
for (const [number, name] of FIELD_BYTES.entries()) FIELD_OF[slotOf(name.length, name[0] as number)] = number;

/** These may be any text, or do not matter. An id or a time with an escape in it is nothing that SDKs send. */
const MAY_ESCAPE = new Set(
  (["event", "name", "category", "receivedAt", "writeKey", "write_key", "varve"] as const).map(field),
);

/** From here on a field is written anew, or not at all. */
const FIRST_DROPPED = TIMESTAMP;

const ABSENT = 0;
const NULL = 1;
const STRING = 2;
const OBJECT = 3;
/** What PHP writes for an empty object. */
const EMPTY_LIST = 4;
const OTHER = 5;

/** An alias, which has a rule of its own, is odd. */
const TYPES = (["track", "identify", "page", "screen", "group"] as const).map((name) => ({
  name,
  bytes: bytesOf(name),
}));

const USER_AGENT = bytesOf("userAgent");
const DIRECT = bytesOf("direct");
const ITEM_START = bytesOf('{"PutRequest":{"Item":{"body":{"S":"');
const USER = bytesOf('"},"user_id":{"S":"');
const ANONYMOUS = bytesOf('"},"anonymous_id":{"S":"');
const EVENT_NAME = bytesOf('"},"event":{"S":"');
const ITEM_END = bytesOf('"}}}}');
const NO_CONTEXT = escapedBytes(',"context":{}');
const NO_INTEGRATIONS = escapedBytes(',"integrations":{}');
const SENT_AT_START = escapedBytes(',"sentAt":"');
const TIMESTAMP_START = escapedBytes('","timestamp":"');
const EVENT_AT = bytesOf('"},"event_at":{"N":"');

/** What an event gets of its request, and of us. */
const ADDED_MAX = 512;
/** An event that could be too large with what is added to it is odd. */
const BYTES_MAX = EVENT_LIMITS.bytesMax - 2 * ADDED_MAX;
/** What an event of that size may come to, each byte escaped and its name twice. */
const ROOM = 4 * EVENT_LIMITS.bytesMax;

/** Reads a batch's events one by one, and writes the items of those that are plain. */
export class PlainReader {
  readonly copy: JsonCopy;
  readonly objects: AcceptedObject[] = [];
  readonly #messageIds: PieceSet;
  readonly #batch: OpenBatch;
  readonly #context: PlainContext;
  /** Of each field of the event: what it is, and where its value stands. */
  readonly #kinds = new Uint8Array(FIELDS.length);
  readonly #from = new Int32Array(FIELDS.length);
  readonly #to = new Int32Array(FIELDS.length);
  /** What all events of the request get: after their own members, after their own `sentAt`, after their times. */
  readonly #stamped: Uint8Array;
  readonly #restamped: Uint8Array;
  readonly #receivedAt: Uint8Array;
  readonly #types: readonly {
    readonly name: EventType;
    readonly bytes: Uint8Array;
    readonly shared: Uint8Array;
  }[];
  #userAgentAt = -1;

  constructor(batch: OpenBatch, context: PlainContext) {
    const { envelope, stamp } = context;
    this.#batch = batch;
    this.#context = context;
    this.copy = openCopy(batch.bytes, batch.from, batch.to, EVENT_LIMITS.depthMax - 1);
    this.#messageIds = createPieceSet(batch.bytes, context.eventsMax);
    const sentAt = envelope.sentAt === undefined ? "" : `"sentAt":${JSON.stringify(envelope.sentAt)},`;
    this.#stamped = escapedBytes(`,${sentAt}"receivedAt":"${context.receivedAt}","originalTimestamp":"`);
    this.#restamped = escapedBytes(`","receivedAt":"${context.receivedAt}","originalTimestamp":"`);
    this.#receivedAt = bytesOf(context.receivedAt);
    this.#types = TYPES.map((type) => ({
      ...type,
      shared: bytesOf(
        `${escaped('"}')}"},"kind":{"S":"event"},"source":{"S":"${stamp.source}"},"received_at":{"N":"${stamp.receivedAtMs}"},"expires_at":{"N":"${stamp.expiresAtS}"},"collection":{"S":"${EVENT_COLLECTIONS[type.name]}"},"pk":{"S":"${eventPk(stamp.source, "")}`,
      ),
    }));
  }

  messageIds(): readonly string[] {
    return this.#messageIds.pieces.map(({ from, to }) => textOf(this.#batch, from, to));
  }

  /** Whether what every event gets of its request is small enough not to matter to its size. */
  get canAdd(): boolean {
    return this.#stamped.length <= ADDED_MAX;
  }

  /** Reads the event that comes next, and writes its item if it is plain. */
  event(index: number): "plain" | "odd" | "repeated" | "broken" {
    const { copy } = this;
    makeRoom(copy, ROOM);
    const start = copy.at;
    copy.odd = false;
    this.#kinds.fill(ABSENT);
    this.#userAgentAt = -1;
    write(copy, ITEM_START);
    if (peek(copy) !== OPEN_OBJECT) return copyValue(copy) ? "odd" : "broken";
    if (!this.#copyMembers()) return "broken";
    return copy.odd || copy.at - start > BYTES_MAX ? "odd" : this.#finish(index);
  }

  /** Copies an event but for its end; leaves out what is written anew. */
  #copyMembers(): boolean {
    const { copy } = this;
    copy.at += 1;
    copy.target[copy.out++] = OPEN_OBJECT;
    if (take(copy, CLOSE_OBJECT)) return true;
    const outFirst = copy.out;
    openNames(0);
    do {
      const outFrom = copy.out;
      if (outFrom > outFirst) copy.target[copy.out++] = COMMA;
      if (peek(copy) !== QUOTE) return false;
      const from = copy.at + 1;
      if (!copyString(copy)) return false;
      const to = copy.at - 1;
      addName(copy, 0, from, to);
      if (!take(copy, COLON)) return false;
      copy.target[copy.out++] = COLON;
      const number = FIELD_OF[slotOf(to - from, copy.source[from] as number)] as number;
      if (number < 0 || !isAt(copy, from, to, FIELD_BYTES[number] as Uint8Array)) {
        if (!copyValue(copy)) return false;
      } else {
        if (!this.#copyField(number)) return false;
        const isRewritten = this.#kinds[number] !== OBJECT && (number === CONTEXT || number === INTEGRATIONS);
        if (number >= FIRST_DROPPED || isRewritten) copy.out = outFrom;
      }
    } while (take(copy, COMMA));
    return take(copy, CLOSE_OBJECT);
  }

  #copyField(number: number): boolean {
    const { copy } = this;
    const first = peek(copy);
    const from = copy.at;
    if (!copyValue(copy, number === CONTEXT ? this.#onContextName : undefined)) return false;
    const isText = first === QUOTE;
    this.#kinds[number] = this.#kindOf(number, first, from);
    this.#from[number] = isText ? from + 1 : from;
    this.#to[number] = isText ? copy.at - 1 : copy.at;
    return true;
  }

  /** A context's address may be ours to change, and its user agent is looked at. */
  readonly #onContextName = (from: number, to: number): void => {
    const { copy } = this;
    if (isAt(copy, from, to, DIRECT)) copy.odd = true;
    if (isAt(copy, from, to, USER_AGENT)) this.#userAgentAt = to + 1;
  };

  #isBot(): boolean {
    const { isBot, clientIsBot } = this.#context;
    if (this.#userAgentAt < 0) return clientIsBot;
    const value = { ...this.copy, at: this.#userAgentAt };
    take(value, COLON);
    if (peek(value) !== QUOTE) return true;
    const from = value.at + 1;
    const userAgent = textOf(this.#batch, from, value.source.indexOf(QUOTE, from));
    return userAgent.includes("\\") || isBot(userAgent);
  }

  #kindOf(number: number, first: number, from: number): number {
    const { copy } = this;
    if (first === QUOTE) {
      if (copy.escaped && !MAY_ESCAPE.has(number)) copy.odd = true;
      return STRING;
    }
    if (first === OPEN_OBJECT) return OBJECT;
    if (first === N) return NULL;
    if (first !== OPEN_LIST) return OTHER;
    for (let at = from + 1; at < copy.at - 1; at += 1) if ((copy.source[at] as number) > 0x20) return OTHER;
    return EMPTY_LIST;
  }

  #lengthOf(number: number): number {
    return (this.#to[number] as number) - (this.#from[number] as number);
  }

  /** A text with at least a character in it. */
  #isTold(number: number): boolean {
    return this.#kinds[number] === STRING && this.#lengthOf(number) > 0;
  }

  #isNoneOrText(number: number, bytesMax: number): boolean {
    const kind = this.#kinds[number] as number;
    return kind <= NULL || (kind === STRING && this.#lengthOf(number) <= bytesMax);
  }

  #isNoneOrObject(number: number): boolean {
    const kind = this.#kinds[number] as number;
    return kind !== STRING && kind !== OTHER;
  }

  #isValid(type: EventType): boolean {
    return (
      this.#isTold(MESSAGE_ID) &&
      this.#lengthOf(MESSAGE_ID) <= EVENT_LIMITS.messageIdMax &&
      this.#isNoneOrText(USER_ID, EVENT_LIMITS.idMax) &&
      this.#isNoneOrText(ANONYMOUS_ID, EVENT_LIMITS.idMax) &&
      (this.#isTold(USER_ID) || this.#isTold(ANONYMOUS_ID)) &&
      this.#isNoneOrObject(CONTEXT) &&
      this.#isNoneOrObject(INTEGRATIONS) &&
      this.#isValidAs(type)
    );
  }

  #isValidAs(type: EventType): boolean {
    if (type === "identify") return this.#isNoneOrObject(TRAITS);
    if (type === "group") {
      return (
        this.#isTold(GROUP_ID) &&
        this.#lengthOf(GROUP_ID) <= EVENT_LIMITS.idMax &&
        this.#isNoneOrObject(TRAITS)
      );
    }
    if (!this.#isNoneOrObject(PROPERTIES)) return false;
    if (type === "track") return this.#isTold(EVENT);
    return this.#isNoneOrText(NAME, BYTES_MAX) && this.#isNoneOrText(CATEGORY, BYTES_MAX);
  }

  #isField(number: number, bytes: Uint8Array): boolean {
    return (
      this.#kinds[number] === STRING &&
      isAt(this.copy, this.#from[number] as number, this.#to[number] as number, bytes)
    );
  }

  #fieldText(number: number): string {
    return textOf(this.#batch, this.#from[number] as number, this.#to[number] as number);
  }

  #writeField(number: number): void {
    writeSource(this.copy, this.#from[number] as number, this.#to[number] as number);
  }

  /** The field that says when the event was; null when none does, undefined when it is nothing to go by. */
  #original(): number | null | undefined {
    const number = (this.#kinds[ORIGINAL_TIMESTAMP] as number) > NULL ? ORIGINAL_TIMESTAMP : TIMESTAMP;
    const kind = this.#kinds[number] as number;
    if (kind > NULL) return kind === STRING ? number : undefined;
    return (this.#context.envelope.originalTimestamp ?? null) === null ? null : undefined;
  }

  #finish(index: number): "plain" | "odd" | "repeated" {
    const { copy } = this;
    const { envelope, stamp, skewMaxMs } = this.#context;
    const type = this.#types.find(({ bytes }) => this.#isField(TYPE, bytes));
    if (type === undefined || !this.#isValid(type.name) || this.#isBot()) return "odd";
    const original = this.#original();
    const sentAtKind = this.#kinds[SENT_AT] as number;
    if (original === undefined || sentAtKind > STRING) return "odd";
    const sentAtMs = sentAtKind === STRING ? parseTimeMs(this.#fieldText(SENT_AT)) : envelope.sentAtMs;
    const originalText = original === null ? null : this.#fieldText(original);
    const times = eventTimes(originalText, sentAtMs, stamp.receivedAtMs, skewMaxMs);
    if (times.flags.length > 0) return "odd";
    if (!this.#messageIds.add(this.#from[MESSAGE_ID] as number, this.#to[MESSAGE_ID] as number))
      return "repeated";
    this.#addObject(type.name, index, times.timestampMs);

    if (this.#kinds[CONTEXT] !== OBJECT) write(copy, NO_CONTEXT);
    if (this.#kinds[INTEGRATIONS] !== OBJECT) write(copy, NO_INTEGRATIONS);
    if (sentAtKind === STRING) {
      write(copy, SENT_AT_START);
      this.#writeField(SENT_AT);
      write(copy, this.#restamped);
    } else write(copy, this.#stamped);
    this.#writeTime(original);
    write(copy, TIMESTAMP_START);
    if (original === null || times.asSent !== null) this.#writeTime(original);
    else writeAscii(copy, new Date(times.timestampMs).toISOString());
    write(copy, type.shared);
    this.#writeField(MESSAGE_ID);
    write(copy, EVENT_AT);
    writeAscii(copy, String(times.timestampMs));
    this.#writeAttribute(USER_ID, USER);
    this.#writeAttribute(ANONYMOUS_ID, ANONYMOUS);
    if (type.name === "track") this.#writeAttribute(EVENT, EVENT_NAME);
    else if (type.name === "page" || type.name === "screen") this.#writeAttribute(NAME, EVENT_NAME);
    write(copy, ITEM_END);
    return "plain";
  }

  /** As `objectOf` of ingest.ts. */
  #addObject(type: EventType, index: number, eventAtMs: number): void {
    const number = type === "group" ? GROUP_ID : USER_ID;
    if ((type !== "identify" && type !== "group") || !this.#isTold(number)) return;
    this.objects.push({
      index,
      collection: type === "group" ? "accounts" : "users",
      id: this.#fieldText(number),
      eventAtMs,
      properties: this.#kinds[TRAITS] === OBJECT ? (parseJson(this.#fieldText(TRAITS)) as JsonObject) : {},
    });
  }

  #writeTime(number: number | null): void {
    if (number === null) write(this.copy, this.#receivedAt);
    else this.#writeField(number);
  }

  #writeAttribute(number: number, start: Uint8Array): void {
    if (!this.#isTold(number)) return;
    write(this.copy, start);
    this.#writeField(number);
  }
}
