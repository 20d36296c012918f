/** A batch whose own members are known, and whose events have yet to be read. */
import { isJsonObject, mayNeedCleaning, parseJson } from "../shared/json.ts";
import type { JsonObject } from "../shared/json.ts";
import {
  CLOSE_LIST,
  COLON,
  COMMA,
  copyString,
  copyValue,
  isAt,
  OPEN_LIST,
  OPEN_OBJECT,
  openCopy,
  peek,
  QUOTE,
  take,
} from "./json-copy.ts";

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export type OpenBatch = {
  readonly kind: "open";
  readonly bytes: Uint8Array;
  /** Of all the bytes, which are UTF-8. */
  readonly text: string;
  /** The request without its events: `batch` is an empty list. */
  readonly body: JsonObject;
  /** The events are [from, to) of the bytes, without the list's brackets. */
  readonly from: number;
  readonly to: number;
};

const BATCH = new TextEncoder().encode("batch");

/** Where the events begin, in the list of the member `batch`; -1 when they are not found. */
function findEvents(bytes: Uint8Array): number {
  const copy = openCopy(bytes, 0, bytes.length, 0);
  if (!take(copy, OPEN_OBJECT)) return -1;
  do {
    const from = peek(copy) === QUOTE ? copy.at + 1 : -1;
    if (from < 0 || !copyString(copy)) return -1;
    const to = copy.at - 1;
    if (!take(copy, COLON)) return -1;
    if (isAt(copy, from, to, BATCH)) return take(copy, OPEN_LIST) ? copy.at : -1;
    if (!copyValue(copy)) return -1;
  } while (take(copy, COMMA));
  return -1;
}

/** A context or integrations of the batch's own would have to be merged into each event. */
const isFrame = (frame: unknown): frame is JsonObject =>
  isJsonObject(frame) &&
  Array.isArray(frame["batch"]) &&
  !isJsonObject(frame["context"]) &&
  !isJsonObject(frame["integrations"]);

/** Null for what is not `{"batch": [...]}` with other members, or none, around it. */
export function openBatch(bytes: Uint8Array): OpenBatch | null {
  const from = findEvents(bytes);
  const to = bytes.lastIndexOf(CLOSE_LIST);
  if (from < 0 || to < from) return null;
  try {
    const text = decoder.decode(bytes);
    const frameText =
      text.length === bytes.length
        ? text.slice(0, from) + text.slice(to)
        : decoder.decode(bytes.subarray(0, from)) + decoder.decode(bytes.subarray(to));
    const body = parseJson(frameText);
    if (!isFrame(body) || mayNeedCleaning(frameText)) return null;
    return { kind: "open", bytes, text, body, from, to };
  } catch {
    return null;
  }
}

/** [from, to) of the batch's bytes. */
export const textOf = ({ bytes, text }: OpenBatch, from: number, to: number): string =>
  text.length === bytes.length ? text.slice(from, to) : decoder.decode(bytes.subarray(from, to));
