/**
 * A batch: the puts of one BatchWriteItem call.
 *
 * As bytes, and made before the first call: while a request waits for its table, the garbage collector would
 * otherwise move its events, texts and items about, which cost a tenth of the edge's CPU.
 */
import type { Puts } from "./items.ts";

/** The most that BatchWriteItem takes. */
export const BATCH_MAX = 25;

export type Batch = {
  /** What `body` names; regions may name their tables differently. */
  readonly table: string;
  /** The call's body, in UTF-8. */
  readonly body: Uint8Array;
  /** Where each put's event stood in the request; null for an item that no client waits for. */
  readonly indexes: readonly (number | null)[];
};

const encoder = new TextEncoder();
const decoder = new TextDecoder();

const COMMA = 0x2c;
/** A body is what `bodyStart` gives, puts with commas between them, and this. */
export const BODY_END = encoder.encode("]}}");

export const bodyStart = (table: string): Uint8Array =>
  encoder.encode(`{"RequestItems":{${JSON.stringify(table)}:[`);

function bodyOf(table: string, puts: readonly Puts[]): Uint8Array {
  const start = bodyStart(table);
  const size = puts.reduce((sum, { bytes }) => sum + bytes.length + 1, start.length + BODY_END.length - 1);
  const body = new Uint8Array(size);
  body.set(start);
  let at = start.length;
  for (const { bytes } of puts) {
    if (at > start.length) body[at++] = COMMA;
    body.set(bytes, at);
    at += bytes.length;
  }
  body.set(BODY_END, at);
  return body;
}

export function batchesOf(table: string, puts: readonly Puts[]): readonly Batch[] {
  const batches: Batch[] = [];
  let held: Puts[] = [];
  let count = 0;
  const close = (): void => {
    if (count === 0) return;
    batches.push({ table, body: bodyOf(table, held), indexes: held.flatMap(({ indexes }) => indexes) });
    held = [];
    count = 0;
  };
  for (const some of puts) {
    if (count + some.indexes.length > BATCH_MAX) close();
    held.push(some);
    count += some.indexes.length;
  }
  close();
  return batches;
}

/** The way back, one by one, for what a call could not do. */
export function putsOf({ table, body, indexes }: Batch): readonly Puts[] {
  const { RequestItems } = JSON.parse(decoder.decode(body)) as {
    readonly RequestItems: Readonly<Record<string, readonly object[]>>;
  };
  const requests = RequestItems[table] ?? [];
  return requests.map((request, at) => ({
    bytes: encoder.encode(JSON.stringify(request)),
    indexes: [indexes[at] ?? null],
  }));
}

/** The body for a table that may be another than the one that the batch was made for. */
export function bodyFor(table: string, batch: Batch): Uint8Array {
  return batch.table === table ? batch.body : bodyOf(table, putsOf(batch));
}
