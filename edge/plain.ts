/**
 * Plain events: those of a batch that can be stored as they came. The batch is read once, byte by byte, and each plain
 * event is copied straight into its item, which costs half of what parsing it and writing it again would.
 *
 * Laws
 * - What is plain is what shared/event.ts accepts, and its item says the same:
 *   test/edge/workerd/plain.test.ts holds one to the other.
 * - Whatever is in doubt is not plain. An odd event is left to ingest.ts, alone; a batch that is not JSON, or not laid
 *   out as SDKs do, is left to it whole.
 */
import { BATCH_MAX, BODY_END, bodyStart } from "./batch.ts";
import type { Batch } from "./batch.ts";
import { fixedPiece } from "./event-copier.ts";
import type { AcceptedObject } from "./ingest.ts";
import type { Puts } from "./items.ts";
import { textOf } from "./open-batch.ts";
import type { OpenBatch } from "./open-batch.ts";
import { canStamp, PlainReader } from "./plain-event.ts";
import type { PlainContext } from "./plain-event.ts";

const COMMA = 0x2c;
const BODY_TAIL = fixedPiece(BODY_END);

export type OddEvent = { readonly index: number; readonly text: string };

export type PlainBatch = {
  /** How many events the batch holds. */
  readonly total: number;
  /** Full ones, and what is left over. */
  readonly batches: readonly Batch[];
  readonly puts: readonly Puts[];
  readonly objects: readonly AcceptedObject[];
  /** Of the plain events. */
  readonly messageIds: () => readonly string[];
  readonly odd: readonly OddEvent[];
};

/** Null when some of it is not JSON, or the batch does not end where it was taken to end, or is too long. */
export function readPlain(batch: OpenBatch, context: PlainContext): PlainBatch | null {
  if (!canStamp(context)) return null;
  const reader = new PlainReader(batch, context);
  const { copier } = reader;
  const { table } = context;
  const bodyHead = copier.pieceOf(bodyStart(table));
  const batches: Batch[] = [];
  const odd: OddEvent[] = [];
  let indexes: number[] = [];
  let total = 0;
  do {
    if (total === context.eventsMax) return null;
    copier.peek();
    const { at, out } = copier;
    if (indexes.length === 0) copier.write(bodyHead);
    else copier.writeByte(COMMA);
    const read = reader.event(total);
    if (read === "broken") return null;
    if (read === "plain") indexes.push(total);
    else copier.out = out;
    if (read === "odd") odd.push({ index: total, text: textOf(batch, at, copier.at) });
    if (indexes.length === BATCH_MAX) {
      copier.write(BODY_TAIL);
      batches.push({ table, body: copier.written(), indexes });
      copier.out = 0;
      indexes = [];
    }
    total += 1;
  } while (copier.take(COMMA));
  copier.peek();
  if (!copier.isDone) return null;
  const rest = { bytes: copier.written(bodyHead.length), indexes };
  const puts = indexes.length === 0 ? [] : [rest];
  return { total, batches, puts, objects: reader.objects, messageIds: () => reader.messageIds(), odd };
}
