import { DuckDBInstance } from "@duckdb/node-api";
import { expect, test } from "vitest";
import {
  flatName,
  NAME_BYTES_MAX,
  safeName,
  schemaName,
  snakeCase,
} from "../../../reader/warehouse/names.ts";
import { addName, newName, registryOf } from "../../../reader/warehouse/registry.ts";

test.each([
  ["Order Completed", "order_completed"],
  ["order-completed!", "order_completed"],
  ["orderCompleted", "order_completed"],
  ["HTTPServer", "http_server"],
  ["userID", "user_id"],
  ["address1", "address1"],
  ["  spaced  out ", "spaced_out"],
  ["Größe", "größe"],
  ["Заказ оформлен", "заказ_оформлен"],
  ["_private", "private"],
])("%s is %s", (text, name) => {
  expect(snakeCase(text)).toBe(name);
});

test("a name of nothing but signs has one of its own", () => {
  expect(snakeCase("")).toMatch(/^x[0-9a-f]{8}$/);
  expect(snakeCase("🙂")).not.toBe(snakeCase("🙃"));
});

test("digits and reserved words get a leading underscore", () => {
  expect(safeName("9lives")).toBe("_9lives");
  expect(safeName("order")).toBe("_order");
  expect(safeName("id", new Set(["id"]))).toBe("_id");
  expect(schemaName("pg_shop")).toBe("_pg_shop");
  expect(schemaName("public")).toBe("_public");
  expect(schemaName("my-shop")).toBe("my_shop");
});

test("long names are cut at a character, and kept apart", () => {
  const [a, b] = [safeName(`${"ю".repeat(60)}a`), safeName(`${"ю".repeat(60)}b`)];
  expect(a).not.toBe(b);
  for (const name of [a, b]) expect(Buffer.byteLength(name)).toBeLessThanOrEqual(NAME_BYTES_MAX);
  expect(a).toMatch(/^ю+_[0-9a-f]{8}$/u);
  expect(safeName("a".repeat(63))).toBe("a".repeat(63));
});

test("nested keys are joined", () => {
  expect(flatName("context_", ["page", "Referring URL"])).toBe("context_page_referring_url");
});

test("two that want one name: the first has it, and keeps it", () => {
  let registry = registryOf([]);
  const first = newName(registry, "my-shop", "source", "");
  registry = addName(registry, first);
  const second = newName(registry, "my_shop", "source", "");
  expect(first.given).toBe("my_shop");
  expect(second.given).toMatch(/^my_shop_[0-9a-f]{8}$/);
  expect(newName(registry, "my-shop", "event", "users").given).toBe("_users");
  expect(newName(registry, "my-shop", "collection", "users").given).toBe("users");
  expect(newName(registry, "my-shop", "collection", "tracks").given).toBe("_tracks");
});

test("every word that DuckDB reserves is known", async () => {
  const instance = await DuckDBInstance.create(":memory:");
  const connection = await instance.connect();
  const words = await connection.runAndReadAll(
    "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category = 'reserved'",
  );
  for (const [word] of words.getRows()) expect(safeName(String(word))).toBe(`_${String(word)}`);
  connection.closeSync();
  instance.closeSync();
});
