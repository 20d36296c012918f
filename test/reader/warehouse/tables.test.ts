/** Both warehouses against a changelog made to order: what a row becomes. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { safeName } from "../../../reader/warehouse/names.ts";
import { SYNC_LIMITS } from "../../../reader/warehouse/sync.ts";
import type { TestPostgres } from "../../../bench/postgres.ts";
import { startPostgres } from "../../../bench/postgres.ts";
import type { World } from "./world.ts";
import { KINDS, makeWorld, object, queryPostgres, track } from "./world.ts";

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(async () => {
  await postgres.stop();
});

test("every word that PostgreSQL reserves is known", async () => {
  const words = await queryPostgres(
    await postgres.database(),
    "SELECT word FROM pg_get_keywords() WHERE catcode IN ('R', 'T')",
  );
  expect(words.length).toBeGreaterThan(90);
  for (const { word } of words) expect(safeName(String(word))).toBe(`_${String(word)}`);
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

  test("an event goes to tracks and to its own table, flattened, with Segment's columns", async () => {
    const properties = {
      orderId: "o-1",
      total: 12.5,
      quantity: 3,
      isGift: true,
      coupon: null,
      products: [{ sku: "a", price: 1 }],
      shipping: { address: { postCode: "10115" } },
      shippedAt: "2026-11-23T12:00:00+02:00",
    };
    await world.log.commit([track("m1", "Order Completed", properties)]);
    const done = await world.sync();
    expect(done.counts).toMatchObject({ events: 1, discarded: 0 });
    expect(await world.query("SELECT * FROM shop.order_completed")).toEqual(
      [
        {
          id: "m1",
          received_at: "2026-11-23T10:00:00.500Z",
          sent_at: "2026-11-23T10:00:00.400Z",
          timestamp: "2026-11-23T10:00:00.000Z",
          original_timestamp: "2026-11-23T10:00:00.300Z",
          anonymous_id: null,
          user_id: "u1",
          event: "order_completed",
          event_text: "Order Completed",
          context_library_name: "test",
          order_id: "o-1",
          total: 12.5,
          quantity: 3,
          is_gift: true,
          products: '[{"sku":"a","price":1}]',
          shipping_address_post_code: 10115,
          shipped_at: "2026-11-23T10:00:00.000Z",
        } as Record<string, unknown>,
      ].map((row) => ({ ...row, shipping_address_post_code: kind === "duckdb" ? "10115" : 10115 })),
    );
    const [tracks] = await world.query("SELECT * FROM shop.tracks");
    expect(tracks).toMatchObject({ id: "m1", event: "order_completed", context_library_name: "test" });
    expect(tracks).not.toHaveProperty("total");
  });

  test("identify, group, page, screen and alias have tables of their own", async () => {
    const event = (collection: string, id: string, image: object) =>
      ({ kind: "event", collection, id, userId: "u1", image: { messageId: id, ...image } }) as const;
    await world.log.commit([
      event("identifies", "i1", { traits: { plan: "pro", address: { city: "Köln" } } }),
      event("groups", "g1", { groupId: "acme", traits: { size: 12 } }),
      event("pages", "p1", { name: "Home", category: "Shop", properties: { name: "Home", path: "/" } }),
      event("screens", "s1", { name: "Main", properties: { tab: 2 } }),
      event("aliases", "a1", { previousId: "anon" }),
      object("users", "u1", { plan: "pro" }),
      object("accounts", "acme", { size: 12 }),
      { kind: "rejected", collection: "rejected", id: "r1" },
    ]);
    const done = await world.sync();
    expect(done.counts).toEqual({ events: 5, objects: 2, deleted: 0, discarded: 0, passed: 1 });
    expect(await world.query("SELECT id, plan, address_city FROM shop.identifies")).toEqual([
      { id: "i1", plan: "pro", address_city: "Köln" },
    ]);
    expect(await world.query("SELECT group_id, size FROM shop.groups")).toEqual([
      { group_id: "acme", size: 12 },
    ]);
    expect(await world.query("SELECT name, category, path FROM shop.pages")).toEqual([
      { name: "Home", category: "Shop", path: "/" },
    ]);
    expect(await world.query("SELECT name, tab FROM shop.screens")).toEqual([{ name: "Main", tab: 2 }]);
    expect(await world.query("SELECT previous_id FROM shop.aliases")).toEqual([{ previous_id: "anon" }]);
    expect(await world.query("SELECT id, plan FROM shop.users")).toEqual([{ id: "u1", plan: "pro" }]);
    expect(await world.query("SELECT id, size FROM shop.accounts")).toEqual([{ id: "acme", size: 12 }]);
  });

  test("columns appear with their first value; the first type wins, and what does not fit is discarded with its reason", async () => {
    await world.log.commit([track("m1", "Seen", { a: null, n: 1 })]);
    await world.sync();
    await world.log.commit([
      track("m2", "Seen", { a: "text", n: "five", t: "2026-11-23T10:00:00Z" }),
      track("m3", "Seen", { a: 7, n: 1.5, t: "yesterday", b: true }),
      track("m4", "Seen", { a: [1], n: 2, t: 5, b: "no", n2: { x: 1 } }),
    ]);
    const done = await world.sync();
    expect(done.counts.discarded).toBe(5);
    expect(await world.query("SELECT id, a, n, t, b, n2_x FROM shop.seen ORDER BY id")).toEqual([
      { id: "m1", a: null, n: 1, t: null, b: null, n2_x: null },
      { id: "m2", a: "text", n: null, t: "2026-11-23T10:00:00.000Z", b: null, n2_x: null },
      { id: "m3", a: kind === "duckdb" ? "7" : 7, n: null, t: null, b: true, n2_x: null },
      { id: "m4", a: "[1]", n: 2, t: null, b: null, n2_x: 1 },
    ]);
    expect(
      await world.query(
        "SELECT table_name, id, column_name, column_value, reason FROM shop.discards ORDER BY id, column_name",
      ),
    ).toEqual(
      [
        ["m2", "n", "five", "string does not fit bigint"],
        ["m3", "n", "1.5", "number does not fit bigint"],
        ["m3", "t", "yesterday", "string does not fit timestamptz"],
        ["m4", "b", "no", "string does not fit boolean"],
        ["m4", "t", kind === "duckdb" ? "5" : 5, "number does not fit timestamptz"],
      ].map(([id, column_name, column_value, reason]) => ({
        table_name: "seen",
        id,
        column_name,
        column_value,
        reason,
      })),
    );
  });

  test("a value becomes an object and back: both have their column, nothing is lost", async () => {
    await world.log.commit([
      track("m1", "Mixed", { p: "pro", "A b": 1 }),
      track("m2", "Mixed", { p: { name: "x", deep: { er: 1 } }, P: "upper", "A b": 1, "a-b": 2 }),
      track("m3", "Mixed", { p: [1, { q: 2 }], "": "empty", "x/y~z": 'quote"d', "it's": "fine" }),
    ]);
    const done = await world.sync();
    expect(
      await world.query("SELECT id, p, p_name, p_deep_er, a_b, x_y_z, it_s FROM shop.mixed ORDER BY id"),
    ).toEqual([
      { id: "m1", p: "pro", p_name: null, p_deep_er: null, a_b: 1, x_y_z: null, it_s: null },
      { id: "m2", p: "upper", p_name: "x", p_deep_er: 1, a_b: 1, x_y_z: null, it_s: null },
      {
        id: "m3",
        p: '[1,{"q":2}]',
        p_name: null,
        p_deep_er: null,
        a_b: null,
        x_y_z: 'quote"d',
        it_s: "fine",
      },
    ]);
    expect(await world.query("SELECT id, column_name, reason FROM shop.discards")).toEqual([
      { id: "m2", column_name: "a_b", reason: "another property has this column" },
    ]);
    expect(done.counts.discarded).toBe(1);
  });

  test("an object that becomes a value in a later batch loses nothing; a null there is nothing", async () => {
    await world.log.commit([track("m1", "Seen", { place: { city: "Köln" } })]);
    await world.sync();
    await world.log.commit([
      track("m2", "Seen", { place: "Bonn" }),
      track("m3", "Seen", { place: null }),
      track("m4", "Seen", { place: {} }),
      track("m5", "Seen", { place: ["a"] }),
    ]);
    const done = await world.sync();
    expect(done.counts.discarded).toBe(0);
    expect(await world.query("SELECT id, place, place_city FROM shop.seen ORDER BY id")).toEqual([
      { id: "m1", place: null, place_city: "Köln" },
      { id: "m2", place: "Bonn", place_city: null },
      { id: "m3", place: null, place_city: null },
      { id: "m4", place: null, place_city: null },
      { id: "m5", place: '["a"]', place_city: null },
    ]);
  });

  test("two events of one batch give a column that they share different types: the first wins in the table of both", async () => {
    const context = (value: unknown) => ({ context: { app: { build: value } } });
    await world.log.commit([
      track("m1", "One", {}, context(7)),
      track("m2", "Two", {}, context("seven")),
      track("m3", "Two", {}, context(8)),
    ]);
    const done = await world.sync();
    expect(done.counts.discarded).toBe(1);
    expect(await world.query("SELECT id, context_app_build AS build FROM shop.tracks ORDER BY id")).toEqual([
      { id: "m1", build: 7 },
      { id: "m2", build: null },
      { id: "m3", build: 8 },
    ]);
    expect(
      await world.query("SELECT id, context_app_build || '!' AS build FROM shop.two ORDER BY id"),
    ).toEqual([
      { id: "m2", build: "seven!" },
      { id: "m3", build: "8!" },
    ]);
    expect(await world.query("SELECT table_name, id, column_value FROM shop.discards")).toEqual([
      { table_name: "tracks", id: "m2", column_value: "seven" },
    ]);
  });

  test("texts that look like something else: null's sign, quotes, JSON, a NUL", async () => {
    const texts = [
      String.raw`\N`,
      String.raw`\.`,
      "",
      '"',
      '"quoted"',
      "{braced}",
      '{"a":1}',
      "null",
      "a\nb,c",
    ];
    await world.log.commit(texts.map((text, index) => track(`m${index}`, "Said", { text })));
    await world.sync();
    await world.log.commit([
      ...texts.map((text, index) => track(`n${index}`, "Said", { text })),
      track("z", "Said", { text: "nul\0here" }),
    ]);
    const done = await world.sync();
    expect(done.counts.discarded).toBe(0);
    const said = await world.query("SELECT id, text FROM shop.said ORDER BY id");
    const nul = kind === "duckdb" ? "nul\0here" : "nul\u{fffd}here";
    expect(said.map((row) => row["text"])).toEqual([...texts, ...texts, nul]);
  });

  test("reserved, digital, endless, foreign and hostile names", async () => {
    const long = "a".repeat(70);
    await world.log.commit([
      track("m1", "select", { order: 1, "9lives": 2, id: "mine", xmin: 3, [`${long}x`]: 4, [`${long}y`]: 5 }),
      track("m2", "Users", { 名前: "n", Größe: "m", "🙂": "smile" }),
      track("m3", "tracks", {}),
      track("m4", "Заказ оформлен", { 'evil"; DROP TABLE x; --': "' OR 1=1" }),
      track("m5", "2 for 1", {}),
      track("m6", "users pkey", {}),
      track("m7", `${long}1`, {}),
      track("m8", `${long}2`, {}),
      track("m9", "rooms", { from: "event" }),
      object("rooms", "r1", { from: "object" }),
      { ...object("users", "u1", { tab: "a\tb\\c\nd\re \\. \u0001" }), source: "1shop-b" },
      { ...object("users", "u2", {}), source: "1shop_b" },
    ]);
    const done = await world.sync();
    expect(done.counts).toMatchObject({ events: 9, objects: 3, discarded: 0 });
    const [first] = await world.query("SELECT * FROM shop._select");
    expect(first).toMatchObject({ id: "m1", _order: 1, _9lives: 2, _id: "mine", _xmin: 3 });
    expect(
      Object.entries(first ?? {})
        .filter(([name]) => name.startsWith("aaa"))
        .map(([, value]) => value)
        .toSorted((a, b) => Number(a) - Number(b)),
    ).toEqual([4, 5]);
    for (const name of Object.keys(first ?? {})) expect(Buffer.byteLength(name)).toBeLessThanOrEqual(63);
    expect(await world.query(`SELECT "名前", "größe" FROM shop._users`)).toEqual([{ 名前: "n", größe: "m" }]);
    expect(await count("shop._tracks")).toBe(1);
    expect(await world.query(`SELECT evil_drop_table_x FROM shop."заказ_оформлен"`)).toEqual([
      { evil_drop_table_x: "' OR 1=1" },
    ]);
    expect(await count("shop._2_for_1")).toBe(1);
    expect(await count("shop.users_pkey")).toBe(1);
    const names = await world.query("SELECT * FROM _varve_names WHERE kind <> 'source'");
    const given = new Map(
      names.map((row) => [`${String(row["kind"])} ${String(row["name"])}`, String(row["given"])]),
    );
    expect(given.get(`event ${long}1`)).not.toBe(given.get(`event ${long}2`));
    expect(given.get("event rooms")).toBe("rooms");
    expect(await count(`shop.${given.get("collection rooms")}`)).toBe(1);
    const schemas = await world.query(
      "SELECT source, given FROM _varve_names WHERE kind = 'source' ORDER BY source",
    );
    expect(schemas.map((row) => row["given"])).toHaveLength(3);
    expect(schemas[0]?.["given"]).toBe("_1shop_b");
    expect(await world.query("SELECT tab FROM _1shop_b.users")).toEqual([
      { tab: "a\tb\\c\nd\re \\. \u0001" },
    ]);
    expect(await count("shop.tracks")).toBe(9);
  });

  test("an image that is not JSON is discarded whole, and stops nothing", async () => {
    await world.log.commit([track("m1", "Seen", { n: 1 }), { ...track("m2", "Seen", {}), image: "{broken" }]);
    const done = await world.sync();
    expect(done.counts).toMatchObject({ events: 2, discarded: 1 });
    expect(await world.query("SELECT id, column_name, column_value, reason FROM shop.discards")).toEqual([
      { id: "m2", column_name: "*", column_value: "{broken", reason: "the image is not JSON" },
    ]);
    expect(await count("shop.seen")).toBe(2);
  });

  test("the questions of docs/warehouses.md", async () => {
    const page = readFileSync(join(import.meta.dirname, "../../../docs/warehouses.md"), "utf8");
    const questions = [...page.matchAll(/```sql\n([^`]+)```/g)].map(([, sql]) => String(sql));
    expect(questions).toHaveLength(3);
    await world.log.commit([
      track("m1", "Order Completed", {}, { timestamp: "2026-11-23T09:00:00Z" }),
      track("m2", "Order Completed", {}),
    ]);
    await world.sync();
    const answers = await Promise.all(questions.map((sql) => world.query(sql)));
    expect(answers.map((rows) => rows.length)).toEqual([1, 2, 0]);
  });

  test("a full table and a full source discard, and nothing is lost", async () => {
    const limits = { ...SYNC_LIMITS, tablesMax: 2 };
    const wide = Object.fromEntries(Array.from({ length: 600 }, (_, index) => [`k${index}`, index]));
    await world.log.commit([
      track("m1", "One", wide),
      track("m2", "Two", {}),
      track("m3", "Three", { kept: 1 }),
    ]);
    await world.sync({ limits });
    expect(await count("shop.tracks")).toBe(3);
    const [one] = await world.query("SELECT * FROM shop.one");
    expect(Object.keys(one ?? {})).toHaveLength(400);
    const whole = await world.query(
      "SELECT id, column_name, column_value, reason FROM shop.discards WHERE column_name = '*' ORDER BY id",
    );
    expect(whole.map((row) => row["id"])).toEqual(["m1", "m3"]);
    expect(JSON.parse(String(whole[0]?.["column_value"]))).toMatchObject({ properties: wide });
    expect(String(whole[1]?.["column_value"])).toContain('"kept":1');
    expect(whole[1]?.["reason"]).toContain("no room for more tables");
  });
});
