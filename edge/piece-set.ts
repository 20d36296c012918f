/** A set of pieces of one buffer, equal when their bytes are: what a set of strings would hold, without making them. */
export type PieceSet = {
  /** False when the piece [from, to) is there already. */
  readonly add: (from: number, to: number) => boolean;
  /** In the order in which they came. */
  readonly pieces: readonly { readonly from: number; readonly to: number }[];
};

/** FNV-1a: http://www.isthe.com/chongo/tech/comp/fnv/ */
const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

/** @param sizeMax how many there may be at most */
export function createPieceSet(bytes: Uint8Array, sizeMax: number): PieceSet {
  const pieces: { readonly from: number; readonly to: number }[] = [];
  // Open addressing, at most half full; a slot holds a piece's number, from 1.
  const slots = new Uint32Array(2 ** Math.ceil(Math.log2(2 * sizeMax)));
  const mask = slots.length - 1;

  const isAt = (piece: { readonly from: number; readonly to: number }, from: number, to: number): boolean => {
    if (piece.to - piece.from !== to - from) return false;
    for (let at = from, other = piece.from; at < to; at += 1, other += 1) {
      if (bytes[at] !== bytes[other]) return false;
    }
    return true;
  };

  return {
    pieces,
    add: (from, to) => {
      let hash = FNV_OFFSET;
      for (let at = from; at < to; at += 1) hash = Math.imul(hash ^ (bytes[at] as number), FNV_PRIME);
      let slot = (hash ^ (hash >>> 15)) & mask;
      for (let number = slots[slot]; number !== 0; number = slots[slot]) {
        const piece = pieces[(number as number) - 1];
        if (piece === undefined || isAt(piece, from, to)) return false;
        slot = (slot + 1) & mask;
      }
      if (pieces.length >= sizeMax) throw new RangeError(`a set of ${sizeMax} pieces is full`);
      slots[slot] = pieces.push({ from, to });
      return true;
    },
  };
}
