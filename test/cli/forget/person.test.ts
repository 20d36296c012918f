import { expect, test } from "vitest";
import { isItemOf, personSql } from "../../../cli/forget/person.ts";
import { openDuckDB } from "../../../shared/duckdb.ts";
import type { AttributeMap } from "../../../shared/item.ts";

const PERSON = { source: "web", userId: "o'neil", anonymousIds: ["a1"] };

const ROWS = [
  { what: "an event of the user", kind: "event", collection: "tracks", user: "o'neil", goes: true },
  { what: "the user's record", kind: "object", collection: "users", user: "o'neil", goes: true },
  { what: "another source's user", source: "ios", kind: "event", collection: "tracks", user: "o'neil" },
  { what: "another user", kind: "event", collection: "tracks", user: "u2", anonymous: "a1" },
  { what: "the user's anonymous event", kind: "event", collection: "pages", anonymous: "a1", goes: true },
  { what: "somebody's anonymous event", kind: "event", collection: "pages", anonymous: "a2" },
  {
    what: "a rejected event",
    kind: "rejected",
    collection: "rejected",
    image: '{"event":{"userId":"o\'neil"}}',
    goes: true,
  },
  {
    what: "a rejected event of another",
    kind: "rejected",
    collection: "rejected",
    image: '{"event":{"userId":"u2"}}',
  },
  { what: "a rejected text", kind: "rejected", collection: "rejected", image: '{"event":"not json {"}' },
  {
    what: "an alias from the user",
    kind: "event",
    collection: "aliases",
    user: "new",
    image: '{"previousId":"o\'neil"}',
    goes: true,
  },
  {
    what: "the delete of the user's record",
    op: "delete",
    kind: "object",
    collection: "users",
    user: "o'neil",
  },
] as const;
type Given = {
  readonly what: string;
  readonly op?: string;
  readonly source?: string;
  readonly kind: string;
  readonly collection: string;
  readonly user?: string;
  readonly anonymous?: string;
  readonly image?: string;
  readonly goes?: boolean;
};

const sql = (value: string | undefined): string =>
  value === undefined ? "NULL" : `'${value.replaceAll("'", "''")}'`;

async function matching(given: Given, deletes: boolean): Promise<boolean> {
  const { connection, close } = await openDuckDB({ threads: 1, memoryMaxMB: 128 });
  const { op = "insert", source = "web", kind, collection, user, anonymous, image } = given;
  const result = await connection.runAndReadAll(
    `SELECT count(*)::INTEGER FROM (SELECT ${sql(op)} AS op, ${sql(source)} AS source, ${sql(kind)} AS kind,
     ${sql(collection)} AS collection, ${sql(user)} AS user_id, ${sql(anonymous)} AS anonymous_id, ${sql(image)} AS image)
     WHERE ${personSql(PERSON, { deletes })}`,
  );
  close();
  return result.getRows()[0]?.[0] === 1;
}

test.each(ROWS as readonly Given[])("row: $what", async (given) => {
  expect(await matching(given, false)).toBe(given.goes === true);
});

test("deletes go only when they are asked for", async () => {
  expect(
    await matching({ what: "", op: "delete", kind: "object", collection: "users", user: "o'neil" }, true),
  ).toBe(true);
});

test.each((ROWS as readonly Given[]).filter(({ op }) => op === undefined))("item: $what", (given) => {
  const { source = "web", kind, collection, user, anonymous, image } = given;
  const pk =
    kind === "object" ? `o#${source}#${collection}#${user}` : `${kind === "event" ? "e" : "r"}#${source}#m1`;
  const item: AttributeMap = {
    pk: { S: pk },
    kind: { S: kind },
    source: { S: source },
    collection: { S: collection },
    ...(user === undefined ? {} : { user_id: { S: user } }),
    ...(anonymous === undefined ? {} : { anonymous_id: { S: anonymous } }),
    ...(image === undefined ? {} : { body: { S: image } }),
  };
  expect(isItemOf(PERSON, item)).toBe(given.goes === true);
});
