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
  PIECES,
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
  readonly writePiece: (at: number, length: number) => void;
  readonly writeField: (field: number) => void;
};

const PAGE = 65_536;
const { memory, slotOf, copyEvent, writePiece, writeField } = new WebAssembly.Instance(module)
  .exports as Exports;
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

/** Bytes that are written again and again, and stand ready for it. */
export type Piece = { readonly at: number; readonly length: number };

function place(piece: Uint8Array, at: number): Piece {
  if (at + piece.length > SOURCE) throw new RangeError("there is no room for another piece");
  bytes.set(piece, at);
  return { at, length: piece.length };
}

let fixedEnd = PIECES;

/** A piece for every request. */
export function fixedPiece(bytesOfPiece: Uint8Array): Piece {
  const piece = place(bytesOfPiece, fixedEnd);
  fixedEnd += piece.length;
  return piece;
}

/** Places in the source are indexes of the bytes that it was opened with; in the target they begin with 0. */
export class EventCopier {
  readonly #end: number;
  readonly #target: number;
  #piecesEnd = fixedEnd;

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

  /** A piece for this request. */
  pieceOf(bytesOfPiece: Uint8Array): Piece {
    const piece = place(bytesOfPiece, this.#piecesEnd);
    this.#piecesEnd += piece.length;
    return piece;
  }

  write(piece: Piece): void {
    writePiece(piece.at, piece.length);
  }

  writeByte(byte: number): void {
    const out = words[OUT / 4] as number;
    bytes[out] = byte;
    words[OUT / 4] = out + 1;
  }

  /** Writes a field's value as it is in the source. */
  writeField(field: number): void {
    writeField(field);
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
