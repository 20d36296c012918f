/**
 * A copy of an event's JSON in UTF-8 as it stands inside a JSON string: quotes and backslashes escaped, white space
 * between tokens dropped. It makes no values, which is what parsing costs. AssemblyScript, for 16 bytes are looked at
 * at once; `npm run wasm` compiles it.
 *
 * Laws
 * - What is copied is JSON by RFC 8259, to the byte; the caller has seen to it that it is UTF-8.
 * - After the source comes a 0, at which every token ends: nothing reads on behind it, and so nothing looks for the end.
 * - What is written is at most twice as long as what is read, and SLACK: the caller has made room for it.
 * - ODD is set where JSON.parse and JSON.stringify would change what the text says: a `\u` escape (it may hide a NUL,
 *   half a surrogate pair, or a name), a name that an object has twice, a prototype key.
 */
import {
  AT,
  BROKEN,
  COPIED,
  DROPPED,
  EMPTY_LIST,
  FIELD_FLAGS,
  FIELD_LENGTHS,
  FIELD_NAMES,
  FIELD_SLOTS,
  FOUND,
  FROM,
  KINDS,
  MAY_ESCAPE,
  NO_FIELD,
  NULL,
  OBJECT,
  OBJECT_NAMES,
  OBJECT_ONLY,
  ODD,
  OTHER,
  OUT,
  SLOTS,
  STRING,
  TO,
  USER_AGENT_AT,
  WATCHED,
} from "./layout.ts";

const QUOTE: u32 = 0x22;
const PLUS: u32 = 0x2b;
const COMMA: u32 = 0x2c;
const MINUS: u32 = 0x2d;
const POINT: u32 = 0x2e;
const ZERO: u32 = 0x30;
const COLON: u32 = 0x3a;
const OPEN_LIST: u32 = 0x5b;
const BACKSLASH: u32 = 0x5c;
const E: u32 = 0x65;
const F: u32 = 0x66;
const N: u32 = 0x6e;
const T: u32 = 0x74;
const U: u32 = 0x75;
const OPEN_OBJECT: u32 = 0x7b;
const CLOSE_OBJECT: u32 = 0x7d;

/** `\"` and `\\`, as the 16 bits that they are in memory. */
const ESCAPED_QUOTE: u16 = 0x225c;
const ESCAPED_BACKSLASH: u16 = 0x5c5c;
/** `true`, `alse`, `null`, as the 32 bits that they are in memory. */
const TRUE: u32 = 0x65757274;
const ALSE: u32 = 0x65736c61;
const NULL_TEXT: u32 = 0x6c6c756e;

/** Deeper is left to those who can say so. */
const DEPTH_MAX: u32 = 48;
/** Names of one object that are told apart here. */
const NAMES_MAX: u32 = 64;
/** Of an object that is open: how many names it has, a sketch of them, what closes it; then where each begins, and its length. */
const COUNT: usize = 0;
const SKETCH: usize = 4;
const CLOSER: usize = 8;
const NAMES: usize = 16;
const OBJECT_BYTES: usize = NAMES + 8 * <usize>NAMES_MAX;

function objectAt(depth: u32): usize {
  return <usize>OBJECT_NAMES + <usize>depth * OBJECT_BYTES;
}

function skipSpace(from: usize): usize {
  let at = from;
  let byte: u32 = load<u8>(at);
  while (byte <= 0x20 && (byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09)) {
    at += 1;
    byte = load<u8>(at);
  }
  return at;
}

function isDigit(byte: u32): bool {
  return byte - ZERO <= 9;
}

function isHex(from: usize): bool {
  for (let at = from; at < from + 4; at += 1) {
    const byte: u32 = load<u8>(at);
    if (!isDigit(byte) && (byte | 0x20) - 0x61 > 5) return false;
  }
  return true;
}

/** Whether it may follow a backslash: one of `"\/bfnrt`. */
function isEscape(byte: u32): bool {
  return (
    byte == QUOTE ||
    byte == BACKSLASH ||
    byte == 0x2f ||
    byte == 0x62 ||
    byte == F ||
    byte == N ||
    byte == 0x72 ||
    byte == T
  );
}

function isSame(one: usize, other: usize, length: usize): bool {
  for (let at: usize = 0; at < length; at += 1) if (load<u8>(one + at) != load<u8>(other + at)) return false;
  return true;
}

/** Where the last string ends, and its copy; and whether it has an escape. */
let textAt: usize = 0;
let textOut: usize = 0;
let textEscaped: bool = false;

/** Copies the string whose quote is at `from`. False when it is none. */
function copyText(from: usize, to: usize): bool {
  let at = from + 1;
  let out = to;
  textEscaped = false;
  store<u16>(out, ESCAPED_QUOTE);
  out += 2;
  while (true) {
    const block = v128.load(at);
    v128.store(out, block);
    const stops = i8x16.bitmask(
      v128.or(
        v128.or(i8x16.eq(block, i8x16.splat(0x22)), i8x16.eq(block, i8x16.splat(0x5c))),
        i8x16.lt_u(block, i8x16.splat(0x20)),
      ),
    );
    if (stops == 0) {
      at += 16;
      out += 16;
      continue;
    }
    const length = <usize>ctz(stops);
    at += length;
    out += length;
    const byte: u32 = load<u8>(at);
    if (byte == QUOTE) {
      store<u16>(out, ESCAPED_QUOTE);
      textAt = at + 1;
      textOut = out + 2;
      return true;
    }
    if (byte != BACKSLASH) return false;
    const next: u32 = load<u8>(at + 1);
    at += 2;
    if (next == U) {
      if (!isHex(at)) return false;
      store<u32>(ODD, 1);
    } else if (!isEscape(next)) return false;
    textEscaped = true;
    store<u16>(out, ESCAPED_BACKSLASH);
    out += 2;
    if (next == QUOTE || next == BACKSLASH) {
      store<u8>(out, BACKSLASH);
      out += 1;
    }
    store<u8>(out, next);
    out += 1;
  }
}

/** Where the number at `at` ends; 0 when it is none. */
function numberEnd(from: usize): usize {
  let at = from;
  if (load<u8>(at) == MINUS) at += 1;
  if (load<u8>(at) == ZERO) at += 1;
  else if ((at = digitsEnd(at)) == 0) return 0;
  if (load<u8>(at) == POINT && (at = digitsEnd(at + 1)) == 0) return 0;
  if ((<u32>load<u8>(at) | 0x20) != E) return at;
  at += 1;
  const sign: u32 = load<u8>(at);
  if (sign == PLUS || sign == MINUS) at += 1;
  return digitsEnd(at);
}

/** Where the digits at `at` end; 0 when there are none. */
function digitsEnd(from: usize): usize {
  let at = from;
  while (isDigit(load<u8>(at))) at += 1;
  return at == from ? 0 : at;
}

/** Where the number or literal ends; 0 when it is neither. */
function scalarEnd(at: usize, first: u32): usize {
  if (isDigit(first) || first == MINUS) return numberEnd(at);
  if (first == T && load<u32>(at) == TRUE) return at + 4;
  if (first == F && load<u32>(at + 1) == ALSE) return at + 5;
  if (first == N && load<u32>(at) == NULL_TEXT) return at + 4;
  return 0;
}

/** Copies a few bytes, and whatever stands behind them. */
function copyBytes(from: usize, end: usize, to: usize): usize {
  let out = to;
  for (let at = from; at < end; at += 16, out += 16) v128.store(out, v128.load(at));
  return to + (end - from);
}

function openObject(depth: u32, closer: u32): void {
  const object = objectAt(depth);
  store<u32>(object + COUNT, 0);
  store<u32>(object + SKETCH, 0);
  store<u32>(object + CLOSER, closer);
}

function isRepeated(object: usize, from: usize, length: usize): bool {
  const end = object + NAMES + 8 * <usize>load<u32>(object + COUNT);
  for (let name = object + NAMES; name < end; name += 8) {
    const other = <usize>load<u32>(name);
    if (<usize>load<u32>(name + 4) == length && isSame(from, other, length)) return true;
  }
  return false;
}

/** `__proto__` or `constructor`. */
function isOfPrototype(from: usize, length: usize): bool {
  if (length == 9) return load<u64>(from) == 0x5f6f746f72705f5f && load<u8>(from + 8) == 0x5f;
  return (
    length == 11 &&
    load<u64>(from) == 0x63757274736e6f63 &&
    load<u16>(from + 8) == 0x6f74 &&
    load<u8>(from + 10) == 0x72
  );
}

/** Takes in a name of the object that is open at a depth. */
function addName(depth: u32, from: usize, length: usize): void {
  const object = objectAt(depth);
  const count = load<u32>(object + COUNT);
  if (textEscaped || count >= NAMES_MAX || isOfPrototype(from, length)) {
    store<u32>(ODD, 1);
    return;
  }
  // Most names of an object differ in these: only those that do not are compared.
  const first: u32 = load<u8>(from);
  const last: u32 = load<u8>(from + length - 1);
  const bit = (<u32>1) << ((first + 3 * last + 7 * <u32>length) & 31);
  const sketch = load<u32>(object + SKETCH);
  if ((sketch & bit) != 0 && isRepeated(object, from, length)) store<u32>(ODD, 1);
  store<u32>(object + SKETCH, sketch | bit);
  const name = object + NAMES + 8 * <usize>count;
  store<u32>(name, <u32>from);
  store<u32>(name + 4, <u32>length);
  store<u32>(object + COUNT, count + 1);
}

/** By a name's length and first byte, which no two fields share. */
export function slotOf(length: u32, first: u32): u32 {
  return (((length & 31) << 5) | (first & 31)) & (SLOTS - 1);
}

function fieldOf(from: usize, length: usize): u32 {
  const field: u32 = load<u8>(FIELD_SLOTS + slotOf(<u32>length, load<u8>(from)));
  if (field == NO_FIELD || load<u32>(FIELD_LENGTHS + 4 * field) != <u32>length) return NO_FIELD;
  return isSame(from, <usize>load<u32>(FIELD_NAMES + 4 * field), length) ? field : NO_FIELD;
}

function flagsOf(field: u32): u32 {
  return field == NO_FIELD ? 0 : load<u32>(FIELD_FLAGS + 4 * field);
}

/** `direct`: the context's address may be ours to change. */
function isDirect(from: usize, length: usize): bool {
  return length == 6 && load<u32>(from) == 0x65726964 && load<u16>(from + 4) == 0x7463;
}

function isUserAgent(from: usize, length: usize): bool {
  return length == 9 && load<u64>(from) == 0x6e65674172657375 && load<u8>(from + 8) == T;
}

/** What the value [from, to) is that a field has. */
function kindOf(from: usize, to: usize): u32 {
  const first: u32 = load<u8>(from);
  if (first == QUOTE) return STRING;
  if (first == OPEN_OBJECT) return OBJECT;
  if (first == N) return NULL;
  if (first != OPEN_LIST) return OTHER;
  return skipSpace(from + 1) == to - 1 ? EMPTY_LIST : OTHER;
}

/** Tells of a field's value. Whether it is left out. */
function tellField(field: u32, flags: u32, from: usize, to: usize): bool {
  const kind = kindOf(from, to);
  const isText = kind == STRING;
  if (isText && textEscaped && (flags & MAY_ESCAPE) == 0) store<u32>(ODD, 1);
  store<u8>(KINDS + field, kind);
  store<u32>(FROM + 4 * field, <u32>(isText ? from + 1 : from));
  store<u32>(TO + 4 * field, <u32>(isText ? to - 1 : to));
  return (flags & DROPPED) != 0 || ((flags & OBJECT_ONLY) != 0 && kind != OBJECT);
}

/** Writes so many bytes from an address on. */
export function writePiece(at: u32, length: u32): void {
  store<u32>(OUT, <u32>copyBytes(<usize>at, <usize>(at + length), <usize>load<u32>(OUT)));
}

/** Writes a field's value as it is in the source. */
export function writeField(field: u32): void {
  const from = load<u32>(FROM + 4 * field);
  writePiece(from, load<u32>(TO + 4 * field) - from);
}

/**
 * Copies the event at AT to OUT, but for the brace that closes it and the fields that are left out. ODD when it is
 * no object; BROKEN when it is not JSON, or nests far too deep; FOUND after the bracket of the list that the field `sought` is.
 */
export function copyEvent(depthMax: u32, sought: u32): u32 {
  let at = <usize>load<u32>(AT);
  let out = <usize>load<u32>(OUT);
  let depth: u32 = 0;
  let inName = false;
  // Of the event's member that is being read:
  let field: u32 = NO_FIELD;
  let flags: u32 = 0;
  let memberOut: usize = 0;
  let valueFrom: usize = 0;
  let firstOut: usize = 0;
  store<u32>(ODD, load<u8>(skipSpace(at)) == OPEN_OBJECT ? 0 : 1);
  store<u32>(USER_AGENT_AT, 0);
  v128.store(KINDS, i8x16.splat(0));
  v128.store(KINDS + 16, i8x16.splat(0));
  while (true) {
    at = skipSpace(at);
    let byte: u32 = load<u8>(at);
    if (byte == QUOTE) {
      const from = at + 1;
      if (inName && depth == 1) {
        memberOut = out;
        if (out > firstOut) {
          store<u8>(out, COMMA);
          out += 1;
        }
      }
      if (!copyText(at, out)) return BROKEN;
      at = textAt;
      out = textOut;
      if (inName) {
        const length = at - 1 - from;
        addName(depth, from, length);
        if (depth == 1) {
          field = fieldOf(from, length);
          flags = flagsOf(field);
        }
        at = skipSpace(at);
        if (load<u8>(at) != COLON) return BROKEN;
        at = skipSpace(at + 1);
        if (depth == 2 && (flags & WATCHED) != 0) {
          if (isDirect(from, length)) store<u32>(ODD, 1);
          if (isUserAgent(from, length)) store<u32>(USER_AGENT_AT, <u32>at);
        }
        store<u8>(out, COLON);
        out += 1;
        inName = false;
        if (depth == 1) {
          valueFrom = at;
          if (field == sought && sought != NO_FIELD) {
            store<u32>(AT, <u32>at + 1);
            return load<u8>(at) == OPEN_LIST ? FOUND : BROKEN;
          }
        }
        continue;
      }
    } else if (inName) return BROKEN;
    else if (byte == OPEN_OBJECT || byte == OPEN_LIST) {
      depth += 1;
      if (depth > DEPTH_MAX) return BROKEN;
      if (depth > depthMax) store<u32>(ODD, 1);
      openObject(depth, byte + 2);
      at = skipSpace(at + 1);
      store<u8>(out, byte);
      out += 1;
      if (depth == 1) firstOut = out;
      if (load<u8>(at) != byte + 2) {
        inName = byte == OPEN_OBJECT;
        continue;
      }
    } else {
      const end = scalarEnd(at, byte);
      if (end == 0) return BROKEN;
      out = copyBytes(at, end, out);
      at = end;
    }
    // A value has ended, and with it what it closes.
    while (true) {
      if (depth <= 1) {
        if (depth == 0) {
          store<u32>(AT, <u32>at);
          store<u32>(OUT, <u32>out);
          return COPIED;
        }
        if (field != NO_FIELD && tellField(field, flags, valueFrom, at)) out = memberOut;
        field = NO_FIELD;
      }
      at = skipSpace(at);
      byte = load<u8>(at);
      at += 1;
      if (byte == COMMA) {
        if (depth > 1) {
          store<u8>(out, COMMA);
          out += 1;
        }
        break;
      }
      if (byte != load<u32>(objectAt(depth) + CLOSER)) return BROKEN;
      if (depth > 1) {
        store<u8>(out, byte);
        out += 1;
      }
      depth -= 1;
    }
    inName = load<u32>(objectAt(depth) + CLOSER) == CLOSE_OBJECT;
  }
}
