/**
 * Sequence numbers of DynamoDB Streams: 1 to 40 digits, ordered as integers, and only within one shard.
 * In a row they are zero-padded to 40 characters, so that text order is their order.
 */
declare const brand: unique symbol;
export type SequenceNumber = string & { readonly [brand]: "SequenceNumber" };

export const SEQUENCE_DIGITS_MAX = 40;

/** Null when the text is not a sequence number. Leading zeros are dropped. */
export function parseSequence(text: string): SequenceNumber | null {
  if (!/^\d{1,40}$/.test(text)) return null;
  return (text.startsWith("0") ? text.replace(/^0+(?=\d)/, "") : text) as SequenceNumber;
}

export const sequenceColumn = (sequence: SequenceNumber): string =>
  sequence.padStart(SEQUENCE_DIGITS_MAX, "0");

/** Negative when `a` comes before `b`. Null stands for the start of the shard, before every number. */
export function compareSequence(a: SequenceNumber | null, b: SequenceNumber | null): number {
  if (a === b) return 0;
  if (a === null) return -1;
  if (b === null) return 1;
  if (a.length !== b.length) return a.length - b.length;
  return a < b ? -1 : 1;
}
