/** CloudFormation templates as plain values: `!Ref x` is `{Ref: "x"}`, `!GetAtt a.b` is `{"Fn::GetAtt": ["a", "b"]}`. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import type { CollectionTag, ScalarTag } from "yaml";

const AWS = join(import.meta.dirname, "../../deploy/aws");

export type Value = string | number | boolean | null | readonly Value[] | { readonly [name: string]: Value };
export type Resource = {
  readonly Type: string;
  readonly DeletionPolicy?: string;
  readonly Properties?: Record<string, Value>;
};
export type Template = {
  readonly Parameters: Record<string, Record<string, Value>>;
  readonly Conditions?: Record<string, Value>;
  readonly Resources: Record<string, Resource>;
  readonly Outputs: Record<string, Record<string, Value>>;
};

const scalar = (tag: string, name: string): ScalarTag => ({
  tag: `!${tag}`,
  resolve: (text) => (tag === "GetAtt" ? { [name]: text.split(".") } : { [name]: text }),
});
const sequence = (tag: string): CollectionTag => ({
  tag: `!${tag}`,
  collection: "seq",
  resolve: (items) => ({ [`Fn::${tag}`]: (items as unknown as { toJSON: () => Value }).toJSON() }),
});
const TAGS = [
  scalar("Ref", "Ref"),
  scalar("GetAtt", "Fn::GetAtt"),
  scalar("Sub", "Fn::Sub"),
  ...["If", "Not", "Equals", "Join"].map(sequence),
];

export const readTemplate = (name: string): Template =>
  parse(readFileSync(join(AWS, name), "utf8"), { customTags: TAGS }) as Template;

/** Every object in the value, itself included. */
export function* objectsIn(value: unknown): Generator<{ readonly [name: string]: Value }> {
  if (value === null || typeof value !== "object") return;
  if (Array.isArray(value)) {
    for (const item of value) yield* objectsIn(item);
    return;
  }
  yield value as { readonly [name: string]: Value };
  for (const inner of Object.values(value)) yield* objectsIn(inner);
}

export type Statement = {
  readonly Sid?: string;
  readonly Effect: "Allow" | "Deny";
  readonly Principal?: Value;
  readonly Action: string | readonly string[];
  readonly Resource?: Value;
  readonly Condition?: Record<string, Record<string, string>>;
};

export const actionsOf = ({ Action: action }: Statement): readonly string[] =>
  typeof action === "string" ? [action] : action;

/** The statements of a role's, user's or managed policy's own policies, without the trust in who may assume it. */
export function statementsOf({ Properties: properties = {} }: Resource): readonly Statement[] {
  const documents = [
    ...((properties["Policies"] ?? []) as { PolicyDocument: { Statement: Statement[] } }[]).map(
      (policy) => policy.PolicyDocument,
    ),
    ...(properties["PolicyDocument"] === undefined
      ? []
      : [properties["PolicyDocument"] as unknown as { Statement: Statement[] }]),
  ];
  return documents.flatMap((document) => document.Statement);
}

/** A property that must be there. */
export function propertyOf(template: Template, resource: string, property: string): Value {
  const value = template.Resources[resource]?.Properties?.[property];
  if (value === undefined) throw new Error(`${resource} has no ${property}`);
  return value;
}
