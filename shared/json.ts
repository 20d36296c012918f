/**
 * JSON as strangers send it: exact numbers, no prototype keys, well-formed text, bounded depth.
 *
 * - A number that a double cannot hold (2^53 and up, 1e400) is kept as a raw JSON number, which
 *   JSON.stringify writes back digit by digit.
 * - Every walker is iterative: a body may nest 250,000 deep.
 */
export type JsonObject = { [name: string]: unknown };

/** TypeScript's library does not know these yet; V8 does (ECMAScript: JSON.parse source text access). */
type RawJson = { readonly rawJSON: string };
const json = JSON as typeof JSON & {
  rawJSON(text: string): RawJson;
  isRawJSON(value: unknown): value is RawJson;
};

const NUMBER_AT_RISK = /(?:^|[:,[\s])(-?\d[\d.]{15,}(?:[eE][+-]?\d+)?|-?\d[\d.]*[eE][+-]?\d{3,})/g;

export function isRawNumber(value: unknown): value is RawJson {
  return typeof value === "object" && json.isRawJSON(value);
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !json.isRawJSON(value);
}

/** A double holds any 15 digits, so only a run of more, its point included, is at risk. */
const RUN_AT_RISK = 16;
const EXPONENT_AT_RISK = /\d[eE][+-]?\d{3,}(?:[,}\]\s]|$)/;

const isOfNumber = (code: number): boolean => (code >= 0x30 && code <= 0x39) || code === 0x2e;

/** Looks at every so-manieth character: a run of as many has one of them. */
function hasLongRun(text: string): boolean {
  for (let at = RUN_AT_RISK - 1; at < text.length; at += RUN_AT_RISK) {
    if (!isOfNumber(text.charCodeAt(at))) continue;
    let [from, end] = [at, at + 1];
    while (from > 0 && isOfNumber(text.charCodeAt(from - 1))) from -= 1;
    while (end < text.length && isOfNumber(text.charCodeAt(end))) end += 1;
    if (end - from >= RUN_AT_RISK) return true;
  }
  return false;
}

/** True when some number token of the text would change in a double. Cheap, and wrong only towards true. */
function hasInexactNumber(text: string): boolean {
  if (!hasLongRun(text) && !EXPONENT_AT_RISK.test(text)) return false;
  for (const match of text.matchAll(NUMBER_AT_RISK)) {
    const token = match[1] as string;
    if (String(Number(token)) !== token) return true;
  }
  return false;
}

/** Judged alone, so that a number (it may be an id) comes to the same in any company. */
function exactNumber(_name: string, value: unknown, context: { readonly source?: string }): unknown {
  const { source } = context;
  if (typeof value !== "number" || source === undefined || String(value) === source) return value;
  return hasInexactNumber(source) ? json.rawJSON(source) : value;
}

/** JSON.parse that keeps exact numbers. Throws SyntaxError, or RangeError when it is too deep to revive. */
export function parseJson(text: string): unknown {
  if (!hasInexactNumber(text)) return JSON.parse(text) as unknown;
  // The third argument is newer than TypeScript's type of a reviver.
  return JSON.parse(text, exactNumber as (name: string, value: unknown) => unknown) as unknown;
}

/**
 * False when no string of the parsed text can hold a NUL, a lone surrogate or a prototype key: decoded
 * UTF-8 has none in the clear, so they need an escape or the name itself.
 */
export function mayNeedCleaning(text: string): boolean {
  // V8 looks for so short a text by its first character, several times as fast as for a longer one.
  return text.includes("\\u") || text.includes("__prot") || text.includes("constr");
}

const NUL = "\u0000";

export function isCleanText(text: string): boolean {
  return text.isWellFormed() && !text.includes(NUL);
}

/** NUL and lone surrogates become U+FFFD: neither survives UTF-8, Parquet and every warehouse. */
export function cleanText(text: string): string {
  return isCleanText(text) ? text : text.toWellFormed().replaceAll(NUL, "\uFFFD");
}

/** `constructor` alone is an honest word; with a `prototype` under it, it is an attack on recursive merges. */
function isPrototypeKey(name: string, value: unknown): boolean {
  return (
    name === "__proto__" ||
    (name === "constructor" && isJsonObject(value) && Object.hasOwn(value, "prototype"))
  );
}

function cleanArray(array: unknown[], pending: object[]): void {
  for (const [index, value] of array.entries()) {
    if (typeof value === "string") array[index] = cleanText(value);
    else if (typeof value === "object" && value !== null && !json.isRawJSON(value)) pending.push(value);
  }
}

function cleanObject(object: JsonObject, pending: object[]): void {
  for (const name of Object.keys(object)) {
    const value = object[name];
    if (isPrototypeKey(name, value)) {
      delete object[name];
      continue;
    }
    const cleaned = typeof value === "string" ? cleanText(value) : value;
    const cleanedName = cleanText(name);
    if (cleanedName !== name) delete object[name];
    if (cleanedName !== name || cleaned !== value) object[cleanedName] = cleaned;
    if (typeof cleaned === "object" && cleaned !== null && !json.isRawJSON(cleaned)) pending.push(cleaned);
  }
}

/** Drops prototype keys and mends strings and names, in place, at every depth. */
export function cleanJson(value: unknown): void {
  const pending: object[] = typeof value === "object" && value !== null ? [value] : [];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if (Array.isArray(next)) cleanArray(next, pending);
    else cleanObject(next as JsonObject, pending);
  }
}

/** True when `value` nests deeper than `depthMax` objects and arrays. */
export function isDeeperThan(value: unknown, depthMax: number): boolean {
  let level: object[] = typeof value === "object" && value !== null ? [value] : [];
  for (let depth = 1; level.length > 0; depth++) {
    if (depth > depthMax) return true;
    const below: object[] = [];
    for (const node of level) {
      for (const child of Array.isArray(node) ? (node as unknown[]) : Object.values(node)) {
        if (typeof child === "object" && child !== null) below.push(child);
      }
    }
    level = below;
  }
  return false;
}

/** True when the text opens more than `bracketsMax` objects and arrays; below that it cannot nest deeper. */
export function opensMoreThan(text: string, bracketsMax: number): boolean {
  let count = 0;
  for (const bracket of ["{", "["]) {
    for (let at = text.indexOf(bracket); at !== -1; at = text.indexOf(bracket, at + 1)) {
      if (++count > bracketsMax) return true;
    }
  }
  return false;
}

const encoder = new TextEncoder();

/** True when `text` is longer than `bytesMax` in UTF-8. Encodes only when its length leaves doubt. */
export function isLargerThan(text: string, bytesMax: number): boolean {
  if (text.length > bytesMax) return true;
  return text.length * 3 > bytesMax && encoder.encode(text).length > bytesMax;
}
