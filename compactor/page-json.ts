/**
 * A GetRecords answer's text to its value, names exact.
 *
 * V8's JSON.parse, in Node up to 26 at least, may read a name with an escape in it as an equally long one that it has
 * read before: after `{"a":1,"\\":2}`, `{"a":1,"\"":2}` has the name `\` (https://github.com/nodejs/node/issues/63785).
 * What it gives then always holds a backslash, as a property's name hardly ever does: such an answer is parsed again by
 * a parser that is not V8's.
 */
import { parse } from "lossless-json";

type Value = Readonly<Record<string, unknown>>;

const isObject = (value: unknown): value is Value => typeof value === "object" && value !== null;

function hasDoubtfulName(value: unknown): boolean {
  if (!isObject(value)) return false;
  for (const name in value) if (name.includes("\\") || hasDoubtfulName(value[name])) return true;
  return false;
}

/** An event's and a rejected event's names are all ours, and hold no backslash. */
function isDoubtful(record: unknown): boolean {
  if (!isObject(record) || !isObject(record["dynamodb"])) return false;
  const { Keys, NewImage } = record["dynamodb"];
  const pk = isObject(Keys) && isObject(Keys["pk"]) ? Keys["pk"]["S"] : undefined;
  if (typeof pk === "string" && (pk.startsWith("e#") || pk.startsWith("r#"))) return false;
  return hasDoubtfulName(Keys) || hasDoubtfulName(NewImage);
}

export function parsePageJson(text: string): unknown {
  const value: unknown = JSON.parse(text);
  const records = isObject(value) ? value["Records"] : undefined;
  return Array.isArray(records) && records.some(isDoubtful) ? parse(text, null, Number) : value;
}
