/** An object store in memory, for benches that measure everything but the store. */
import type { ObjectStore } from "../shared/store.ts";

export function openMemoryStore(): ObjectStore {
  const objects = new Map<string, Uint8Array>();
  return {
    get: async (key) => {
      const body = objects.get(key);
      return body === undefined ? null : { body, etag: "" };
    },
    put: async (key, body, condition) => {
      if (condition.kind === "if-absent" && objects.has(key)) return { kind: "refused" };
      objects.set(key, body);
      return { kind: "stored", etag: "" };
    },
    list: async function* (prefix, startAfter = "") {
      for (const key of [...objects.keys()].toSorted()) {
        if (key.startsWith(prefix) && key > startAfter) {
          yield { key, sizeBytes: objects.get(key)?.byteLength ?? 0, modifiedMs: 0 };
        }
      }
    },
    delete: async (key) => {
      objects.delete(key);
    },
  };
}
