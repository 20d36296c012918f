/**
 * A tracking plan: what each of a source's events must look like, as JSON Schema.
 *
 * - An event that is too deep or too large to be taken is not looked at: a schema that refers to itself follows it
 *   down, and some keywords take the square of a list's length.
 * - A schema that cannot be used is the plan's fault: it never costs an event.
 */
import {
  dereference,
  schemaArrayKeyword,
  schemaKeyword,
  schemaMapKeyword,
  Validator,
} from "@cfworker/json-schema";
import type { Schema, SchemaDraft } from "@cfworker/json-schema";
import { EVENT_LIMITS, traitsOf } from "../shared/event.ts";
import type { NormalEvent } from "../shared/event.ts";
import { cleanText, isDeeperThan, isJsonObject, isLargerThan } from "../shared/json.ts";
import type { TrackingPlan } from "./sources.ts";

export type Finding =
  | { readonly kind: "kept" }
  | { readonly kind: "broken"; readonly violations: readonly string[] }
  /** The event's schema cannot be used. */
  | { readonly kind: "unusable"; readonly reason: string };

const KEPT: Finding = { kind: "kept" };
const VIOLATIONS_MAX = 10;
/** A violation repeats names and values of the event. */
const VIOLATION_CHARS_MAX = 300;

type EventSchema = TrackingPlan["events"][string];

/** What `$schema` says; the newest where it says nothing. */
function draftOf(schema: EventSchema): SchemaDraft {
  const said = typeof schema === "boolean" ? undefined : schema["$schema"];
  const [, draft] = /draft[-/](04|06|07|2019-09)\b/.exec(typeof said === "string" ? said : "") ?? [];
  if (draft === "04") return "4";
  if (draft === "2019-09") return draft;
  return draft === undefined ? "2020-12" : "7";
}

function subjectOf({ type, record }: NormalEvent): unknown {
  if (type === "identify" || type === "group") return traitsOf(type, record);
  return record["properties"] ?? {};
}

const cut = (text: string): string =>
  text.length > VIOLATION_CHARS_MAX ? `${cleanText(text.slice(0, VIOLATION_CHARS_MAX))}…` : text;

function judge(validator: Validator, subject: unknown): Finding {
  if (isDeeperThan(subject, EVENT_LIMITS.depthMax)) return KEPT;
  const text = JSON.stringify(subject);
  if (isLargerThan(text, EVENT_LIMITS.bytesMax)) return KEPT;
  // Parsed anew, a number that no double holds is a number to the validator, and not an object.
  const { valid, errors } = validator.validate(JSON.parse(text));
  if (valid) return KEPT;
  const violations = errors
    .slice(-VIOLATIONS_MAX)
    .map(({ instanceLocation, error }) => cut(`${instanceLocation}: ${error}`));
  return { kind: "broken", violations };
}

function compileSchema(name: string, schema: EventSchema): (subject: unknown) => Finding {
  const unusable = (error: unknown): Finding => {
    const reason = cut(`the tracking plan's schema of ${name} cannot be used: ${String(error)}`);
    return { kind: "unusable", reason };
  };
  let validator: Validator;
  try {
    validator = new Validator(schema, draftOf(schema), false);
  } catch (error) {
    const finding = unusable(error);
    return () => finding;
  }
  return (subject) => {
    try {
      return judge(validator, subject);
    } catch (error) {
      return unusable(error);
    }
  };
}

export function compilePlan(plan: TrackingPlan): (event: NormalEvent) => Finding {
  const schemas = new Map(
    Object.entries(plan.events).map(([name, schema]) => [name, compileSchema(name, schema)]),
  );
  return (event) => {
    const name = (event.type === "track" ? event.name : event.type) ?? "";
    const find = schemas.get(name);
    if (find !== undefined) return find(subjectOf(event));
    if (event.type !== "track" || plan.unplanned === "allow") return KEPT;
    return { kind: "broken", violations: [cut(`${name} is not in the tracking plan`)] };
  };
}

type Place = { readonly path: string; readonly schema: unknown };

/** The schemas directly in a schema. */
function partsOf(path: string, schema: Readonly<Record<string, unknown>>): readonly Place[] {
  return Object.entries(schema).flatMap(([keyword, value]): Place[] => {
    const at = `${path}/${keyword}`;
    if (Array.isArray(value)) {
      if (schemaArrayKeyword[keyword] !== true) return [];
      return value.map((part: unknown, index) => ({ path: `${at}/${index}`, schema: part }));
    }
    if (schemaKeyword[keyword] === true) return [{ path: at, schema: value }];
    if (schemaMapKeyword[keyword] !== true && keyword !== "dependencies") return [];
    if (!isJsonObject(value)) return [{ path: at, schema: null }];
    const parts = Object.entries(value).filter(
      ([, part]) => keyword !== "dependencies" || !Array.isArray(part),
    );
    return parts.map(([name, part]) => ({ path: `${at}/${name}`, schema: part }));
  });
}

function patternFault(pattern: unknown): string | null {
  if (typeof pattern !== "string") return "a pattern must be a string";
  try {
    RegExp(pattern, "u");
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Why an event's schema cannot be used, or null. */
function schemaFault(root: EventSchema): string | null {
  let known: Readonly<Record<string, unknown>>;
  try {
    known = dereference(root);
  } catch (error) {
    return String(error);
  }
  const pending: Place[] = [{ path: "#", schema: root }];
  for (let place = pending.pop(); place !== undefined; place = pending.pop()) {
    const { path, schema } = place;
    if (typeof schema === "boolean") continue;
    if (!isJsonObject(schema)) return `${path}: a schema is an object or a boolean`;
    const { $ref, pattern, patternProperties, __absolute_ref__: target } = schema as Schema;
    if ($ref !== undefined && known[target ?? $ref] === undefined) {
      return `${path}: $ref ${JSON.stringify($ref)} is nowhere in the schema`;
    }
    const patterns = [...(pattern === undefined ? [] : [pattern]), ...Object.keys(patternProperties ?? {})];
    const fault = patterns.map(patternFault).find((found) => found !== null);
    if (fault !== undefined) return `${path}: ${fault}`;
    pending.push(...partsOf(path, schema));
  }
  return null;
}

/** Why a plan cannot be used, an event a line; null when it can. */
export function planFault(plan: TrackingPlan): string | null {
  const faults = Object.entries(plan.events).flatMap(([name, schema]) => {
    const fault = schemaFault(schema);
    return fault === null ? [] : [`${name}: ${fault}`];
  });
  return faults.length === 0 ? null : faults.join("\n");
}
