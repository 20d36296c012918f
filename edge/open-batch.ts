/** A batch whose own members are known, and whose events have yet to be read. */
import { isJsonObject, mayNeedCleaning, parseJson } from "../shared/json.ts";
import type { JsonObject } from "../shared/json.ts";
import { EventCopier } from "./event-copier.ts";
import { fieldNumber } from "./event-fields.ts";
import { FOUND } from "./wasm/layout.ts";

const CLOSE_LIST = 0x5d;
const BATCH = fieldNumber("batch");

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

/** A context or integrations of the batch's own would have to be merged into each event. */
const isFrame = (frame: unknown): frame is JsonObject =>
  isJsonObject(frame) &&
  Array.isArray(frame["batch"]) &&
  !isJsonObject(frame["context"]) &&
  !isJsonObject(frame["integrations"]);

/** Null for what is not `{"batch": [...]}` with other members, or none, around it. */
export function openBatch(bytes: Uint8Array): OpenBatch | null {
  const copier = new EventCopier(bytes, 0, bytes.length);
  if (copier.findList(BATCH) !== FOUND) return null;
  const from = copier.at;
  const to = bytes.lastIndexOf(CLOSE_LIST);
  if (to < from) return null;
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
