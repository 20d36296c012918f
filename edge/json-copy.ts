/**
 * A copy of JSON in UTF-8 as it stands inside a JSON string: quotes and backslashes escaped, white space between
 * tokens dropped. It makes no values, which is what parsing costs.
 *
 * Laws
 * - What is copied is JSON by RFC 8259, to the byte; the caller has seen to it that it is UTF-8.
 * - Nothing is written past the target: what has no room is left out, and `out` says so by going past its end.
 * - One copy at a time: a copy's target is the next one's too.
 * - `odd` is set where JSON.parse and JSON.stringify would change what the text says: a `\u` escape (it may hide a NUL,
 *   half a surrogate pair, or a name), a name that an object has twice, a prototype key.
 */
export type JsonCopy = {
  readonly source: Uint8Array;
  /** The source ends here. */
  readonly end: number;
  target: Uint8Array;
  /** A value that nests deeper is odd. */
  readonly depthMax: number;
  /** Of the source: what is read next. */
  at: number;
  /** Of the target: what is written next. */
  out: number;
  odd: boolean;
  /** Whether the last string had an escape. */
  escaped: boolean;
};

export const QUOTE = 0x22;
export const COMMA = 0x2c;
const MINUS = 0x2d;
const POINT = 0x2e;
const ZERO = 0x30;
export const COLON = 0x3a;
export const OPEN_LIST = 0x5b;
const BACKSLASH = 0x5c;
export const CLOSE_LIST = 0x5d;
const E = 0x65;
const U = 0x75;
export const OPEN_OBJECT = 0x7b;
export const CLOSE_OBJECT = 0x7d;

/** Deeper is left to those who can say so. */
const DEPTH_MAX = 48;
/** Names of one object that are told apart here. */
const NAMES_MAX = 64;

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
const TRUE = bytesOf("true");
const FALSE = bytesOf("false");
const NULL = bytesOf("null");
const PROTO = bytesOf("__proto__");
const CONSTRUCTOR = bytesOf("constructor");
/** What may follow a backslash, `u` apart. */
const ESCAPED = new Set(Array.from('"\\/bfnrt', (char) => char.charCodeAt(0)));

/** Kept from copy to copy, for new memory costs more than what is written into it. */
let scratch: Uint8Array = new Uint8Array(1024 * 1024);

/** A copy of [from, to) of the source, which begins with nothing. */
export const openCopy = (source: Uint8Array, from: number, to: number, depthMax: number): JsonCopy => ({
  source,
  end: to,
  target: scratch,
  depthMax,
  at: from,
  out: 0,
  odd: false,
  escaped: false,
});

/** Makes room for so many bytes more. */
export function makeRoom(copy: JsonCopy, bytes: number): void {
  if (copy.target.length - copy.out >= bytes) return;
  scratch = new Uint8Array(2 * copy.target.length + bytes);
  scratch.set(copy.target.subarray(0, copy.out));
  copy.target = scratch;
}

const isSpace = (byte: number): boolean => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
/** Whether four hexadecimal digits come next. */
function isHex(source: Uint8Array, at: number, end: number): boolean {
  for (let digit = at; digit < at + 4; digit += 1) {
    const byte = source[digit] as number;
    const lower = byte | 0x20;
    if (digit >= end || !(isDigit(byte) || (lower >= 0x61 && lower <= 0x66))) return false;
  }
  return true;
}

const isDigit = (byte: number): boolean => byte >= ZERO && byte <= 0x39;

/** The next byte that is no white space, which `at` then stands at; 0 at the end. */
export function peek(copy: JsonCopy): number {
  const { source, end } = copy;
  let { at } = copy;
  while (at < end && isSpace(source[at] as number)) at += 1;
  copy.at = at;
  return at < end ? (source[at] as number) : 0;
}

/** Passes over the byte if it comes next. */
export function take(copy: JsonCopy, byte: number): boolean {
  if (peek(copy) !== byte) return false;
  copy.at += 1;
  return true;
}

/** Whether [from, to) of the source is these bytes. */
export function isAt({ source, end }: JsonCopy, from: number, to: number, bytes: Uint8Array): boolean {
  if (to - from !== bytes.length || to > end) return false;
  for (let at = 0; at < bytes.length; at += 1) if (source[from + at] !== bytes[at]) return false;
  return true;
}

/** Writes bytes as they are. */
export function write(copy: JsonCopy, bytes: Uint8Array): void {
  const { target } = copy;
  let { out } = copy;
  if (bytes.length > 48 && out + bytes.length <= target.length) {
    target.set(bytes, out);
    copy.out = out + bytes.length;
    return;
  }
  for (let at = 0; at < bytes.length; at += 1) target[out++] = bytes[at] as number;
  copy.out = out;
}

/** Writes [from, to) of the source as it is. */
export function writeSource(copy: JsonCopy, from: number, to: number): void {
  const { source, target } = copy;
  let { out } = copy;
  for (let at = from; at < to; at += 1) target[out++] = source[at] as number;
  copy.out = out;
}

/** Writes text that is ASCII. */
export function writeAscii(copy: JsonCopy, text: string): void {
  const { target } = copy;
  let { out } = copy;
  for (let at = 0; at < text.length; at += 1) target[out++] = text.charCodeAt(at);
  copy.out = out;
}

/** Copies the string whose quote is next. False when it is none. */
export function copyString(copy: JsonCopy): boolean {
  const { source, end, target } = copy;
  let { at, out } = copy;
  let escaped = false;
  at += 1;
  target[out++] = BACKSLASH;
  target[out++] = QUOTE;
  while (at < end) {
    const byte = source[at++] as number;
    if (byte > QUOTE && byte !== BACKSLASH) {
      target[out++] = byte;
      continue;
    }
    if (byte === QUOTE) {
      target[out++] = BACKSLASH;
      target[out++] = QUOTE;
      copy.at = at;
      copy.out = out;
      copy.escaped = escaped;
      return true;
    }
    if (byte < 0x20) return false;
    if (byte === BACKSLASH) {
      const next = at < end ? (source[at++] as number) : 0;
      if (next === U && isHex(source, at, end)) copy.odd = true;
      else if (!ESCAPED.has(next)) return false;
      escaped = true;
      target[out++] = BACKSLASH;
      target[out++] = BACKSLASH;
      if (next === QUOTE || next === BACKSLASH) target[out++] = BACKSLASH;
      target[out++] = next;
    } else target[out++] = byte;
  }
  return false;
}

function copyDigits(copy: JsonCopy): boolean {
  const { source, end, target } = copy;
  let { at, out } = copy;
  while (at < end && isDigit(source[at] as number)) target[out++] = source[at++] as number;
  const some = at > copy.at;
  copy.at = at;
  copy.out = out;
  return some;
}

function copyIf(copy: JsonCopy, isIt: (byte: number) => boolean): boolean {
  if (copy.at >= copy.end || !isIt(copy.source[copy.at] as number)) return false;
  copy.target[copy.out++] = copy.source[copy.at++] as number;
  return true;
}

const isMinus = (byte: number): boolean => byte === MINUS;
const isSign = (byte: number): boolean => byte === MINUS || byte === 0x2b;
const isZero = (byte: number): boolean => byte === ZERO;
const isPoint = (byte: number): boolean => byte === POINT;
const isExponent = (byte: number): boolean => (byte | 0x20) === E;

function copyNumber(copy: JsonCopy): boolean {
  copyIf(copy, isMinus);
  if (!copyIf(copy, isZero) && !copyDigits(copy)) return false;
  if (copyIf(copy, isPoint) && !copyDigits(copy)) return false;
  if (!copyIf(copy, isExponent)) return true;
  copyIf(copy, isSign);
  return copyDigits(copy);
}

function copyLiteral(copy: JsonCopy, literal: Uint8Array): boolean {
  if (!isAt(copy, copy.at, copy.at + literal.length, literal)) return false;
  copy.at += literal.length;
  write(copy, literal);
  return true;
}

/** Of the objects that are open: where their names stand, in pairs; how many; and a sketch of them. */
const names = new Int32Array(2 * NAMES_MAX * (DEPTH_MAX + 1));
const counts = new Int32Array(DEPTH_MAX + 1);
const sketches = new Int32Array(DEPTH_MAX + 1);
const closers = new Uint8Array(DEPTH_MAX + 1);

function isRepeated({ source }: JsonCopy, depth: number, from: number, to: number): boolean {
  const first = 2 * NAMES_MAX * depth;
  const length = to - from;
  for (let at = first; at < first + 2 * (counts[depth] as number); at += 2) {
    const other = names[at] as number;
    if ((names[at + 1] as number) - other !== length) continue;
    let same = 0;
    while (same < length && source[other + same] === source[from + same]) same += 1;
    if (same === length) return true;
  }
  return false;
}

export function openNames(depth: number): void {
  counts[depth] = 0;
  sketches[depth] = 0;
}

/** Takes in a name of the object that is open at a depth. */
export function addName(copy: JsonCopy, depth: number, from: number, to: number): void {
  const { source } = copy;
  const count = counts[depth] as number;
  if (copy.escaped || count >= NAMES_MAX) {
    copy.odd = true;
    return;
  }
  // Most names of an object differ in these: only those that do not are compared.
  const bit = 1 << (((source[from] as number) + 3 * (source[to - 1] as number) + 7 * (to - from)) & 31);
  const sketch = sketches[depth] as number;
  if ((sketch & bit) !== 0 && isRepeated(copy, depth, from, to)) copy.odd = true;
  sketches[depth] = sketch | bit;
  const pair = 2 * (NAMES_MAX * depth + count);
  names[pair] = from;
  names[pair + 1] = to;
  counts[depth] = count + 1;
  if (to - from === PROTO.length && isAt(copy, from, to, PROTO)) copy.odd = true;
  if (to - from === CONSTRUCTOR.length && isAt(copy, from, to, CONSTRUCTOR)) copy.odd = true;
}

/** Copies a number or a literal. */
function copyScalar(copy: JsonCopy, first: number): boolean {
  if (first === MINUS || isDigit(first)) return copyNumber(copy);
  return copyLiteral(copy, first === 0x74 ? TRUE : first === 0x66 ? FALSE : NULL);
}

/**
 * Copies the value that is next. False when it is not JSON, or nests too deep.
 *
 * One function, with where it stands in variables of its own: an edge spends a tenth of its time here.
 * @param onName told where the names of the value's own members stand, if it is an object
 */
export function copyValue(copy: JsonCopy, onName?: (from: number, to: number) => void): boolean {
  const { source, end, target } = copy;
  let { at, out } = copy;
  let depth = 0;
  let inName = false;
  for (;;) {
    while (at < end && isSpace(source[at] as number)) at += 1;
    let byte = at < end ? (source[at] as number) : 0;
    if (byte === QUOTE) {
      at += 1;
      const from = at;
      let escaped = false;
      target[out++] = BACKSLASH;
      target[out++] = QUOTE;
      for (;;) {
        byte = at < end ? (source[at] as number) : 0;
        at += 1;
        if (byte > QUOTE && byte !== BACKSLASH) target[out++] = byte;
        else if (byte === QUOTE) break;
        else if (byte === BACKSLASH) {
          const next = at < end ? (source[at] as number) : 0;
          at += 1;
          if (next === U && isHex(source, at, end)) copy.odd = true;
          else if (!ESCAPED.has(next)) return false;
          escaped = true;
          target[out++] = BACKSLASH;
          target[out++] = BACKSLASH;
          if (next === QUOTE || next === BACKSLASH) target[out++] = BACKSLASH;
          target[out++] = next;
        } else if (byte < 0x20) return false;
        else target[out++] = byte;
      }
      target[out++] = BACKSLASH;
      target[out++] = QUOTE;
      copy.escaped = escaped;
      if (inName) {
        addName(copy, depth, from, at - 1);
        if (depth === 1 && onName !== undefined) onName(from, at - 1);
        while (at < end && isSpace(source[at] as number)) at += 1;
        if (at >= end || source[at] !== COLON) return false;
        at += 1;
        target[out++] = COLON;
        inName = false;
        continue;
      }
    } else if (inName) return false;
    else if (byte === OPEN_OBJECT || byte === OPEN_LIST) {
      if ((depth += 1) > DEPTH_MAX) return false;
      if (depth > copy.depthMax) copy.odd = true;
      closers[depth] = byte + 2;
      openNames(depth);
      at += 1;
      target[out++] = byte;
      while (at < end && isSpace(source[at] as number)) at += 1;
      if (at >= end || source[at] !== byte + 2) {
        inName = byte === OPEN_OBJECT;
        continue;
      }
    } else {
      copy.at = at;
      copy.out = out;
      if (!copyScalar(copy, byte)) return false;
      ({ at, out } = copy);
    }
    // A value has ended, and with it what it closes.
    for (;;) {
      if (depth === 0) {
        copy.at = at;
        copy.out = out;
        return true;
      }
      while (at < end && isSpace(source[at] as number)) at += 1;
      byte = at < end ? (source[at] as number) : 0;
      at += 1;
      target[out++] = byte;
      if (byte === COMMA) break;
      if (byte !== closers[depth]) return false;
      depth -= 1;
    }
    inName = closers[depth] === CLOSE_OBJECT;
  }
}
