/**
 * Which row is the last of its key: a hash table in typed arrays, since a map of all keys would keep their texts on
 * V8's heap, which the garbage collector copies.
 *
 * Law: the hash of a key is secret. Keys come from whoever may send events; those that share a hash would be compared
 * each with each. So each step multiplies what is secret in, and takes the upper half of the product too.
 */
import { randomInt } from "node:crypto";

/** Rows are numbered from 0. */
export const NO_ROW = -1;

/** Whether two rows have one key. */
export type IsSameKey = (row: number, other: number) => boolean;

export type Latest = {
  /** `row` is now the last of its key; gives the one that was, or `NO_ROW`. */
  readonly put: (row: number, hash: number, isSameKey: IsSameKey) => number;
  /** Forgets all rows; keeps the memory. */
  readonly clear: () => void;
};

const FIRST_SLOTS = 1024;

export function openLatest(): Latest {
  /** Of each slot the hash, and one more than the row: 0 is an empty slot. */
  let slots = new Int32Array(2 * FIRST_SLOTS);
  let used = 0;

  const slotOf = (hash: number, row: number, isSameKey: IsSameKey | null): number => {
    const mask = slots.length / 2 - 1;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const held = slots[2 * slot + 1] ?? 0;
      if (held === 0) return slot;
      if (isSameKey !== null && slots[2 * slot] === hash && isSameKey(held - 1, row)) return slot;
    }
  };
  const grow = (): void => {
    const before = slots;
    slots = new Int32Array(2 * before.length);
    for (let at = 0; at < before.length; at += 2) {
      const hash = before[at] ?? 0;
      if (before[at + 1] === 0) continue;
      // They are all different, so that none need be compared.
      const slot = slotOf(hash, NO_ROW, null);
      slots[2 * slot] = hash;
      slots[2 * slot + 1] = before[at + 1] ?? 0;
    }
  };

  return {
    put: (row, hash, isSameKey) => {
      const slot = slotOf(hash, row, isSameKey);
      const held = slots[2 * slot + 1] ?? 0;
      slots[2 * slot] = hash;
      slots[2 * slot + 1] = row + 1;
      if (held === 0 && (used += 1) > slots.length / 4) grow();
      return held - 1;
    },
    clear: () => {
      slots.fill(0);
      used = 0;
    },
  };
}

const SECRET_MIN = 2 ** 30;
/** For the life of the process. It shows in nothing that is written. */
const [SECRET, SECRET_OTHER] = [randomInt(SECRET_MIN, 2 ** 31) | 1, randomInt(SECRET_MIN, 2 ** 31) | 1];

/** Of the bytes in [from, end). */
export function keyHash(view: DataView, from: number, end: number): number {
  let hash = end - from;
  let at = from;
  for (; at + 8 <= end; at += 8) hash = mixed(hash ^ view.getInt32(at, true), view.getInt32(at + 4, true));
  if (at + 4 <= end) {
    hash = mixed(hash ^ view.getInt32(at, true), 0);
    at += 4;
  }
  let rest = end - at;
  for (; at < end; at += 1) rest = (rest << 8) | view.getUint8(at);
  return mixed(hash, rest);
}

/** Both halves of a product of 64 bits, the upper one as far as a double holds it. */
function mixed(one: number, other: number): number {
  const [a, b] = [one ^ SECRET, other ^ SECRET_OTHER];
  const upper = ((a >>> 0) * (b >>> 0)) / 2 ** 32;
  return Math.imul(a, b) ^ (upper >>> 0);
}

export function areEqual(
  one: Uint8Array,
  oneAt: number,
  other: Uint8Array,
  otherAt: number,
  length: number,
): boolean {
  for (let at = length - 1; at >= 0; at -= 1) if (one[oneAt + at] !== other[otherAt + at]) return false;
  return true;
}
