/**
 * Reads the events of a batch one after another, and writes each one's copy where its item is being made: the memory
 * that it shares with wasm/event-copy.ts, and what is done in it from here.
 *
 * Laws
 * - One copier at a time: the memory is the next one's too. Whoever has one does not wait for anything.
 * - There is always room for what an event may come to: `makeRoom` is called before each.
 */
import { EVENT_FIELDS } from "./event-fields.ts";
import module from "./wasm/event-copy.wasm";
import {
  AT,
  FIELD_FLAGS,
  FIELD_LENGTHS,
  FIELD_NAMES,
  FIELD_SLOTS,
  FROM,
  KINDS,
  NAME_BYTES,
  NO_FIELD,
  ODD,
  OUT,
  SLACK,
  SLOTS,
  SOURCE,
  TO,
  USER_AGENT_AT,
} from "./wasm/layout.ts";

type Exports = {
  readonly memory: WebAssembly.Memory;
  readonly slotOf: (length: number, first: number) => number;
  readonly copyEvent: (depthMax: number, sought: number) => number;
};

const PAGE = 65_536;
const { memory, slotOf, copyEvent } = new WebAssembly.Instance(module).exports as Exports;
memory.grow(SOURCE / PAGE);
let bytes = new Uint8Array(memory.buffer);
let words = new Uint32Array(memory.buffer);

bytes.fill(NO_FIELD, FIELD_SLOTS, FIELD_SLOTS + SLOTS);
let nameAt = NAME_BYTES;
for (const [number, field] of EVENT_FIELDS.entries()) {
  bytes.set(field.bytes, nameAt);
  words[FIELD_NAMES / 4 + number] = nameAt;
  words[FIELD_LENGTHS / 4 + number] = field.bytes.length;
  words[FIELD_FLAGS / 4 + number] = field.flags;
  bytes[FIELD_SLOTS + slotOf(field.bytes.length, field.bytes[0] ?? 0)] = number;
  nameAt += field.bytes.length;
}

/** Sees to it that the memory has so many bytes. */
function reserve(size: number): void {
  if (size <= bytes.length) return;
  memory.grow(Math.ceil((size - bytes.length) / PAGE));
  bytes = new Uint8Array(memory.buffer);
  words = new Uint32Array(memory.buffer);
}

const isSpace = (byte: number): boolean => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;

/** A call to copy costs more than that many steps of a loop. */
const CALL_MIN = 48;

/** Places in the source are indexes of the bytes that it was opened with; in the target they begin with 0. */
export class EventCopier {
  readonly #end: number;
  readonly #target: number;

  /** @param source UTF-8, of which [from, to) is read */
  constructor(source: Uint8Array, from: number, to: number) {
    this.#end = SOURCE + to;
    this.#target = this.#end + SLACK;
    reserve(this.#target);
    bytes.set(source.subarray(from, to), SOURCE + from);
    bytes.fill(0, this.#end, this.#target);
    this.at = from;
    this.out = 0;
  }

  get at(): number {
    return (words[AT / 4] as number) - SOURCE;
  }

  set at(at: number) {
    words[AT / 4] = SOURCE + at;
  }

  get out(): number {
    return (words[OUT / 4] as number) - this.#target;
  }

  set out(out: number) {
    words[OUT / 4] = this.#target + out;
  }

  get isDone(): boolean {
    return this.at === this.#end - SOURCE;
  }

  /** Makes room for the next event's copy, and so many bytes more. */
  makeRoom(more: number): void {
    const left = this.#end - SOURCE - this.at;
    reserve(this.#target + this.out + 2 * left + more + SLACK);
  }

  /** Copies the event that is next, but for its end; what it says is among wasm/layout.ts's. */
  copyEvent(depthMax: number): number {
    return copyEvent(depthMax, NO_FIELD);
  }

  /** Passes over the members before the field of this number, if its value is a list, and over the list's bracket. */
  findList(number: number): number {
    this.makeRoom(0);
    return copyEvent(0, number);
  }

  /** Of the last event, as all below. */
  get isOdd(): boolean {
    return words[ODD / 4] !== 0;
  }

  /** Where the value of its context's user agent begins; negative when it has none. */
  get userAgentAt(): number {
    return (words[USER_AGENT_AT / 4] as number) - SOURCE;
  }

  kindOf(field: number): number {
    return bytes[KINDS + field] as number;
  }

  fromOf(field: number): number {
    return (words[FROM / 4 + field] as number) - SOURCE;
  }

  toOf(field: number): number {
    return (words[TO / 4 + field] as number) - SOURCE;
  }

  lengthOf(field: number): number {
    return (words[TO / 4 + field] as number) - (words[FROM / 4 + field] as number);
  }

  /** The next byte that is no white space, which `at` then stands at; 0 at the end. */
  peek(): number {
    let at = words[AT / 4] as number;
    while (isSpace(bytes[at] as number)) at += 1;
    words[AT / 4] = at;
    return bytes[at] as number;
  }

  /** Passes over the byte if it comes next. */
  take(byte: number): boolean {
    if (this.peek() !== byte) return false;
    words[AT / 4] = (words[AT / 4] as number) + 1;
    return true;
  }

  /** Whether a field's value is these bytes. */
  isField(field: number, value: Uint8Array): boolean {
    if (this.lengthOf(field) !== value.length) return false;
    const from = words[FROM / 4 + field] as number;
    for (let at = 0; at < value.length; at += 1) if (bytes[from + at] !== value[at]) return false;
    return true;
  }

  write(piece: Uint8Array): void {
    let out = words[OUT / 4] as number;
    words[OUT / 4] = out + piece.length;
    if (piece.length > CALL_MIN) bytes.set(piece, out);
    else for (let at = 0; at < piece.length; at += 1) bytes[out++] = piece[at] as number;
  }

  writeByte(byte: number): void {
    const out = words[OUT / 4] as number;
    bytes[out] = byte;
    words[OUT / 4] = out + 1;
  }

  /** Writes a field's value as it is in the source. */
  writeField(field: number): void {
    const from = words[FROM / 4 + field] as number;
    const to = words[TO / 4 + field] as number;
    let out = words[OUT / 4] as number;
    words[OUT / 4] = out + (to - from);
    if (to - from > CALL_MIN) bytes.copyWithin(out, from, to);
    else for (let at = from; at < to; at += 1) bytes[out++] = bytes[at] as number;
  }

  /** Writes text that is ASCII. */
  writeAscii(text: string): void {
    let out = words[OUT / 4] as number;
    for (let at = 0; at < text.length; at += 1) bytes[out++] = text.charCodeAt(at);
    words[OUT / 4] = out;
  }

  /** What has been written from `from` on. */
  written(from = 0): Uint8Array {
    return bytes.slice(this.#target + from, words[OUT / 4]);
  }
}
