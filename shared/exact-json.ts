/**
 * JSON text to its value, names exact.
 *
 * V8's JSON.parse, in Node up to 26 at least, may read a name with an escape in it as an equally long one that it has
 * read before: after `{"a":1,"\\":2}`, `{"a":1,"\"":2}` has the name `\` (https://github.com/nodejs/node/issues/63785).
 * What it gives then always holds a backslash, as a property's name hardly ever does: such a text is parsed again by
 * a parser that is not V8's.
 */
import { parse } from "lossless-json";

export function hasDoubtfulName(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  for (const name in value)
    if (name.includes("\\") || hasDoubtfulName((value as Readonly<Record<string, unknown>>)[name]))
      return true;
  return false;
}

/** @param isDoubtful whether a value may hold such a name, where most that is read cannot */
export function parseExact(text: string, isDoubtful: (value: unknown) => boolean = hasDoubtfulName): unknown {
  const value: unknown = JSON.parse(text);
  return isDoubtful(value) ? parse(text, null, Number) : value;
}
