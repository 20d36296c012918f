/** Whose rows and items are forgotten: a user of a source. Pure. */
import { sqlText } from "../../shared/duckdb.ts";
import type { AttributeMap } from "../../shared/item.ts";
import { parseItem } from "../../shared/item.ts";

export type Person = {
  readonly source: string;
  readonly userId: string;
  /** Anonymous ids that are the person's: events that carry one, and no user's id, go as well. */
  readonly anonymousIds: readonly string[];
};

/**
 * SQL over the row columns: true for rows that tell something of the person. A row without an image tells only that
 * an item was deleted: consumers need it to delete theirs, so it stays unless `deletes`.
 */
export function personSql(
  { source, userId, anonymousIds }: Person,
  { deletes }: { deletes: boolean },
): string {
  const user = sqlText(userId);
  const named = (path: string): string => `json_extract_string(image, '${path}') = ${user}`;
  const anonymous =
    anonymousIds.length === 0
      ? "false"
      : `(user_id IS NULL AND anonymous_id IN (${anonymousIds.map(sqlText).join(", ")}))`;
  const is = `(user_id = ${user} OR ${anonymous} OR CASE
    WHEN kind = 'rejected' THEN ${named("$.event.userId")} OR ${named("$.event.previousId")}
    WHEN collection = 'aliases' THEN ${named("$.previousId")} ELSE false END)`;
  return `(source = ${sqlText(source)} AND ${deletes ? "" : "op <> 'delete' AND "}coalesce(${is}, false))`;
}

/** SQL for the anonymous ids seen with the user and with nobody else: a shared device is not one person's. */
export const anonymousSql = (relation: string, { source, userId }: Person): string =>
  `SELECT anonymous_id FROM ${relation} WHERE source = ${sqlText(source)} AND anonymous_id IS NOT NULL
   GROUP BY anonymous_id HAVING bool_or(user_id = ${sqlText(userId)})
   AND NOT bool_or(coalesce(user_id <> ${sqlText(userId)}, false))`;

const textOf = (item: AttributeMap, name: string): string | null => {
  const value = item[name];
  return value !== undefined && "S" in value ? value.S : null;
};

/** The same for an item of the table. */
export function isItemOf({ source, userId, anonymousIds }: Person, item: AttributeMap): boolean {
  const parsed = parseItem(textOf(item, "pk") ?? "", item);
  if (parsed?.source !== source) return false;
  if (parsed.kind === "object") return parsed.collection === "users" && parsed.id === userId;
  const user = textOf(item, "user_id");
  if (user !== null && user === userId) return true;
  const anonymous = textOf(item, "anonymous_id");
  if (user === null && anonymous !== null && anonymousIds.includes(anonymous)) return true;
  const body = parseObject(textOf(item, "body"));
  if (parsed.kind === "event")
    return textOf(item, "collection") === "aliases" && body["previousId"] === userId;
  const event = (body["event"] ?? {}) as Readonly<Record<string, unknown>>;
  return event["userId"] === userId || event["previousId"] === userId;
}

function parseObject(text: string | null): Readonly<Record<string, unknown>> {
  try {
    return (JSON.parse(text ?? "{}") ?? {}) as Readonly<Record<string, unknown>>;
  } catch {
    return {};
  }
}
