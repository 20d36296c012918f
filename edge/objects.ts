/**
 * Objects: authoritative merged state, one item a key. Pure: from writes to the UpdateItem bodies.
 *
 * - The last writer by event time wins; equal times go by arrival.
 * - A write that is older than what stands fills in only what is missing.
 */
import { attributeOf, objectPk, PROPERTY_PREFIX } from "../shared/item.ts";
import type { AttributeValue } from "../shared/item.ts";
import type { JsonObject } from "../shared/json.ts";

export type ObjectWrite = {
  readonly collection: string;
  readonly id: string;
  readonly eventAtMs: number;
  readonly properties: JsonObject;
};

/** Where in the request the writes stood. */
export type MergedObject = ObjectWrite & { readonly indexes: readonly number[] };

/** DynamoDB caps an UpdateExpression at 4 KB and 300 operators; this many clauses of ours fit. */
const PROPERTIES_PER_UPDATE = 140;

/** One write a key, in the order in which the keys first came. */
export function mergeObjects(
  writes: readonly (ObjectWrite & { readonly index: number })[],
): readonly MergedObject[] {
  const byKey = new Map<string, MergedObject>();
  for (const { index, ...write } of writes) {
    const key = `${write.collection}#${write.id}`;
    const standing = byKey.get(key);
    byKey.set(
      key,
      standing === undefined
        ? { ...write, indexes: [index] }
        : { ...mergeTwo(standing, write), indexes: [...standing.indexes, index] },
    );
  }
  return [...byKey.values()];
}

function mergeTwo(standing: ObjectWrite, next: ObjectWrite): ObjectWrite {
  const [older, newer] = next.eventAtMs >= standing.eventAtMs ? [standing, next] : [next, standing];
  return { ...newer, properties: { ...older.properties, ...newer.properties } };
}

/** One object's update: `set` overwrites if the write is not older; `fill` is for when it is. JSON texts. */
export type ObjectUpdate = {
  readonly set: string;
  readonly fill: string;
  /** Where its writes stood in the request; null where no client waits for it. */
  readonly indexes: readonly (number | null)[];
};

/** The UpdateItem bodies of one write; more than one when it has very many properties. */
export function objectUpdates(table: string, source: string, write: MergedObject): readonly ObjectUpdate[] {
  const names = Object.keys(write.properties);
  const pk = objectPk(source, write.collection, write.id);
  const updates: ObjectUpdate[] = [];
  for (let from = 0; from === 0 || from < names.length; from += PROPERTIES_PER_UPDATE) {
    updates.push(objectUpdate(table, pk, source, write, names.slice(from, from + PROPERTIES_PER_UPDATE)));
  }
  return updates;
}

function objectUpdate(
  table: string,
  pk: string,
  source: string,
  write: MergedObject,
  names: readonly string[],
): ObjectUpdate {
  const attributeNames: { [placeholder: string]: string } = {
    "#k": "kind",
    "#s": "source",
    "#c": "collection",
    "#t": "event_at",
  };
  const values: { [placeholder: string]: AttributeValue } = {
    ":k": { S: "object" },
    ":s": { S: source },
    ":c": { S: write.collection },
    ":t": { N: String(write.eventAtMs) },
  };
  const clauses = ["k", "s", "c", "t"];
  for (const [index, name] of names.entries()) {
    attributeNames[`#${index}`] = PROPERTY_PREFIX + name;
    values[`:${index}`] = attributeOf(write.properties[name]);
    clauses.push(String(index));
  }
  const shared = `"TableName":${JSON.stringify(table)},"Key":{"pk":{"S":${JSON.stringify(pk)}}},"ExpressionAttributeNames":${JSON.stringify(attributeNames)},"ExpressionAttributeValues":${JSON.stringify(values)}`;
  const overwrite = clauses.map((name) => `#${name}=:${name}`).join(",");
  const fillIn = clauses.map((name) => `#${name}=if_not_exists(#${name},:${name})`).join(",");
  return {
    indexes: write.indexes,
    set: `{${shared},"UpdateExpression":"SET ${overwrite}","ConditionExpression":"attribute_not_exists(#t) OR #t<=:t"}`,
    fill: `{${shared},"UpdateExpression":"SET ${fillIn}"}`,
  };
}
