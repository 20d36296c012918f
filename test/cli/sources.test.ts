import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Output } from "../../cli/output.ts";
import { openLocalStore, openWranglerStore } from "../../cli/source-store.ts";
import type { SourceStore } from "../../cli/source-store.ts";
import { applyAction, sourcesCommand } from "../../cli/sources.ts";
import { SOURCE_RECORD } from "../../edge/sources.ts";
import { runVarve } from "../support/varve.ts";

const record = SOURCE_RECORD.parse({ id: "shop", name: "Shop", writeKeys: ["old"] });
const newKey = () => "new";
const ADD = { kind: "add", id: "shop", settings: {}, unset: [] } as const;

describe("a source's next state", () => {
  test("add makes one with a key", () => {
    const made = applyAction(null, { ...ADD, settings: { name: "Shop" } }, newKey);
    expect(made).toMatchObject({ id: "shop", enabled: true, writeKeys: ["new"], origins: [] });
  });

  test("add changes one that is there, and keeps its keys", () => {
    const settings = { origins: ["https://shop.example"], rateLimit: 100 };
    const changed = applyAction(record, { ...ADD, settings }, newKey);
    expect(changed).toEqual({ ...record, ...settings });
    expect(applyAction(changed, { ...ADD, unset: ["origins", "rateLimit"] }, newKey)).toEqual(record);
  });

  test("rotate keeps the older keys until told", () => {
    const rotated = applyAction(record, { kind: "rotate", id: "shop", dropOld: false }, newKey);
    expect(rotated.writeKeys).toEqual(["new", "old"]);
    expect(applyAction(rotated, { kind: "rotate", id: "shop", dropOld: true }, newKey).writeKeys).toEqual([
      "new",
    ]);
  });

  test("what makes no sense is said", () => {
    expect(() => applyAction(null, { kind: "disable", id: "nope" }, newKey)).toThrow("no source nope");
    expect(() => applyAction(null, { ...ADD, id: "Not An Id" }, newKey)).toThrow("a source id is");
  });

  test("a tracking plan that no edge can use is refused", () => {
    const plan = {
      onViolation: "mark" as const,
      unplanned: "allow" as const,
      events: { Paid: { properties: { total: { $ref: "#/definitions/money" } } } },
    };
    expect(() =>
      applyAction(null, { kind: "add", id: "shop", settings: { plan }, unset: [] }, newKey),
    ).toThrow('Paid: #/properties/total: $ref "#/definitions/money" is nowhere in the schema');
  });
});

/** KV that fails at the write of this number, which it does or does not do. */
function failingStore(
  failAt: number,
  isDone: boolean,
): SourceStore & { readonly values: Map<string, string> } {
  const values = new Map<string, string>();
  let writes = 0;
  const write = (change: () => void): void => {
    const fails = (writes += 1) === failAt;
    if (!fails || isDone) change();
    if (fails) throw new Error("wrangler failed");
  };
  return {
    values,
    get: async (key) => values.get(key) ?? null,
    put: async (entries) => write(() => entries.forEach(({ key, value }) => values.set(key, value))),
    remove: async (keys) => write(() => keys.forEach((key) => values.delete(key))),
    list: async (prefix) => [...values.keys()].filter((key) => key.startsWith(prefix)),
    close: async () => undefined,
  };
}
const PLACE = { where: "here", known: "known then" };
const silent: Output = { line: async () => undefined, note: () => undefined, progress: () => undefined };

/** Whether the records name each key that is valid, and each that they name is. */
function isWhole(values: ReadonlyMap<string, string>): boolean {
  const named = [...values].flatMap(([key, value]) =>
    key.startsWith("source:") ? SOURCE_RECORD.parse(JSON.parse(value)).writeKeys : [],
  );
  const valid = [...values.keys()].filter((key) => key.startsWith("key:"));
  return (
    named
      .map((key) => `key:${key}`)
      .toSorted()
      .join() === valid.toSorted().join()
  );
}

test.each([1, 2, 3, 4].flatMap((failAt) => [[failAt, true] as const, [failAt, false] as const]))(
  "no key is left behind when the write %i fails (done: %s) and the command is given again",
  async (failAt, isDone) => {
    const store = failingStore(failAt, isDone);
    const add = { kind: "add", id: "shop", settings: {}, unset: [], writeKey: "old" } as const;
    const drop = { kind: "rotate", id: "shop", dropOld: true } as const;
    for (const action of [add, drop]) {
      await sourcesCommand(store, action, true, PLACE, silent).catch(() =>
        sourcesCommand(store, action, true, PLACE, silent),
      );
    }
    expect(store.values.has("key:old")).toBe(false);
    expect(store.values.size).toBe(2);
    expect(isWhole(store.values)).toBe(true);
  },
);

test("a key that is another source's is not taken from it", async () => {
  const store = failingStore(0, true);
  const add = (id: string) => ({ kind: "add", id, settings: {}, unset: [], writeKey: "wk" }) as const;
  await sourcesCommand(store, add("shop"), true, PLACE, silent);
  await sourcesCommand(store, add("shop"), true, PLACE, silent);
  await expect(sourcesCommand(store, add("blog"), true, PLACE, silent)).rejects.toThrow("one of source shop");
});

describe("kept on this machine", () => {
  let folder = "";
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "varve-sources-"));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  test("by varve local's KV, so that the edge reads it", async () => {
    const lines: string[] = [];
    const notes: string[] = [];
    const place = { where: folder, known: "known then" };
    const output: Output = {
      line: async (text) => void lines.push(text),
      note: (text) => void notes.push(text),
      progress: () => undefined,
    };
    const store = await openLocalStore(folder);
    try {
      await sourcesCommand(store, { kind: "list" }, true, place, output);
      expect(lines).toEqual([]);
      expect(notes).toEqual([expect.stringContaining(`no sources in ${folder}`)]);
      const add = { ...ADD, settings: { name: "Shop" }, writeKey: "wk" };
      await sourcesCommand(store, add, true, place, output);
      await sourcesCommand(store, { kind: "disable", id: "shop" }, true, place, output);
      expect(notes.slice(1)).toEqual(["known then", "known then"]);
      await sourcesCommand(store, { kind: "list" }, true, place, output);
      expect(JSON.parse(lines.at(-1) ?? "")).toMatchObject({ id: "shop", enabled: false, writeKeys: ["wk"] });
      expect(JSON.parse((await store.get("key:wk")) ?? "")).toMatchObject({ id: "shop", enabled: false });
    } finally {
      await store.close();
    }
  });

  test("as the command line says: origins as browsers write them, and nothing that could never match", async () => {
    const sources = (...words: readonly string[]) =>
      runVarve(["sources", ...words, "--data", folder, "--json"]);
    const origins = "https://Shop.example:443/, http://localhost:8080,capacitor://localhost";
    const { stdout } = await sources("add", "shop", "--origins", origins, "--signed", "--rate", "5");
    expect(JSON.parse(stdout)).toMatchObject({
      origins: ["https://shop.example", "http://localhost:8080", "capacitor://localhost"],
      signed: true,
    });
    const unset = JSON.parse(
      (await sources("add", "shop", "--unset", "origins,signed,rate")).stdout,
    ) as object;
    expect(unset).toMatchObject({ origins: [], signed: false });
    expect(unset).not.toHaveProperty("rateLimit");
    for (const wrong of [
      ["--origins", "shop.example"],
      ["--origins", "*"],
      ["--write-key", "a b"],
      ["--unset", "x"],
    ]) {
      expect((await sources("add", "shop", ...wrong)).code).toBe(2);
    }
  });

  test("by wrangler, as it keeps them in production", { timeout: 120_000 }, async () => {
    const store = openWranglerStore({ kind: "folder", persistTo: folder });
    const value = '{"id":"shop","name":"Ålesund"}';
    await store.put([
      { key: "source:shop", value },
      { key: "key:old", value: "x".repeat(200_000) },
    ]);
    expect(await store.get("source:shop")).toBe(value);
    expect(await store.get("source:other")).toBeNull();
    await store.remove(["key:old"]);
    expect(await store.list("")).toEqual(["source:shop"]);
  });
});
