/** The OpenAPI document, made from the schemas that validate. */
import * as z from "zod";
import { EVENT_LIMITS, EVENT_SCHEMAS, EVENT_TYPES } from "../shared/event.ts";
import type { EventType } from "../shared/event.ts";
import { REQUEST_LIMITS, SET_COLLECTION, SET_OBJECT } from "./ingest.ts";
import type { Call } from "./ingest.ts";

const schemaOf = (schema: z.ZodType): object => {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }) as {
    readonly $schema?: string;
  };
  return rest;
};

const named = (type: EventType): object => ({ $ref: `#/components/schemas/${type}` });

const SET_BODY = z.object({
  collection: SET_COLLECTION,
  objects: z.array(SET_OBJECT).min(1).max(REQUEST_LIMITS.objectsMax),
});

const ERROR = {
  type: "object",
  required: ["error", "code", "message"],
  properties: {
    error: { type: "string" },
    code: { type: "string", description: "Stable, for programs" },
    message: { type: "string", description: "What is wrong" },
    fix: { type: "string", description: "What to do" },
  },
};

const ACCEPTED = {
  type: "object",
  required: ["success"],
  properties: {
    success: { const: true },
    accepted: { type: "integer" },
    rejected: {
      type: "array",
      items: {
        type: "object",
        required: ["index", "messageId", "code", "message"],
        properties: {
          index: { type: "integer" },
          messageId: { type: ["string", "null"] },
          code: { type: "string" },
          message: { type: "string" },
        },
      },
    },
  },
};

const json = (schema: object): object => ({ "application/json": { schema } });
const refers = (name: string, description: string): object => ({
  description,
  content: json({ $ref: `#/components/schemas/${name}` }),
});

const ANSWERS = {
  200: refers("Accepted", "Every accepted event is durable; rejected ones are listed"),
  400: refers("Error", "The request as a whole is wrong"),
  401: refers("Error", "No write key, or one that is unknown or disabled; or a bad signature"),
  403: refers("Error", "The source does not take this web origin"),
  413: refers("Error", `Larger than ${REQUEST_LIMITS.bytesMax} bytes once decoded`),
  429: refers("Error", "Too many events; Retry-After says when to come back"),
  503: refers("Error", "Not durable; Retry-After says when to send it again"),
};

function bodyOf(call: Call): object {
  if (call.kind === "single") return named(call.type);
  if (call.kind === "set") return { $ref: "#/components/schemas/Set" };
  return { $ref: "#/components/schemas/Batch" };
}

const operation = (call: Call, path: string): object => ({
  operationId: path.slice(1).replaceAll("/", "_"),
  summary: call.kind === "single" ? `One ${call.type} event` : call.kind === "set" ? "Objects" : "Events",
  requestBody: { required: true, content: json(bodyOf(call)) },
  responses: ANSWERS,
});

export function openApi(calls: readonly (readonly [string, Call])[]): object {
  const events = Object.fromEntries(EVENT_TYPES.map((type) => [type, schemaOf(EVENT_SCHEMAS[type])]));
  const batch = {
    type: "object",
    required: ["batch"],
    properties: {
      batch: {
        type: "array",
        minItems: 1,
        maxItems: REQUEST_LIMITS.eventsMax,
        items: { oneOf: EVENT_TYPES.map(named) },
        description: `Each with its type, at most ${EVENT_LIMITS.bytesMax} bytes and ${EVENT_LIMITS.depthMax} levels`,
      },
      context: { type: "object", description: "Merged under each event's own" },
      integrations: { type: "object" },
      sentAt: { type: "string" },
      writeKey: { type: "string" },
    },
  };
  return {
    openapi: "3.1.0",
    info: { title: "Varve edge", version: "1", description: "Segment-compatible ingest" },
    security: [{ writeKey: [] }],
    paths: Object.fromEntries(calls.map(([path, call]) => [path, { post: operation(call, path) }])),
    components: {
      securitySchemes: {
        writeKey: { type: "http", scheme: "basic", description: "The write key as user name, no password" },
      },
      schemas: { ...events, Batch: batch, Set: schemaOf(SET_BODY), Accepted: ACCEPTED, Error: ERROR },
    },
  };
}
