import fc from "fast-check";
import { expect, test } from "vitest";
import { NO_ROW, areEqual, keyHash, openLatest } from "../../compactor/latest.ts";

test("each row finds the one before of its key, whatever the hashes are", () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat(300), { minLength: 1, maxLength: 3000 }),
      fc.constantFrom(1, 7, 2 ** 31),
      (keys, hashes) => {
        const latest = openLatest();
        const isSameKey = (row: number, other: number): boolean => keys[row] === keys[other];
        // It is used again.
        latest.put(keys.length, -5000, isSameKey);
        latest.clear();
        const last = new Map<number, number>();
        for (const [row, key] of keys.entries()) {
          // Keys that share a hash, and hashes that share a slot; below zero too.
          const hash = (((key % hashes) * 1024) | 0) - 5000;
          expect(latest.put(row, hash, isSameKey)).toBe(last.get(key) ?? NO_ROW);
          last.set(key, row);
        }
      },
    ),
    { numRuns: 30 },
  );
});

test("a hash is of the bytes, wherever they stand", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), fc.nat(9), (key, before) => {
      const bytes = new Uint8Array(before + key.length + 3).fill(7);
      bytes.set(key, before);
      const hash = keyHash(new DataView(bytes.buffer), before, before + key.length);
      const alone = new Uint8Array(key);
      expect(keyHash(new DataView(alone.buffer), 0, key.length)).toBe(hash);
      expect(areEqual(bytes, before, alone, 0, key.length)).toBe(true);
    }),
  );
});

test("keys that are alike have hashes that are not", () => {
  const hashes = new Set<number>();
  const slots = new Uint32Array(1024);
  for (let number = 0; number < 65_536; number += 1) {
    const key = Buffer.from(`{"pk":"e#shop#${number}"}`);
    const hash = keyHash(new DataView(key.buffer, key.byteOffset, key.length), 0, key.length);
    hashes.add(hash);
    slots[hash & 1023] = (slots[hash & 1023] ?? 0) + 1;
  }
  expect(hashes.size).toBeGreaterThan(65_536 - 20);
  expect(Math.max(...slots)).toBeLessThan(128);
});
