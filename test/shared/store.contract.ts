/** What every object store must do: all that is exactly once rests on it. */
import { describe, expect, test } from "vitest";
import type { ObjectStore, PutOutcome } from "../../shared/store.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const ABSENT = { kind: "if-absent" } as const;
const ALWAYS = { kind: "always" } as const;

async function read(store: ObjectStore, key: string): Promise<string | null> {
  const found = await store.get(key);
  return found === null ? null : new TextDecoder().decode(found.body);
}

async function keysOf(store: ObjectStore, prefix: string, startAfter?: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list(prefix, startAfter)) keys.push(key);
  return keys;
}

const etagOf = (outcome: PutOutcome): string => (outcome.kind === "stored" ? outcome.etag : "none");

/** @param open gives the store. It may hold what other tests have put there; its lists have pages of five keys, if any. */
export function storeContract(name: string, open: () => ObjectStore): void {
  describe(`${name}: get and put`, () => {
    test("what was put is there, byte for byte", async () => {
      const body = Uint8Array.from({ length: 100_000 }, (_, index) => index % 256);
      expect(await open().put("a/bytes", body, ALWAYS)).toMatchObject({ kind: "stored" });
      expect((await open().get("a/bytes"))?.body).toEqual(body);
    });

    test("what was not put is null", async () => {
      expect(await open().get("a/none")).toBeNull();
    });

    test("an empty object is an object", async () => {
      await open().put("a/empty", new Uint8Array(), ALWAYS);
      expect(await read(open(), "a/empty")).toBe("");
    });

    test("always: the last one stands", async () => {
      for (const text of ["one", "two"]) await open().put("a/always", bytes(text), ALWAYS);
      expect(await read(open(), "a/always")).toBe("two");
    });

    test("what is deleted is gone; deleting it again is no error", async () => {
      await open().put("a/deleted", bytes("x"), ALWAYS);
      for (let time = 0; time < 2; time += 1) await open().delete("a/deleted");
      expect(await open().get("a/deleted")).toBeNull();
    });
  });

  describe(`${name}: if-absent`, () => {
    test("stores once; later ones are refused and change nothing", async () => {
      expect(await open().put("b/once", bytes("first"), ABSENT)).toMatchObject({ kind: "stored" });
      expect(await open().put("b/once", bytes("second"), ABSENT)).toEqual({ kind: "refused" });
      expect(await read(open(), "b/once")).toBe("first");
    });

    test("of twenty at once, one is stored, and it is the one that stands", async () => {
      const store = open();
      const puts = Array.from({ length: 20 }, (_, writer) => store.put("b/race", bytes(`${writer}`), ABSENT));
      const stored = (await Promise.all(puts)).flatMap(({ kind }, writer) =>
        kind === "stored" ? [writer] : [],
      );
      expect(stored).toHaveLength(1);
      expect(await read(store, "b/race")).toBe(String(stored[0]));
    });

    test("what was deleted is absent", async () => {
      await open().put("b/again", bytes("one"), ABSENT);
      await open().delete("b/again");
      expect(await open().put("b/again", bytes("two"), ABSENT)).toMatchObject({ kind: "stored" });
    });
  });

  describe(`${name}: if-match`, () => {
    test("stores over the object it names", async () => {
      const first = await open().put("c/match", bytes("one"), ALWAYS);
      const second = await open().put("c/match", bytes("two"), { kind: "if-match", etag: etagOf(first) });
      expect(second).toMatchObject({ kind: "stored" });
      expect(await read(open(), "c/match")).toBe("two");
    });

    test("is refused over any other, and changes nothing", async () => {
      const first = await open().put("c/stale", bytes("one"), ALWAYS);
      await open().put("c/stale", bytes("two"), ALWAYS);
      const stale = await open().put("c/stale", bytes("three"), { kind: "if-match", etag: etagOf(first) });
      expect(stale).toEqual({ kind: "refused" });
      expect(await read(open(), "c/stale")).toBe("two");
    });

    test("takes the etag that get gives", async () => {
      await open().put("c/got", bytes("one"), ALWAYS);
      const etag = (await open().get("c/got"))?.etag ?? "";
      expect(await open().put("c/got", bytes("two"), { kind: "if-match", etag })).toMatchObject({
        kind: "stored",
      });
    });
  });

  describe(`${name}: list`, () => {
    test("gives what is under a prefix, in order, with sizes", async () => {
      for (const key of ["d/x/3", "d/x/1", "d/x/2", "d/y/1"]) await open().put(key, bytes(key), ALWAYS);
      expect(await keysOf(open(), "d/x/")).toEqual(["d/x/1", "d/x/2", "d/x/3"]);
      for await (const { key, sizeBytes } of open().list("d/x/")) expect(sizeBytes).toBe(key.length);
    });

    test("starts after a key, whether it is there or not", async () => {
      for (const key of ["e/1", "e/3", "e/5"]) await open().put(key, bytes(key), ALWAYS);
      expect(await keysOf(open(), "e/", "e/3")).toEqual(["e/5"]);
      expect(await keysOf(open(), "e/", "e/2")).toEqual(["e/3", "e/5"]);
      expect(await keysOf(open(), "e/", "e/9")).toEqual([]);
    });

    test("of nothing is nothing", async () => {
      expect(await keysOf(open(), "none/")).toEqual([]);
    });

    test("more than one page", async () => {
      const keys = Array.from({ length: 12 }, (_, index) => `f/${String(index).padStart(4, "0")}`);
      await Promise.all(keys.map((key) => open().put(key, bytes("x"), ALWAYS)));
      expect(await keysOf(open(), "f/")).toEqual(keys);
      expect(await keysOf(open(), "f/", "f/0004")).toEqual(keys.slice(5));
    });
  });
}
