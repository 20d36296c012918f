/** One contract, every store. */
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openTargetStore, targetEnvironment } from "../../cli/target.ts";
import { openDirectoryStore } from "../../shared/directory.ts";
import type { ObjectStore } from "../../shared/store.ts";
import { memoryStore } from "../fakes/store.ts";
import type { RunningSystem } from "../system/system.ts";
import { makeDataDir, startSystem } from "../system/system.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (body: Uint8Array | null | undefined): string | null =>
  body === null || body === undefined ? null : new TextDecoder().decode(body);

const dirs: string[] = [];
let system: RunningSystem;
const data = makeDataDir();
let tests = 0;

beforeAll(async () => {
  system = await startSystem(data.dir);
});
afterAll(async () => {
  await system.stop();
  data.remove();
  await Promise.all(dirs.map((dir) => rm(dir, { recursive: true, force: true })));
});

const STORES: Readonly<Record<string, () => Promise<ObjectStore>>> = {
  memory: async () => memoryStore(),
  directory: async () => {
    const dir = await mkdtemp(join(tmpdir(), "varve-store-"));
    dirs.push(dir);
    return openDirectoryStore(dir);
  },
  "R2 over S3": async () => {
    const environment = targetEnvironment({}, data.dir);
    return openTargetStore({ ...environment, VARVE_CHANGELOG: `s3://changelog/contract-${(tests += 1)}` });
  },
};

describe.each(Object.keys(STORES))("%s", (name) => {
  const open = (): Promise<ObjectStore> => (STORES[name] as () => Promise<ObjectStore>)();

  test("gives what was put, and null for what was not", async () => {
    const store = await open();
    expect(await store.get("a/b")).toBeNull();
    const put = await store.put("a/b", bytes("one"), { kind: "always" });
    expect(put.kind).toBe("stored");
    const found = await store.get("a/b");
    expect(text(found?.body)).toBe("one");
    expect(put).toMatchObject({ etag: found?.etag });
  });

  test("if-absent stores once", async () => {
    const store = await open();
    const puts = await Promise.all(
      ["one", "two", "three"].map((body) => store.put("_log/0.json", bytes(body), { kind: "if-absent" })),
    );
    expect(puts.filter(({ kind }) => kind === "stored")).toHaveLength(1);
    expect(puts.filter(({ kind }) => kind === "refused")).toHaveLength(2);
    const winner = puts.findIndex(({ kind }) => kind === "stored");
    expect(text((await store.get("_log/0.json"))?.body)).toBe(["one", "two", "three"][winner]);
  });

  test("if-match stores over what was read, and nothing else", async () => {
    const store = await open();
    const first = await store.put("x", bytes("1"), { kind: "if-absent" });
    if (first.kind !== "stored") throw new Error(first.kind);
    const second = await store.put("x", bytes("2"), { kind: "if-match", etag: first.etag });
    expect(second.kind).toBe("stored");
    expect(await store.put("x", bytes("3"), { kind: "if-match", etag: first.etag })).toEqual({
      kind: "refused",
    });
    expect(await store.put("new", bytes("4"), { kind: "if-match", etag: first.etag })).toMatchObject({
      kind: "refused",
    });
    expect(text((await store.get("x"))?.body)).toBe("2");
  });

  test("one of two that race with the same etag wins", async () => {
    const store = await open();
    const first = await store.put("x", bytes("0"), { kind: "if-absent" });
    if (first.kind !== "stored") throw new Error(first.kind);
    const puts = await Promise.all(
      Array.from({ length: 8 }, (_, index) =>
        store.put("x", bytes(`body ${index}`), { kind: "if-match", etag: first.etag }),
      ),
    );
    expect(puts.filter(({ kind }) => kind === "stored")).toHaveLength(1);
  });

  test("lists ascending by key, from after a key on, and nothing of its own", async () => {
    const store = await open();
    const keys = ["a-b/1", "a/1", "a/10", "a/2", "a0", "ab/x/y", "b"];
    for (const key of keys.toReversed()) await store.put(key, bytes(key), { kind: "if-absent" });
    const listed = async (prefix: string, after?: string) =>
      (await Array.fromAsync(store.list(prefix, after))).map(({ key }) => key);
    expect(await listed("")).toEqual(keys);
    expect(await listed("a/")).toEqual(["a/1", "a/10", "a/2"]);
    expect(await listed("a/", "a/1")).toEqual(["a/10", "a/2"]);
    expect(await listed("a")).toEqual(keys.slice(0, -1));
    expect(await listed("none")).toEqual([]);
    const [one] = await Array.fromAsync(store.list("a0"));
    expect(one).toMatchObject({ key: "a0", sizeBytes: 2 });
  });

  test("a listing goes on past what is deleted in its course", async () => {
    const store = await open();
    for (const key of ["a", "b", "c"]) await store.put(key, bytes(key), { kind: "always" });
    const listed: string[] = [];
    for await (const { key } of store.list("")) {
      listed.push(key);
      await store.delete("b");
    }
    expect(listed.filter((key) => key !== "b")).toEqual(["a", "c"]);
  });

  test("deletes, also what is not there", async () => {
    const store = await open();
    await store.put("x", bytes("1"), { kind: "always" });
    await store.delete("x");
    await store.delete("x");
    expect(await store.get("x")).toBeNull();
  });

  test("gives a range, as far as there is one", async () => {
    const store = await open();
    if (store.getRange === undefined) return;
    await store.put("x", bytes("0123456789"), { kind: "always" });
    expect(text(await store.getRange("x", 2, 3))).toBe("234");
    expect(text(await store.getRange("x", 8, 100))).toBe("89");
    expect(text(await store.getRange("x", 10, 5))).toBe("");
    expect(await store.getRange("y", 0, 5)).toBeNull();
  });
});

test("a directory holds nothing half written, and no trace of a write that is done", async () => {
  const store = await (STORES["directory"] as () => Promise<ObjectStore>)();
  await store.put("x", bytes("1"), { kind: "always" });
  const root = dirs.at(-1) ?? "";
  expect(await readdir(join(root, ".varve-aside"))).toEqual([]);
});
