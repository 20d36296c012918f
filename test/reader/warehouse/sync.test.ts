/** Both warehouses against a changelog made to order: how it is kept up to it, and what cannot happen to it. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { SYNC_LIMITS } from "../../../reader/warehouse/sync.ts";
import type { TestPostgres } from "../../../bench/postgres.ts";
import { startPostgres } from "../../../bench/postgres.ts";
import type { World } from "./world.ts";
import { KINDS, makeWorld, merge, object, track, trim } from "./world.ts";

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(async () => {
  await postgres.stop();
});

describe.each(KINDS)("%s", (kind) => {
  let world: World;
  beforeEach(async () => {
    world = await makeWorld(kind, postgres);
  });
  afterEach(async () => {
    await world.close();
  });
  const count = async (table: string): Promise<number> =>
    Number((await world.query(`SELECT count(*) AS n FROM ${table}`))[0]?.["n"]);

  test("objects are upserted whole and deleted; an event deleted is gone from each table", async () => {
    await world.log.commit([
      object("users", "u1", { plan: "free", age: 1 }, "insert"),
      object("users", "u2", { plan: "free" }, "insert"),
      object("users", "u3", { plan: "free" }, "insert"),
      track("m1", "Seen", {}),
      track("m2", "Seen", {}),
    ]);
    await world.sync();
    await world.log.commit([
      object("users", "u1", { plan: "pro" }),
      object("users", "u2", {}, "delete"),
      object("users", "u4", { plan: "x" }, "insert"),
      object("users", "u5", { plan: "x" }, "insert"),
      { ...track("m1", "Seen", {}), op: "delete" },
    ]);
    await world.log.commit([
      object("users", "u4", {}, "delete"),
      object("users", "u5", {}, "delete"),
      object("users", "u5", { plan: "again" }, "insert"),
      object("rooms", "none", {}, "delete"),
    ]);
    const done = await world.sync();
    expect(done.transactions).toBe(1);
    expect(await world.query("SELECT id, plan, age FROM shop.users ORDER BY id")).toEqual([
      { id: "u1", plan: "pro", age: null },
      { id: "u3", plan: "free", age: null },
      { id: "u5", plan: "again", age: null },
    ]);
    expect(await world.query("SELECT id FROM shop.seen")).toEqual([{ id: "m2" }]);
    expect(await world.query("SELECT id FROM shop.tracks")).toEqual([{ id: "m2" }]);
  });

  test("an event that comes again is inserted once, in this batch or in a later one", async () => {
    await world.log.commit([track("m1", "Seen", { n: 1 })]);
    await world.log.commit([track("m1", "Seen", { n: 2 }), track("m2", "Seen", { n: 3 })]);
    await world.sync();
    await world.log.commit([track("m2", "Seen", { n: 4 }), track("m3", "Seen", { n: 5 })]);
    await world.sync();
    expect(await world.query("SELECT id, n FROM shop.seen ORDER BY id")).toEqual([
      { id: "m1", n: 1 },
      { id: "m2", n: 3 },
      { id: "m3", n: 5 },
    ]);
    expect(await count("shop.tracks")).toBe(3);
    await world.log.commit([{ ...track("m3", "Seen", {}), op: "delete" }]);
    await world.log.commit([track("m3", "Seen", { n: 6 })]);
    await world.sync();
    expect(await world.query("SELECT n FROM shop.seen WHERE id = 'm3'")).toEqual([{ n: 6 }]);
  });

  test("a sync with nothing new changes nothing; commits without rows move the cursor", async () => {
    await world.log.commit([track("m1", "Seen", {})]);
    await world.sync();
    expect(await world.sync()).toMatchObject({ rows: 0, transactions: 0 });
    await world.log.commit([]);
    expect((await world.sync()).cursor.version).toBe(2);
    expect(await count("shop.seen")).toBe(1);
  });

  test("two syncs at once: the second finds the cursor moved, and nothing is twice", async () => {
    if (kind === "duckdb") return; // DuckDB lets one program in.
    for (let at = 0; at < 6; at += 1) await world.log.commit([track(`m${at}`, "Seen", { at })]);
    const limits = { ...SYNC_LIMITS, rowsMax: 1 };
    await Promise.all([world.sync({ limits }), world.sync({ limits }), world.sync({ limits })]);
    expect(await count("shop.seen")).toBe(6);
  });

  test("behind the log's retention: a typed error, and the way back", async () => {
    await world.log.commit([track("m1", "Seen", { n: 1 }), object("users", "u1", { v: 1 })]);
    await world.sync();
    await world.log.commit([track("m2", "Seen", { n: 2 }), object("users", "u1", { v: 2 })]);
    await world.log.commit([track("m3", "Seen", { n: 3 }), object("users", "u2", { v: 3 }, "insert")]);
    await world.log.commit([object("users", "u2", {}, "delete")]);
    await trim(world);
    await expect(world.sync()).rejects.toMatchObject({ code: "behind_retention" });
    expect(await count("shop.seen")).toBe(1);
    const done = await world.sync({ fromSnapshot: true, limits: { ...SYNC_LIMITS, rowsMax: 1 } });
    expect(done.cursor.version).toBe(world.log.snapshot().version);
    expect(await world.query("SELECT id, n FROM shop.seen ORDER BY id")).toEqual([
      { id: "m1", n: 1 },
      { id: "m2", n: 2 },
      { id: "m3", n: 3 },
    ]);
    expect(await world.query("SELECT id, v FROM shop.users")).toEqual([{ id: "u1", v: 2 }]);
    await world.log.commit([track("m4", "Seen", { n: 4 })]);
    await world.sync();
    expect(await count("shop.seen")).toBe(4);
  });

  test("a new warehouse begins with the live files, when the log no longer reaches back", async () => {
    await world.log.commit([track("m1", "Seen", {}), track("m2", "Seen", {})]);
    await world.log.commit([track("m3", "Seen", {})]);
    await trim(world);
    const done = await world.sync();
    expect(done.cursor.version).toBe(world.log.snapshot().version);
    expect(await count("shop.tracks")).toBe(3);
  });

  test("merges are passed over; a file that was merged away and deleted is behind retention", async () => {
    await world.log.commit([track("m1", "Seen", {})]);
    await world.sync();
    await world.log.commit([track("m2", "Seen", {})]);
    const old = await merge(world);
    await expect(world.sync()).resolves.toMatchObject({ counts: { events: 1 } });
    await world.log.commit([track("m3", "Seen", {})]);
    const newer = await merge(world);
    for (const path of [...old, ...newer]) await world.store.delete(path);
    await expect(world.sync()).rejects.toMatchObject({ code: "behind_retention" });
    await world.sync({ fromSnapshot: true });
    expect(await count("shop.tracks")).toBe(3);
  });

  test("a table that was altered by hand: a typed error, nothing written, and it goes on once that is mended", async () => {
    await world.log.commit([track("m1", "Seen", {})]);
    await world.sync();
    await world.query("ALTER TABLE shop.tracks RENAME COLUMN id TO theirs");
    await world.log.commit([track("m2", "Seen", {})]);
    await expect(world.sync()).rejects.toMatchObject({
      code: "warehouse_refused",
      fix: expect.stringContaining("altered by hand"),
    });
    expect(await count("shop.tracks")).toBe(1);
    await world.query("ALTER TABLE shop.tracks RENAME COLUMN theirs TO id");
    await world.sync();
    expect(await count("shop.tracks")).toBe(2);
  });

  test("another changelog, and a log that went back, are refused", async () => {
    await world.log.commit([track("m1", "Seen", {})]);
    await world.sync();
    const cursor = "_varve_sync";
    await world.query(`UPDATE ${cursor} SET version = 99`);
    await expect(world.sync()).rejects.toMatchObject({ code: "ahead_of_log" });
    await world.query(`UPDATE ${cursor} SET changelog = 'other'`);
    await expect(world.sync()).rejects.toMatchObject({ code: "other_changelog" });
  });
});
