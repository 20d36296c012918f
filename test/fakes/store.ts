/** An object store in memory that honours if-absent and if-match as S3 does, and one that fails on demand. */
import { VarveError } from "../../shared/errors.ts";
import type { ListedObject, ObjectStore, PutOutcome, StoredObject } from "../../shared/store.ts";

export type MemoryStore = ObjectStore & { readonly objects: ReadonlyMap<string, StoredObject> };

export function memoryStore(nowMs: () => number = () => 0): MemoryStore {
  const objects = new Map<string, StoredObject>();
  const modifiedMs = new Map<string, number>();
  let etags = 0;
  return {
    objects,
    get: async (key) => {
      const found = objects.get(key);
      return found === undefined ? null : { body: found.body.slice(), etag: found.etag };
    },
    put: async (key, body, condition): Promise<PutOutcome> => {
      const standing = objects.get(key);
      if (condition.kind === "if-absent" && standing !== undefined) return { kind: "refused" };
      if (condition.kind === "if-match" && standing?.etag !== condition.etag) return { kind: "refused" };
      const etag = `"${(etags += 1)}"`;
      objects.set(key, { body: body.slice(), etag });
      modifiedMs.set(key, nowMs());
      return { kind: "stored", etag };
    },
    list: async function* (prefix, startAfter = ""): AsyncIterable<ListedObject> {
      const keys = [...objects.keys()].filter((key) => key.startsWith(prefix) && key > startAfter);
      for (const key of keys.toSorted()) {
        const sizeBytes = objects.get(key)?.body.byteLength;
        if (sizeBytes !== undefined) yield { key, sizeBytes, modifiedMs: modifiedMs.get(key) ?? 0 };
      }
    },
    delete: async (key) => {
      objects.delete(key);
    },
  };
}

export type StoreCall = "get" | "put" | "list" | "delete";

export type StoreFault =
  /** Nothing was done, and the caller is not told so. */
  | { readonly kind: "lost" }
  /** A put that was done, but whose answer was lost. */
  | { readonly kind: "unanswered" }
  /** A put whose answer was lost, and that is done later. */
  | { readonly kind: "late"; readonly afterMs: number }
  /** A put that the client itself sends twice after a lost answer: what is told is the second's answer. */
  | { readonly kind: "resent" };

export type Faults = {
  /** Asked once a call. Null: no fault. */
  readonly next: (call: StoreCall, key: string) => StoreFault | null;
  readonly sleep: (ms: number) => Promise<void>;
};

const unreachable = (call: string): VarveError =>
  new VarveError("store_unreadable", `${call} failed: the connection was lost`, "Try again.");

const unknown = (): PutOutcome => ({ kind: "unknown", cause: new Error("the connection was lost") });

export function faultyStore(store: ObjectStore, faults: Faults): ObjectStore {
  return {
    get: async (key, signal) => {
      if (faults.next("get", key) !== null) throw unreachable(`GET ${key}`);
      return store.get(key, signal);
    },
    put: async (key, body, condition, signal) => {
      const fault = faults.next("put", key);
      if (fault?.kind === "lost") return unknown();
      if (fault?.kind === "late") {
        void faults.sleep(fault.afterMs).then(() => store.put(key, body, condition));
        return unknown();
      }
      const outcome = await store.put(key, body, condition, signal);
      if (fault?.kind === "unanswered") return unknown();
      if (fault?.kind === "resent") return store.put(key, body, condition, signal);
      return outcome;
    },
    list: async function* (prefix, startAfter, signal) {
      if (faults.next("list", prefix) !== null) throw unreachable(`LIST ${prefix}`);
      yield* store.list(prefix, startAfter, signal);
    },
    delete: async (key, signal) => {
      if (faults.next("delete", key) !== null) throw unreachable(`DELETE ${key}`);
      await store.delete(key, signal);
    },
  };
}
