/**
 * The spill queue: what a region would not take waits in Cloudflare Queues, which is durable, until the same
 * worker drains it into that region's table.
 *
 * - A message is JSON text of `{v: 1, region, puts?, updates?}`, under the platform's 128 KB.
 * - Draining twice changes nothing: items are put whole, objects updated on their condition.
 */
import * as z from "zod";
import { within } from "../shared/clock.ts";
import type { Clock } from "../shared/clock.ts";
import { batchesOf, putsOf } from "./batch.ts";
import type { Puts } from "./items.ts";
import type { ObjectUpdate } from "./objects.ts";
import type { TableWork } from "./table.ts";

const MESSAGE = z.object({
  v: z.literal(1),
  region: z.string(),
  puts: z.array(z.string()).default([]),
  updates: z.array(z.object({ set: z.string(), fill: z.string() })).default([]),
});

/** The platform's limits are 128 KB a message, 256 KB and 100 messages a call; sizes here are UTF-8. */
const MESSAGE_BYTES_MAX = 120_000;
const CALL_BYTES_MAX = 240_000;
const CALL_MESSAGES_MAX = 100;

type Piece = {
  readonly bytes: number;
  readonly put?: string;
  readonly update?: { set: string; fill: string };
};
type Message = { readonly text: string; readonly bytes: number };

export type Packed =
  /** Each element is one call of sendBatch. */
  | { readonly kind: "packed"; readonly calls: readonly (readonly string[])[] }
  | { readonly kind: "too_large" };

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const bytesOf = (text: string): number => encoder.encode(text).length;

function groups<T extends { readonly bytes: number }>(
  items: readonly T[],
  bytesMax: number,
  itemsMax: number,
): T[][] {
  const result: T[][] = [];
  let group: T[] = [];
  let bytes = 0;
  for (const item of items) {
    if (group.length > 0 && (bytes + item.bytes > bytesMax || group.length >= itemsMax)) {
      result.push(group);
      group = [];
      bytes = 0;
    }
    group.push(item);
    bytes += item.bytes;
  }
  if (group.length > 0) result.push(group);
  return result;
}

const updatePiece = ({ set, fill }: ObjectUpdate): Piece => ({
  update: { set, fill },
  bytes: bytesOf(JSON.stringify({ set, fill })) + 1,
});

/** Whether a message could hold it. Text grows to three times its length at most: in UTF-8, or by its escapes. */
export const canSpill = (update: ObjectUpdate): boolean =>
  (update.set.length + update.fill.length) * 3 < MESSAGE_BYTES_MAX / 2 ||
  updatePiece(update).bytes <= MESSAGE_BYTES_MAX;

export function packSpill(region: string, work: TableWork): Packed {
  const pieces: Piece[] = [
    ...work.batches
      .flatMap(putsOf)
      .map(({ bytes }) => decoder.decode(bytes))
      .map((put) => ({ put, bytes: bytesOf(JSON.stringify(put)) + 1 })),
    ...work.updates.map(updatePiece),
  ];
  if (pieces.some(({ bytes }) => bytes > MESSAGE_BYTES_MAX)) return { kind: "too_large" };
  const messages: Message[] = groups(pieces, MESSAGE_BYTES_MAX, Number.POSITIVE_INFINITY).map((group) => {
    const puts = group.flatMap(({ put }) => put ?? []);
    const updates = group.flatMap(({ update }) => update ?? []);
    const text = JSON.stringify({ v: 1, region, puts, updates });
    return { text, bytes: bytesOf(text) };
  });
  const calls = groups(messages, CALL_BYTES_MAX, CALL_MESSAGES_MAX);
  return { kind: "packed", calls: calls.map((call) => call.map(({ text }) => text)) };
}

export type SpillQueue = {
  readonly sendBatch: (messages: Iterable<{ body: string; contentType: "text" }>) => Promise<unknown>;
};

const SEND_MS = 5_000;

/** True once all of it is in the queue. */
export async function spill(
  queue: SpillQueue | null,
  region: string,
  work: TableWork,
  clock: Clock,
): Promise<boolean> {
  if (queue === null) return false;
  const packed = packSpill(region, work);
  if (packed.kind === "too_large") return false;
  try {
    for (const call of packed.calls) {
      const messages = call.map((body) => ({ body, contentType: "text" }) as const);
      await within(queue.sendBatch(messages), SEND_MS, clock);
    }
    return true;
  } catch {
    return false;
  }
}

export type Unpacked = {
  readonly region: string;
  readonly puts: readonly Puts[];
  readonly updates: readonly ObjectUpdate[];
};

/** Null for a message that is none of ours. */
export function unpackSpill(body: unknown): Unpacked | null {
  if (typeof body !== "string") return null;
  try {
    const { region, puts, updates } = MESSAGE.parse(JSON.parse(body));
    return {
      region,
      puts: puts.map((put) => ({ bytes: encoder.encode(put), indexes: [null] })),
      updates: updates.map(({ set, fill }) => ({ set, fill, indexes: [null] })),
    };
  } catch {
    return null;
  }
}

const forTable = (table: string, update: string): string =>
  JSON.stringify({ ...(JSON.parse(update) as object), TableName: table });

/** What the message holds, for the table that its region has by now: it may have had another name. */
export function workFor(table: string, { puts, updates }: Unpacked): TableWork {
  return {
    batches: batchesOf(table, puts),
    updates: updates.map(({ set, fill, indexes }) => ({
      set: forTable(table, set),
      fill: forTable(table, fill),
      indexes,
    })),
  };
}

const DELAY_MAX_S = 600;

/** How long a message that could not be drained waits before it is tried again. */
export const drainDelayS = (attempts: number): number =>
  Math.min(DELAY_MAX_S, 5 * 2 ** Math.min(attempts, 10));
