/** The routes. Everything under this file takes its clock, its bindings and its limits as arguments. */
import { Hono } from "hono";
import { createDynamo } from "../shared/aws/dynamodb.ts";
import type { DynamoClient } from "../shared/aws/dynamodb.ts";
import { systemClock } from "../shared/clock.ts";
import type { Clock } from "../shared/clock.ts";
import { describeError } from "../shared/errors.ts";
import { EVENT_TYPES } from "../shared/event.ts";
import { answerAccepted, answerJson, answerPreflight, answerRefused } from "./answer.ts";
import { drainBody, readBody } from "./body.ts";
import { parseConfig } from "./config.ts";
import type { Bindings, Config } from "./config.ts";
import { writeKeyOf } from "./credentials.ts";
import { ingest, refused } from "./ingest.ts";
import type { Call, Ingested, Refused, Rejection } from "./ingest.ts";
import { eventPut, rejectedPut } from "./items.ts";
import type { Stamp } from "./items.ts";
import { mayNeedCleaning, parseJson } from "../shared/json.ts";
import { mergeObjects, objectUpdates } from "./objects.ts";
import { createSourceCache } from "./sources.ts";
import type { Source } from "./sources.ts";
import { TABLE_LIMITS, writeTable } from "./table.ts";
import type { TableOutcome } from "./table.ts";

/** What an isolate keeps between requests. */
type Isolate = { readonly config: Config; readonly dynamo: DynamoClient };

const DYNAMO_TIMEOUT_MS = 5_000;
const isolates = new WeakMap<Bindings, Isolate>();
const sources = createSourceCache();

function isolateOf(bindings: Bindings): Isolate {
  const known = isolates.get(bindings);
  if (known !== undefined) return known;
  const config = parseConfig(bindings);
  const { endpoint, region, accessKeyId, secretAccessKey, sessionToken } = config;
  const credentials = { accessKeyId, secretAccessKey, sessionToken };
  const dynamo = createDynamo({
    endpoint,
    region,
    credentials: () => credentials,
    timeoutMs: DYNAMO_TIMEOUT_MS,
  });
  const isolate = { config, dynamo };
  isolates.set(bindings, isolate);
  return isolate;
}

const noKey = refused(
  401,
  "no_write_key",
  "the request carries no write key",
  "send it as the user name of Basic auth, or as writeKey in the body",
);
const unknownKey = refused(401, "unknown_write_key", "no source has this write key", "check the key");
const disabled = refused(
  401,
  "source_disabled",
  "the source of this write key is disabled",
  "enable the source",
);
const unreadableSource = refused(
  503,
  "source_unreadable",
  "the source's record in KV cannot be read",
  "write it again with varve sources",
);
const notJson = refused(400, "not_json", "the body is not JSON", "send one JSON object, in UTF-8");
const tooDeep = refused(400, "too_deep", "the body nests too deep to read", "flatten it");

type Parsed = { readonly kind: "parsed"; readonly body: unknown; readonly dirty: boolean };

async function readJson(request: Request): Promise<Parsed | Refused> {
  const read = await readBody(request);
  if (read.kind === "refused") return read;
  try {
    return { kind: "parsed", body: parseJson(read.text), dirty: mayNeedCleaning(read.text) };
  } catch (error) {
    return error instanceof RangeError ? tooDeep : notJson;
  }
}

type Authorised = { readonly kind: "authorised"; readonly source: Source };

async function authorise(
  request: Request,
  body: unknown,
  bindings: Bindings,
  clock: Clock,
): Promise<Authorised | Refused> {
  const query = new URL(request.url).searchParams;
  const writeKey = writeKeyOf(request.headers.get("Authorization"), body, query);
  if (writeKey === null) return noKey;
  const lookup = await sources.find(bindings.SOURCES, writeKey, clock.nowMs());
  if (lookup.kind === "unknown") return unknownKey;
  if (lookup.kind === "unreadable") return unreadableSource;
  return lookup.source.enabled ? { kind: "authorised", source: lookup.source } : disabled;
}

async function store(
  ingested: Ingested,
  source: Source,
  isolate: Isolate,
  receivedAtMs: number,
  clock: Clock,
): Promise<TableOutcome> {
  const { config, dynamo } = isolate;
  const expiresAtS = Math.ceil(receivedAtMs / 1000) + config.dedupeS;
  const stamp: Stamp = { source: source.id, receivedAtMs, expiresAtS };
  const puts = ingested.events.map(({ event, body, index }) => eventPut(event, body, index, stamp));
  for (const rejection of ingested.rejected) puts.push(await rejectedPut(rejection, stamp));
  const updates = mergeObjects(ingested.objects).flatMap((object) =>
    objectUpdates(config.table, source.id, object),
  );
  return writeTable({ dynamo, name: config.table, clock, limits: TABLE_LIMITS }, { puts, updates });
}

function withUnwritable(
  ingested: Ingested,
  outcome: TableOutcome & { kind: "durable" },
): readonly Rejection[] {
  if (outcome.unwritable.length === 0) return ingested.rejected;
  const messageIds = new Map<number, string>([
    ...ingested.objects.map(({ index, id }) => [index, id] as const),
    ...ingested.events.map(({ index, event }) => [index, event.messageId] as const),
  ]);
  const more = outcome.unwritable.map(({ index, message }) => ({
    index,
    messageId: messageIds.get(index) ?? null,
    code: "refused_by_table",
    message: `the table refused it for good: ${message}`,
    event: null,
  }));
  return [...ingested.rejected, ...more].toSorted((a, b) => a.index - b.index);
}

/** Whole seconds, spread out so that clients do not come back all at once. */
const retryAfterS = (clock: Clock): number => 1 + Math.floor(clock.random() * 5);

async function handle(call: Call, request: Request, bindings: Bindings, clock: Clock): Promise<Response> {
  const isolate = isolateOf(bindings);
  const parsed = await readJson(request);
  if (parsed.kind === "refused") return answerRefused(request, parsed);
  const authorised = await authorise(request, parsed.body, bindings, clock);
  if (authorised.kind === "refused") {
    return answerRefused(request, authorised, authorised.status === 503 ? retryAfterS(clock) : undefined);
  }
  const receivedAtMs = clock.nowMs();
  const ingested = ingest(call, parsed.body, {
    receivedAtMs,
    receivedAt: new Date(receivedAtMs).toISOString(),
    skewMaxMs: isolate.config.skewMaxMs,
    newId: () => clock.uuid(),
    dirty: parsed.dirty,
  });
  if (ingested.kind === "refused") return answerRefused(request, ingested);
  const outcome = await store(ingested, authorised.source, isolate, receivedAtMs, clock);
  if (outcome.kind === "unavailable") {
    console.error(JSON.stringify({ level: "error", at: "table", reason: outcome.reason }));
    const code = outcome.throttled ? "throttled" : "unavailable";
    const message = "the events are not durable yet";
    const retry = refused(503, code, message, "send them again: nothing is counted twice");
    return answerRefused(request, retry, retryAfterS(clock));
  }
  const rejected = withUnwritable(ingested, outcome);
  const [first] = rejected;
  if (call.kind === "single" && first !== undefined) {
    return answerRefused(
      request,
      refused(400, first.code, first.message, "mend the event and send it again"),
    );
  }
  const accepted = ingested.events.length + ingested.objects.length;
  return answerAccepted(request, accepted, rejected);
}

const SHORT = { track: "t", identify: "i", page: "p", screen: "s", group: "g", alias: "a" } as const;

const CALLS = new Map<string, Call>([
  ...EVENT_TYPES.flatMap((type): [string, Call][] => [
    [`/v1/${type}`, { kind: "single", type }],
    [`/v1/${SHORT[type]}`, { kind: "single", type }],
  ]),
  ["/v1/batch", { kind: "batch" }],
  ["/v1/import", { kind: "batch" }],
  ["/v1/b", { kind: "batch" }],
  ["/v1/set", { kind: "set" }],
]);

const wrongMethod = (allowed: string): Refused =>
  refused(405, "wrong_method", `this path takes ${allowed}`, `send it with ${allowed}`);
const unknownPath = refused(
  404,
  "unknown_path",
  "no such path",
  `POST to one of ${[...CALLS.keys()].join(", ")}`,
);

export function createApp(clock: Clock): Hono<{ Bindings: Bindings }> {
  const app = new Hono<{ Bindings: Bindings }>({ strict: false });
  app.options("*", (c) => answerPreflight(c.req.raw));
  for (const [path, call] of CALLS) {
    app.post(path, (c) => handle(call, c.req.raw, c.env, clock));
    app.all(path, async (c) => {
      await drainBody(c.req.raw);
      return answerRefused(c.req.raw, wrongMethod("POST"));
    });
  }
  app.get("/healthz", (c) => answerJson(c.req.raw, 200, { status: "ok" }));
  app.all("/healthz", async (c) => {
    await drainBody(c.req.raw);
    return answerRefused(c.req.raw, wrongMethod("GET"));
  });
  app.notFound(async (c) => {
    await drainBody(c.req.raw);
    return answerRefused(c.req.raw, unknownPath);
  });
  app.onError((error, c) => {
    console.error(JSON.stringify({ level: "error", at: "worker", reason: describeError(error) }));
    const bug = refused(503, "internal", "the gateway failed", "send it again; if it lasts, see its log");
    return answerRefused(c.req.raw, bug, retryAfterS(clock));
  });
  return app;
}

export default createApp(systemClock);
