/** One event of a batch, read as it is: what its members are, and whether its item can be written from its bytes. */
import { EVENT_COLLECTIONS, EVENT_LIMITS, traitsOf } from "../shared/event.ts";
import type { Envelope, EventType } from "../shared/event.ts";
import { eventPk } from "../shared/item.ts";
import { parseJson } from "../shared/json.ts";
import type { JsonObject } from "../shared/json.ts";
import { eventTimes, parseTimeMs } from "../shared/time.ts";
import type { AcceptedObject } from "./ingest.ts";
import type { Stamp } from "./items.ts";
import { EventCopier, fixedPiece } from "./event-copier.ts";
import type { Piece } from "./event-copier.ts";
import { fieldNumber } from "./event-fields.ts";
import { textOf } from "./open-batch.ts";
import type { OpenBatch } from "./open-batch.ts";
import { createPieceSet } from "./piece-set.ts";
import type { PieceSet } from "./piece-set.ts";
import { BROKEN, NULL, OBJECT, OTHER, STRING } from "./wasm/layout.ts";

const QUOTE = 0x22;

const encoder = new TextEncoder();
const bytesOf = (text: string): Uint8Array => encoder.encode(text);
/** As it stands inside a JSON string. */
const escaped = (json: string): string => JSON.stringify(json).slice(1, -1);

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

const TYPE = fieldNumber("type");
const EVENT = fieldNumber("event");
const NAME = fieldNumber("name");
const CATEGORY = fieldNumber("category");
const MESSAGE_ID = fieldNumber("messageId");
const USER_ID = fieldNumber("userId");
const ANONYMOUS_ID = fieldNumber("anonymousId");
const GROUP_ID = fieldNumber("groupId");
const PROPERTIES = fieldNumber("properties");
const TRAITS = fieldNumber("traits");
const CONTEXT = fieldNumber("context");
const INTEGRATIONS = fieldNumber("integrations");
const TIMESTAMP = fieldNumber("timestamp");
const ORIGINAL_TIMESTAMP = fieldNumber("originalTimestamp");
const SENT_AT = fieldNumber("sentAt");

/** An alias, which has a rule of its own, is odd. */
const TYPES = (["track", "identify", "page", "screen", "group"] as const).map((name) => ({
  name,
  bytes: bytesOf(name),
}));

const fixed = (text: string): Piece => fixedPiece(bytesOf(text));
const ITEM_START = fixed('{"PutRequest":{"Item":{"body":{"S":"');
const USER = fixed('"},"user_id":{"S":"');
const ANONYMOUS = fixed('"},"anonymous_id":{"S":"');
const EVENT_NAME = fixed('"},"event":{"S":"');
const ITEM_END = fixed('"}}}}');
const NO_CONTEXT = fixed(escaped(',"context":{}'));
const NO_INTEGRATIONS = fixed(escaped(',"integrations":{}'));
const SENT_AT_START = fixed(escaped(',"sentAt":"'));
const TIMESTAMP_START = fixed(escaped('","timestamp":"'));
const EVENT_AT = fixed('"},"event_at":{"N":"');

/** What an event gets of its request, and of us. */
const ADDED_MAX = 512;
/** An event that could be too large with what is added to it is odd. */
const BYTES_MAX = EVENT_LIMITS.bytesMax - 2 * ADDED_MAX;
/** What an item has beside its event's copy: texts of that event once more, and what is added. */
const ROOM = 2 * EVENT_LIMITS.bytesMax;

/** What an event without a `sentAt` of its own gets of its request, up to its time. */
function stampText({ envelope, receivedAt }: PlainContext): string {
  const sentAt = envelope.sentAt === undefined ? "" : `"sentAt":${JSON.stringify(envelope.sentAt)},`;
  return `,${sentAt}"receivedAt":"${receivedAt}","originalTimestamp":"`;
}

/** Whether that is small enough not to matter to an event's size. */
export const canStamp = (context: PlainContext): boolean =>
  bytesOf(escaped(stampText(context))).length <= ADDED_MAX;

/** Reads a batch's events one by one, and writes the items of those that are plain. */
export class PlainReader {
  readonly copier: EventCopier;
  readonly objects: AcceptedObject[] = [];
  readonly #messageIds: PieceSet;
  readonly #batch: OpenBatch;
  readonly #context: PlainContext;
  /** What all events of the request get: after their own members, after their own `sentAt`, after their times. */
  readonly #stamped: Piece;
  readonly #restamped: Piece;
  readonly #receivedAt: Piece;
  readonly #types: readonly {
    readonly name: EventType;
    readonly bytes: Uint8Array;
    readonly shared: Piece;
  }[];

  constructor(batch: OpenBatch, context: PlainContext) {
    const { stamp } = context;
    this.#batch = batch;
    this.#context = context;
    this.copier = new EventCopier(batch.bytes, batch.from, batch.to);
    this.copier.makeRoom(ROOM);
    this.#messageIds = createPieceSet(batch.bytes, context.eventsMax);
    const piece = (text: string): Piece => this.copier.pieceOf(bytesOf(text));
    this.#stamped = piece(escaped(stampText(context)));
    this.#restamped = piece(escaped(`","receivedAt":"${context.receivedAt}","originalTimestamp":"`));
    this.#receivedAt = piece(context.receivedAt);
    this.#types = TYPES.map((type) => ({
      ...type,
      shared: piece(
        `${escaped('"}')}"},"kind":{"S":"event"},"source":{"S":"${stamp.source}"},"received_at":{"N":"${stamp.receivedAtMs}"},"expires_at":{"N":"${stamp.expiresAtS}"},"collection":{"S":"${EVENT_COLLECTIONS[type.name]}"},"pk":{"S":"${eventPk(stamp.source, "")}`,
      ),
    }));
  }

  messageIds(): readonly string[] {
    return this.#messageIds.pieces.map(({ from, to }) => textOf(this.#batch, from, to));
  }

  /** Reads the event that comes next, and writes its item if it is plain. */
  event(index: number): "plain" | "odd" | "repeated" | "broken" {
    const { copier } = this;
    copier.makeRoom(ROOM);
    copier.write(ITEM_START);
    const start = copier.at;
    if (copier.copyEvent(EVENT_LIMITS.depthMax) === BROKEN) return "broken";
    return copier.isOdd || copier.at - start > BYTES_MAX ? "odd" : this.#finish(index);
  }

  #isBot(): boolean {
    const { isBot, clientIsBot } = this.#context;
    const { bytes } = this.#batch;
    const at = this.copier.userAgentAt;
    if (at < 0) return clientIsBot;
    if (bytes[at] !== QUOTE) return true;
    const userAgent = textOf(this.#batch, at + 1, bytes.indexOf(QUOTE, at + 1));
    return userAgent.includes("\\") || isBot(userAgent);
  }

  /** A text with at least a character in it. */
  #isTold(number: number): boolean {
    return this.copier.kindOf(number) === STRING && this.copier.lengthOf(number) > 0;
  }

  #isNoneOrText(number: number, bytesMax: number): boolean {
    const kind = this.copier.kindOf(number);
    return kind <= NULL || (kind === STRING && this.copier.lengthOf(number) <= bytesMax);
  }

  #isNoneOrObject(number: number): boolean {
    const kind = this.copier.kindOf(number);
    return kind !== STRING && kind !== OTHER;
  }

  #isValid(type: EventType): boolean {
    return (
      this.#isTold(MESSAGE_ID) &&
      this.copier.lengthOf(MESSAGE_ID) <= EVENT_LIMITS.messageIdMax &&
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
        this.copier.lengthOf(GROUP_ID) <= EVENT_LIMITS.idMax &&
        this.#isNoneOrObject(TRAITS)
      );
    }
    if (!this.#isNoneOrObject(PROPERTIES)) return false;
    if (type === "track") return this.#isTold(EVENT);
    return this.#isNoneOrText(NAME, BYTES_MAX) && this.#isNoneOrText(CATEGORY, BYTES_MAX);
  }

  #fieldText(number: number): string {
    return textOf(this.#batch, this.copier.fromOf(number), this.copier.toOf(number));
  }

  /** The field that says when the event was; null when none does, undefined when it is nothing to go by. */
  #original(): number | null | undefined {
    const { copier } = this;
    const number = copier.kindOf(ORIGINAL_TIMESTAMP) > NULL ? ORIGINAL_TIMESTAMP : TIMESTAMP;
    const kind = copier.kindOf(number);
    if (kind > NULL) return kind === STRING ? number : undefined;
    return (this.#context.envelope.originalTimestamp ?? null) === null ? null : undefined;
  }

  #finish(index: number): "plain" | "odd" | "repeated" {
    const { copier } = this;
    const { envelope, stamp, skewMaxMs } = this.#context;
    const type = this.#types.find(
      ({ bytes }) => copier.kindOf(TYPE) === STRING && copier.isField(TYPE, bytes),
    );
    if (type === undefined || !this.#isValid(type.name) || this.#isBot()) return "odd";
    const original = this.#original();
    const sentAtKind = copier.kindOf(SENT_AT);
    if (original === undefined || sentAtKind > STRING) return "odd";
    const sentAtMs = sentAtKind === STRING ? parseTimeMs(this.#fieldText(SENT_AT)) : envelope.sentAtMs;
    const originalText = original === null ? null : this.#fieldText(original);
    const times = eventTimes(originalText, sentAtMs, stamp.receivedAtMs, skewMaxMs);
    if (times.flags.length > 0) return "odd";
    if (!this.#messageIds.add(copier.fromOf(MESSAGE_ID), copier.toOf(MESSAGE_ID))) return "repeated";
    this.#addObject(type.name, index, times.timestampMs);

    if (copier.kindOf(CONTEXT) !== OBJECT) copier.write(NO_CONTEXT);
    if (copier.kindOf(INTEGRATIONS) !== OBJECT) copier.write(NO_INTEGRATIONS);
    if (sentAtKind === STRING) {
      copier.write(SENT_AT_START);
      copier.writeField(SENT_AT);
      copier.write(this.#restamped);
    } else copier.write(this.#stamped);
    this.#writeTime(original);
    copier.write(TIMESTAMP_START);
    if (original === null || times.asSent !== null) this.#writeTime(original);
    else copier.writeAscii(new Date(times.timestampMs).toISOString());
    copier.write(type.shared);
    copier.writeField(MESSAGE_ID);
    copier.write(EVENT_AT);
    copier.writeAscii(String(times.timestampMs));
    this.#writeAttribute(USER_ID, USER);
    this.#writeAttribute(ANONYMOUS_ID, ANONYMOUS);
    if (type.name === "track") this.#writeAttribute(EVENT, EVENT_NAME);
    else if (type.name === "page" || type.name === "screen") this.#writeAttribute(NAME, EVENT_NAME);
    copier.write(ITEM_END);
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
      properties: this.#traits(type),
    });
  }

  #traits(type: EventType): JsonObject {
    const objectIn = (number: number): unknown =>
      this.copier.kindOf(number) === OBJECT ? parseJson(this.#fieldText(number)) : undefined;
    const traits = objectIn(TRAITS);
    return traitsOf(type, traits === undefined ? { context: objectIn(CONTEXT) } : { traits });
  }

  #writeTime(number: number | null): void {
    if (number === null) this.copier.write(this.#receivedAt);
    else this.copier.writeField(number);
  }

  #writeAttribute(number: number, start: Piece): void {
    if (!this.#isTold(number)) return;
    this.copier.write(start);
    this.copier.writeField(number);
  }
}
