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

const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

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

/** Whether a double says it otherwise. A number is judged alone: it may be an id, and is the same in any company. */
const isInexact = (token: string): boolean => String(Number(token)) !== token;

/** True when some number token of the text would change in a double. Cheap, and wrong only towards true. */
function hasInexactNumber(text: string): boolean {
  if (!hasLongRun(text) && !EXPONENT_AT_RISK.test(text)) return false;
  for (const match of text.matchAll(NUMBER_AT_RISK)) if (isInexact(match[1] as string)) return true;
  return false;
}

/** Where the string ends whose quote is at `from`. */
function stringEnd(text: string, from: number): number {
  for (let at = from + 1; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === BACKSLASH) at += 1;
    else if (code === QUOTE) return at + 1;
  }
  return text.length;
}

/** The text with each number that no double holds as a string: `mark`, and its digits. */
function markInexact(text: string, mark: string): string {
  let [marked, from] = ["", 0];
  // Outside of strings up to here; and where the next one begins.
  let [at, quote] = [0, text.indexOf('"')];
  for (const match of text.matchAll(NUMBER_AT_RISK)) {
    const token = match[1] as string;
    const start = match.index + match[0].length - token.length;
    while (quote !== -1 && quote < start) {
      at = stringEnd(text, quote);
      quote = text.indexOf('"', at);
    }
    if (at > start || !NUMBER.test(token) || !isInexact(token)) continue;
    marked += `${text.slice(from, start)}"${mark}${token}"`;
    from = start + token.length;
  }
  return marked + text.slice(from);
}

/** Each string that begins with `mark` becomes the number that it is. In place. */
function unmark(root: unknown, mark: string): unknown {
  const holders: object[] = [];
  const exact = (value: unknown): unknown => {
    if (typeof value === "object" && value !== null) holders.push(value);
    return typeof value === "string" && value.startsWith(mark)
      ? json.rawJSON(value.slice(mark.length))
      : value;
  };
  const exactRoot = exact(root);
  for (let holder = holders.pop(); holder !== undefined; holder = holders.pop()) {
    if (Array.isArray(holder)) {
      for (const [index, value] of (holder as unknown[]).entries()) {
        const kept = exact(value);
        if (kept !== value) holder[index] = kept;
      }
    } else {
      for (const [name, value] of Object.entries(holder)) {
        const kept = exact(value);
        if (kept !== value) Reflect.set(holder, name, kept);
      }
    }
  }
  return exactRoot;
}

/**
 * JSON.parse that keeps exact numbers, in a few times its time: with a reviver it would take fifty times as long.
 * Throws SyntaxError.
 */
export function parseJson(text: string): unknown {
  if (!hasInexactNumber(text)) return JSON.parse(text) as unknown;
  // No stranger knows it, so that no string of theirs begins with it.
  const mark = crypto.randomUUID();
  return unmark(JSON.parse(markInexact(text, mark)), mark);
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
