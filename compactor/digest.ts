/**
 * The set checksum of rows in blocks: see shared/setsum.ts. Each row's text is put together in one place, for Node to
 * hash at one call: twice as fast as from strings.
 */
import { hash } from "node:crypto";
import { SEQUENCE_DIGITS_MAX } from "../shared/sequence.ts";
import type { Block } from "./block.ts";
import { LENGTH_BYTES, VALUES_AT } from "./block.ts";
import type { Family } from "./families.ts";

const SEPARATOR = 0x7c;
const MESSAGE_BYTES = 4096;
const UTF8_BYTES_MAX = 3;
const WORDS = 4;
const SEQUENCE_BYTES = LENGTH_BYTES + SEQUENCE_DIGITS_MAX;

/** The sum of the rows' digests, not yet modulo 2^128. */
export function digestSum(blocks: readonly Block[], families: readonly Family[]): bigint {
  const longest = blocks.reduce((most, block) => Math.max(most, longestKey(block)), 0);
  const longestShard = families.reduce((most, { shard }) => Math.max(most, shard.length), 0);
  const message = Buffer.alloc(MESSAGE_BYTES + longest + longestShard * UTF8_BYTES_MAX);
  // Of each 32 bits their sum: a double holds that of a block.
  const words = new Float64Array(WORDS);
  let sum = 0n;
  for (const block of blocks) {
    addDigests(block, families, message, words);
    words.forEach((word, index) => (sum += BigInt(word) << BigInt(32 * index)));
    words.fill(0);
  }
  return sum;
}

function addDigests(block: Block, families: readonly Family[], message: Buffer, words: Float64Array): void {
  const { key, seq } = block.texts;
  let shard: string | null = null;
  let shardEnd = 0;
  for (let index = 0; index < block.rows; index += 1) {
    const family = families[block.family[index] ?? 0] as Family;
    if (family.shard !== shard) {
      ({ shard } = family);
      shardEnd = message.write(`${shard}|`);
    }
    const seqAt = VALUES_AT + SEQUENCE_BYTES * index + LENGTH_BYTES;
    let end = copyBytes(seq.bytes, seqAt, seqAt + SEQUENCE_DIGITS_MAX, message, shardEnd);
    message[end++] = SEPARATOR;
    for (let at = 0; at < family.op.length; at += 1) message[end++] = family.op.charCodeAt(at);
    message[end++] = SEPARATOR;
    const keyAt = key.starts[index] ?? 0;
    const keyStart = keyAt + LENGTH_BYTES;
    end = copyBytes(key.bytes, keyStart, keyStart + key.view.getUint32(keyAt, true), message, end);
    const digest = hash("md5", message.subarray(0, end), "binary");
    for (let word = 0; word < WORDS; word += 1) words[word] = (words[word] ?? 0) + wordAt(digest, 4 * word);
  }
}

function longestKey({ rows, texts: { key } }: Block): number {
  let longest = 0;
  for (let index = 0; index < rows; index += 1)
    longest = Math.max(longest, key.view.getUint32(key.starts[index] ?? 0, true));
  return longest;
}

const wordAt = (bytes: string, at: number): number =>
  (bytes.charCodeAt(at) |
    (bytes.charCodeAt(at + 1) << 8) |
    (bytes.charCodeAt(at + 2) << 16) |
    (bytes.charCodeAt(at + 3) << 24)) >>>
  0;

/** For so few bytes a loop is faster than a call. Gives where they end. */
function copyBytes(from: Uint8Array, start: number, end: number, to: Uint8Array, at: number): number {
  for (let index = start; index < end; index += 1) to[at + index - start] = from[index] ?? 0;
  return at + end - start;
}
