import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Output } from "../../cli/output.ts";
import { openLocalStore, openWranglerStore } from "../../cli/source-store.ts";
import { applyAction, planChanges, sourcesCommand } from "../../cli/sources.ts";
import { SOURCE_RECORD } from "../../edge/sources.ts";

const record = SOURCE_RECORD.parse({ id: "shop", name: "Shop", writeKeys: ["old"] });
const newKey = () => "new";

describe("a source's next state", () => {
  test("add makes one with a key", () => {
    const made = applyAction(null, { kind: "add", id: "shop", settings: { name: "Shop" } }, newKey);
    expect(made).toMatchObject({ id: "shop", enabled: true, writeKeys: ["new"], origins: [] });
  });

  test("add changes one that is there, and keeps its keys", () => {
    const settings = { origins: ["https://shop.example"], rateLimit: 100 };
    expect(applyAction(record, { kind: "add", id: "shop", settings }, newKey)).toEqual({
      ...record,
      ...settings,
    });
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
    expect(() => applyAction(null, { kind: "add", id: "Not An Id", settings: {} }, newKey)).toThrow(
      "a source id is",
    );
  });
});

test("no key is left behind", () => {
  const after = applyAction(record, { kind: "rotate", id: "shop", dropOld: true }, newKey);
  expect(planChanges(record, after).map(({ kind, key }) => [kind, key])).toEqual([
    ["put", "source:shop"],
    ["put", "key:new"],
    ["delete", "key:old"],
  ]);
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
      await sourcesCommand(
        store,
        { kind: "add", id: "shop", settings: { name: "Shop" }, writeKey: "wk" },
        true,
        place,
        output,
      );
      await sourcesCommand(store, { kind: "disable", id: "shop" }, true, place, output);
      expect(notes.slice(1)).toEqual(["known then", "known then"]);
      await sourcesCommand(store, { kind: "list" }, true, place, output);
      expect(JSON.parse(lines.at(-1) ?? "")).toMatchObject({ id: "shop", enabled: false, writeKeys: ["wk"] });
      expect(JSON.parse((await store.get("key:wk")) ?? "")).toMatchObject({ id: "shop", enabled: false });
    } finally {
      await store.close();
    }
  });

  test("by wrangler, as it keeps them in production", { timeout: 120_000 }, async () => {
    const store = openWranglerStore({ kind: "folder", persistTo: folder });
    await store.put("source:shop", '{"id":"shop"}');
    expect(await store.get("source:shop")).toBe('{"id":"shop"}');
    expect(await store.get("source:other")).toBeNull();
  });
});
