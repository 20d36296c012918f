/** The OpenAPI document, made from the schemas that validate. */
import * as z from "zod";
import { EVENT_LIMITS, EVENT_SCHEMAS, EVENT_TYPES } from "../shared/event.ts";
import type { EventType } from "../shared/event.ts";
import { REQUEST_LIMITS, SET_COLLECTION, SET_OBJECT } from "./ingest.ts";
import type { Call } from "./ingest.ts";

/** What is served; a variable of a path stands as `{name}`. */
export type Route =
  | { readonly kind: "call"; readonly path: string; readonly call: Call }
  | { readonly kind: "telemetry"; readonly path: string }
  | { readonly kind: "read"; readonly path: string; readonly summary: string; readonly keyed: boolean };

const schemaOf = (schema: z.ZodType): object => {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }) as {
    readonly $schema?: string;
  };
  return rest;
};

const ref = (name: string): object => ({ $ref: `#/components/schemas/${name}` });

const KNOWN_ID = { type: ["string", "number"], minLength: 1 };
const hasIds = (...names: readonly string[]): object => ({
  required: names,
  properties: Object.fromEntries(names.map((name) => [name, KNOWN_ID])),
});
const OF_SOMEBODY = { anyOf: [hasIds("userId"), hasIds("anonymousId")] };
/** An alias joins two ids. */
const OF_TWO = {
  anyOf: [
    hasIds("userId", "previousId"),
    hasIds("anonymousId", "previousId"),
    hasIds("userId", "anonymousId"),
  ],
};

/** An event as its own path takes it, and as a batch does: with its type. */
function eventSchemas(type: EventType): readonly (readonly [string, object])[] {
  const ids = type === "alias" ? OF_TWO : OF_SOMEBODY;
  const typed = EVENT_SCHEMAS[type].extend({ type: z.literal(type) });
  return [
    [type, { ...schemaOf(EVENT_SCHEMAS[type]), ...ids }],
    [`${type}InBatch`, { ...schemaOf(typed), ...ids }],
  ];
}

const KEY_IN_BODY = { writeKey: { type: "string" }, write_key: { type: "string" } };

const BATCH = {
  type: "object",
  required: ["batch"],
  properties: {
    batch: {
      type: "array",
      minItems: 1,
      maxItems: REQUEST_LIMITS.eventsMax,
      items: { oneOf: EVENT_TYPES.map((type) => ref(`${type}InBatch`)) },
      description: `Each at most ${EVENT_LIMITS.bytesMax} bytes and ${EVENT_LIMITS.depthMax} levels. One that is not as it should be is answered among \`rejected\`, and the others are taken`,
    },
    context: { type: ["object", "null"], description: "Merged under each event's own" },
    integrations: { type: ["object", "null"] },
    sentAt: { description: "When the request was sent, by its client's clock" },
    ...KEY_IN_BODY,
  },
};

const SET_BODY = z.object({
  collection: SET_COLLECTION,
  objects: z.array(SET_OBJECT).min(1).max(REQUEST_LIMITS.objectsMax),
  timestamp: SET_OBJECT.shape.timestamp,
  writeKey: z.string().optional(),
  write_key: z.string().optional(),
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
const whole = (description: string): object => ({ description, schema: { type: "integer" } });
const RETRY_AFTER = { "Retry-After": whole("Seconds") };
const RATE_LIMITED = { ...RETRY_AFTER, "X-RateLimit-Reset": whole("Unix seconds") };

const answer = (name: string, description: string, headers: object = {}): object => ({
  description,
  headers,
  content: json(ref(name)),
});

const WRONG_METHOD = {
  description: "Allow says which methods the path takes",
  headers: { Allow: { schema: { type: "string" } } },
  content: json(ref("Error")),
};
const NO_KEY = answer("Error", "No write key, or one that is unknown or disabled; or a bad signature");
const UNAVAILABLE = answer(
  "Error",
  "Not durable, or nothing to be done now; Retry-After says when to send it again",
  RETRY_AFTER,
);

const CALL_ANSWERS = {
  200: answer("Accepted", "Every accepted event is durable; rejected ones are listed"),
  400: answer(
    "Error",
    `The request as a whole is wrong, or larger than ${REQUEST_LIMITS.bytesMax} bytes once decoded`,
  ),
  401: NO_KEY,
  403: answer("Error", "The source does not take this web origin"),
  405: WRONG_METHOD,
  429: answer("Error", "Too many events; Retry-After says when to come back", RATE_LIMITED),
  503: UNAVAILABLE,
};

function bodyOf(call: Call): object {
  if (call.kind === "single") return ref(call.type);
  return ref(call.kind === "set" ? "Set" : "Batch");
}

const summaryOf = (call: Call): string =>
  call.kind === "single" ? `One ${call.type} event` : call.kind === "set" ? "Objects" : "Events";

const ANYBODY = { security: [] };

function operationOf(route: Route): object {
  const operationId = route.path.replaceAll(/[^A-Za-z]+/g, "_").replaceAll(/^_|_$/g, "");
  if (route.kind === "call") {
    const { call } = route;
    const requestBody = { required: true, content: json(bodyOf(call)) };
    return { post: { operationId, summary: summaryOf(call), requestBody, responses: CALL_ANSWERS } };
  }
  if (route.kind === "telemetry") {
    const responses = { 200: answer("Accepted", "Taken, and not kept"), 405: WRONG_METHOD };
    return { post: { operationId, summary: "An SDK's own telemetry", ...ANYBODY, responses } };
  }
  const { path, summary, keyed } = route;
  const variables = Array.from(path.matchAll(/\{(\w+)\}/g), ([, name]) => ({
    name,
    in: "path",
    required: true,
    schema: { type: "string" },
  }));
  const found = { 200: { description: summary, content: json({ type: "object" }) } };
  const responses = { ...found, ...(keyed ? { 401: NO_KEY } : {}), 405: WRONG_METHOD, 503: UNAVAILABLE };
  const access = keyed && variables.length === 0 ? {} : ANYBODY;
  return { get: { operationId, summary, ...access, parameters: variables, responses } };
}

const SECURITY = {
  basic: { type: "http", scheme: "basic", description: "The write key as user name, no password" },
  bearer: { type: "http", scheme: "bearer", description: "The write key, where none is in the body" },
  header: { type: "apiKey", in: "header", name: "X-Write-Key" },
  query: { type: "apiKey", in: "query", name: "writeKey" },
};

export function openApi(routes: readonly Route[]): object {
  return {
    openapi: "3.1.0",
    info: {
      title: "Varve edge",
      version: "1",
      description: "Segment-compatible ingest",
      license: { name: "Apache 2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: "/" }],
    // The last is none of these: the key is in the body.
    security: [...Object.keys(SECURITY).map((name) => ({ [name]: [] })), {}],
    paths: Object.fromEntries(routes.map((route) => [route.path, operationOf(route)])),
    components: {
      securitySchemes: SECURITY,
      schemas: {
        ...Object.fromEntries(EVENT_TYPES.flatMap(eventSchemas)),
        Batch: BATCH,
        Set: schemaOf(SET_BODY),
        Accepted: ACCEPTED,
        Error: ERROR,
      },
    },
  };
}
