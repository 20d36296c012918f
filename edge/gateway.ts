/** One request, from its bytes to its answer; and one batch of the queue, from its messages to the tables. */
import { createDynamo } from "../shared/aws/dynamodb.ts";
import type { Clock } from "../shared/clock.ts";
import { mayNeedCleaning, isJsonObject, parseJson } from "../shared/json.ts";
import { answerAccepted, answerRefused } from "./answer.ts";
import { authorise, limitRate } from "./authority.ts";
import type { Authorised } from "./authority.ts";
import { batchesOf, putsOf } from "./batch.ts";
import { bodyText, drainBody, readBody } from "./body.ts";
import type { Body } from "./body.ts";
import { BREAKER_LIMITS, createBreaker, ONLY_REGION_LIMITS } from "./breaker.ts";
import { parseConfig } from "./config.ts";
import type { Bindings, Config } from "./config.ts";
import { envelopeOf, ingest, ingestRest, refused, REQUEST_LIMITS } from "./ingest.ts";
import type { AcceptedObject, Call, IngestContext, Ingested, Refused, Rejection } from "./ingest.ts";
import { eventOf, eventPuts, rejectedPuts } from "./items.ts";
import type { Stamp } from "./items.ts";
import { log, reasonOf } from "./log.ts";
import { createLoad, LOAD_LIMITS } from "./load.ts";
import type { Lease, Load } from "./load.ts";
import { mergeObjects, objectUpdates } from "./objects.ts";
import { openBatch } from "./open-batch.ts";
import type { OpenBatch } from "./open-batch.ts";
import { readPlain } from "./plain.ts";
import { positionOf, routeOf } from "./regions.ts";
import type { Route } from "./regions.ts";
import { createBotTest, takesAsSent } from "./rules.ts";
import type { Client } from "./rules.ts";
import type { Source } from "./sources.ts";
import { drainDelayS, unpackSpill, workFor } from "./spill.ts";
import { storeWork } from "./store.ts";
import type { Refusal, Site, StoreOutcome } from "./store.ts";
import { TABLE_LIMITS, writeTable } from "./table.ts";
import type { TableWork } from "./table.ts";

/** What an isolate keeps between requests. */
type Isolate = {
  readonly config: Config;
  readonly sites: readonly Site[];
  readonly load: Load;
};

const DYNAMO_TIMEOUT_MS = 2_500;
const isolates = new WeakMap<Bindings, Isolate>();

function isolateOf(bindings: Bindings): Isolate {
  const known = isolates.get(bindings);
  if (known !== undefined) return known;
  const config = parseConfig(bindings);
  const { accessKeyId, secretAccessKey, sessionToken } = config;
  const credentials = { accessKeyId, secretAccessKey, sessionToken };
  const only = config.regions.length === 1 && bindings.SPILL === undefined;
  const sites = config.regions.map((region) => ({
    region,
    breaker: createBreaker(only ? ONLY_REGION_LIMITS : BREAKER_LIMITS),
    dynamo: createDynamo({
      endpoint: region.endpoint,
      region: region.awsRegion ?? region.name,
      credentials: () => credentials,
      timeoutMs: DYNAMO_TIMEOUT_MS,
    }),
  }));
  const isolate = { config, sites, load: createLoad(LOAD_LIMITS) };
  isolates.set(bindings, isolate);
  return isolate;
}

const notJson = refused(400, "not_json", "the body is not JSON", "send one JSON object, in UTF-8");
const tooDeep = refused(400, "too_deep", "the body nests too deep to read", "flatten it");
const busy = refused(503, "busy", "the gateway has too much to do", "send it again later");
const rateLimited = refused(
  429,
  "rate_limited",
  "the source sends more than its rate limit allows",
  "wait as Retry-After says, and send it again",
);
const strayHome = refused(
  503,
  "no_home_region",
  "the source's home is no region of this gateway",
  "set its home to one of REGIONS: varve sources add --home",
);

type Parsed = { readonly kind: "parsed"; readonly body: unknown; readonly dirty: boolean };

function parseBody(body: Body): Parsed | Refused {
  try {
    const text = bodyText(body);
    return {
      kind: "parsed",
      body: parseJson(text),
      dirty: mayNeedCleaning(text) || !text.isWellFormed(),
    };
  } catch (error) {
    return error instanceof RangeError ? tooDeep : notJson;
  }
}

/** How much the request asks of its source's rate, before any of it is looked at. */
function countOf(body: unknown): number {
  const list = isJsonObject(body) ? (body["batch"] ?? body["objects"]) : body;
  return Array.isArray(list) ? Math.max(1, list.length) : 1;
}

/** What is kept of a request while its writes are under way. */
type Prepared = {
  readonly work: TableWork;
  readonly total: number;
  /** Without their events: what they were parsed to need not wait for the table. */
  readonly rejected: readonly Rejected[];
  readonly objects: readonly AcceptedObject[];
};
type Rejected = Omit<Rejection, "event">;

const eventsTable = (route: Route<Site>): string => (route.events[0] ?? route.objects).region.table;

async function workOf(ingested: Ingested, stamp: Stamp, route: Route<Site>): Promise<TableWork> {
  const putOf = eventPuts(stamp);
  const puts = [...ingested.puts];
  for (const { event, body, index } of ingested.events) puts.push(putOf(event, body, index));
  puts.push(...(await rejectedPuts(ingested.rejected, stamp)));
  const updates = mergeObjects(ingested.objects).flatMap((object) =>
    objectUpdates(route.objects.region.table, stamp.source, object),
  );
  return { batches: [...ingested.batches, ...batchesOf(eventsTable(route), puts)], updates };
}

/** Of an event that is stored: only its user or account is not. */
const OBJECT_REFUSED = "object_refused_by_table";

/** What the table refused for good, with what it was that was refused. */
function rejectionsOf(prepared: Prepared, unwritable: readonly Refusal[]): readonly Rejection[] {
  const objects = new Map(prepared.objects.map((object) => [object.index, object] as const));
  const puts = new Map(prepared.work.batches.flatMap(putsOf).map((put) => [put.indexes[0], put] as const));
  return unwritable.map(({ index, what, message }) => {
    const put = puts.get(index);
    const event = put === undefined ? null : eventOf(put);
    const messageId = event?.["messageId"];
    const { collection, id, properties } = objects.get(index) ?? {};
    const isObject = what === "object";
    return {
      index,
      messageId: typeof messageId === "string" ? messageId : (id ?? null),
      code: isObject && event !== null ? OBJECT_REFUSED : "refused_by_table",
      message: `the table refused ${isObject ? `${collection} ${id}` : "it"} for good: ${message}`,
      event: isObject ? { collection, id, properties } : event,
    };
  });
}

/** Whole seconds, spread out so that clients do not come back all at once. */
const retryAfterS = (clock: Clock): number => 1 + Math.floor(clock.random() * 5);

function answerStored(
  request: Request,
  call: Call,
  prepared: Prepared,
  refusals: readonly Rejected[],
  outcome: StoreOutcome,
  clock: Clock,
): Response {
  if (outcome.kind === "too_many_objects") {
    const message = `the request writes more than ${outcome.objectsMax} objects`;
    return answerRefused(request, refused(400, "too_many_objects", message, "send fewer in one request"));
  }
  if (outcome.kind === "unavailable") {
    log("table", outcome.reason);
    const code = outcome.throttled ? "throttled" : "unavailable";
    const message = "the events are not durable yet";
    const retry = refused(503, code, message, "send them again: nothing is counted twice");
    return answerRefused(request, retry, retryAfterS(clock));
  }
  const rejected = [...prepared.rejected, ...refusals].toSorted((a, b) => a.index - b.index);
  const lost = rejected.filter(({ code }) => code !== OBJECT_REFUSED);
  const [first] = lost;
  if (call.kind === "single" && first !== undefined) {
    return answerRefused(
      request,
      refused(400, first.code, first.message, "correct the event and send it again"),
    );
  }
  const accepted = prepared.total - new Set(lost.map(({ index }) => index)).size;
  return answerAccepted(request, accepted, rejected);
}

async function prepare(ingested: Ingested, stamp: Stamp, route: Route<Site>): Promise<Prepared> {
  const { total, objects } = ingested;
  const rejected = ingested.rejected.map(({ index, messageId, code, message }) => ({
    index,
    messageId,
    code,
    message,
  }));
  return { work: await workOf(ingested, stamp, route), total, rejected, objects };
}

async function store(
  call: Call,
  request: Request,
  prepared: Prepared,
  route: Route<Site>,
  stamp: Stamp,
  bindings: Bindings,
  clock: Clock,
): Promise<Response> {
  const queue = bindings.SPILL ?? null;
  let outcome = await storeWork(route, prepared.work, queue, clock);
  if (outcome.kind !== "durable" || outcome.unwritable.length === 0) {
    return answerStored(request, call, prepared, [], outcome, clock);
  }
  const refusals = rejectionsOf(prepared, outcome.unwritable);
  const puts = await rejectedPuts(refusals, stamp);
  const kept = { batches: batchesOf(eventsTable(route), puts), updates: [] };
  outcome = await storeWork(route, kept, queue, clock);
  return answerStored(request, call, prepared, refusals, outcome, clock);
}

/** What an isolate knows of a request once it is authorised. */
type Receiving = Omit<IngestContext, "dirty"> & { readonly client: Client; readonly stamp: Stamp };

function receive(request: Request, authorised: Authorised, { config }: Isolate, clock: Clock): Receiving {
  const receivedAtMs = clock.nowMs();
  const client = {
    ip: request.headers.get("CF-Connecting-IP"),
    userAgent: request.headers.get("User-Agent"),
  };
  return {
    client,
    stamp: {
      source: authorised.source.id,
      receivedAtMs,
      expiresAtS: Math.ceil(receivedAtMs / 1000) + config.dedupeS,
    },
    receivedAtMs,
    receivedAt: new Date(receivedAtMs).toISOString(),
    skewMaxMs: config.skewMaxMs,
    newId: () => clock.uuid(),
    rules: authorised.rulesOf(client),
  };
}

/** A request's body: parsed, or taken in already. */
type Sent = Parsed | Ingested;

const isBot = createBotTest();

function readOpen(
  batch: OpenBatch,
  body: Body,
  source: Source,
  table: string,
  receiving: Receiving,
): Sent | Refused {
  const envelope = takesAsSent(source) ? envelopeOf(batch.body, false) : null;
  if (envelope === null || "kind" in envelope) return parseBody(body);
  const { client, stamp, receivedAt, skewMaxMs } = receiving;
  const plain = readPlain(batch, {
    envelope,
    stamp,
    receivedAt,
    skewMaxMs,
    eventsMax: REQUEST_LIMITS.eventsMax,
    table,
    isBot,
    clientIsBot: client.userAgent !== null && isBot(client.userAgent),
  });
  return (plain === null ? null : ingestRest(plain, envelope, receiving)) ?? parseBody(body);
}

async function take(
  call: Call,
  request: Request,
  sent: Sent,
  receiving: Receiving,
  route: Route<Site>,
  bindings: Bindings,
  clock: Clock,
): Promise<Response> {
  const ingested =
    sent.kind === "ingested" ? sent : ingest(call, sent.body, { ...receiving, dirty: sent.dirty });
  if (ingested.kind === "refused") return answerRefused(request, ingested);
  const { stamp } = receiving;
  const prepared = await prepare(ingested, stamp, route);
  // Not awaited here: what the body was parsed to would be kept until the table has answered.
  return store(call, request, prepared, route, stamp, bindings, clock);
}

async function handle(
  call: Call,
  request: Request,
  isolate: Isolate,
  lease: Lease,
  bindings: Bindings,
  clock: Clock,
): Promise<Response> {
  const body = await readBody(request);
  if (body.kind === "refused") return answerRefused(request, body);
  // Only now is it known what a compressed body holds.
  if (!lease.hold(body.bytes.length, clock.nowMs())) return answerRefused(request, busy, retryAfterS(clock));
  let opened = (call.kind === "batch" ? openBatch(body.bytes) : null) ?? parseBody(body);
  if (opened.kind === "refused") return answerRefused(request, opened);
  let authorised = await authorise(request, opened.body, body.sent, bindings, clock);
  // A list behind the batch is taken for the batch's end, and hides what stands between: such as the write key.
  if (authorised.kind === "refused" && opened.kind === "open") {
    opened = parseBody(body);
    if (opened.kind === "refused") return answerRefused(request, opened);
    authorised = await authorise(request, opened.body, body.sent, bindings, clock);
  }
  if (authorised.kind === "refused") {
    return answerRefused(request, authorised, authorised.status === 503 ? retryAfterS(clock) : undefined);
  }
  const { source } = authorised;
  // Asking the platform where the client is costs; one region needs no answer.
  const position = isolate.sites.length > 1 ? positionOf(request.cf) : null;
  const route: Route<Site> | null = routeOf(source, isolate.sites, position);
  if (route === null) return answerRefused(request, strayHome, retryAfterS(clock));
  const receiving = receive(request, authorised, isolate, clock);
  const sent =
    opened.kind === "open" ? readOpen(opened, body, source, eventsTable(route), receiving) : opened;
  if (sent.kind === "refused") return answerRefused(request, sent);
  const count = sent.kind === "ingested" ? sent.total : countOf(sent.body);
  const limited = await limitRate(authorised, count, bindings, clock);
  if (limited.kind === "limited") {
    const response = answerRefused(request, rateLimited, limited.waitMs / 1000);
    const resetS = Math.ceil((clock.nowMs() + limited.waitMs) / 1000);
    response.headers.set("X-RateLimit-Reset", String(resetS));
    return response;
  }
  return take(call, request, sent, receiving, route, bindings, clock);
}

/** Throws a VarveError that names the bindings at fault, if any is. */
export function checkBindings(bindings: Bindings): void {
  isolateOf(bindings);
}

/** A body whose length is not told may be as long as they come. */
function bytesOf(request: Request): number {
  const told = Number(request.headers.get("Content-Length") ?? REQUEST_LIMITS.bytesMax);
  return Math.min(REQUEST_LIMITS.bytesMax, Number.isFinite(told) ? told : REQUEST_LIMITS.bytesMax);
}

/** Answers a request that sends events or objects. Past what an isolate can hold, it sheds. */
export async function handleCall(
  call: Call,
  request: Request,
  bindings: Bindings,
  clock: Clock,
): Promise<Response> {
  const isolate = isolateOf(bindings);
  const lease = isolate.load.take(bytesOf(request), clock.nowMs());
  if (lease === null) {
    await drainBody(request);
    return answerRefused(request, busy, retryAfterS(clock));
  }
  try {
    return await handle(call, request, isolate, lease, bindings, clock);
  } finally {
    lease.release();
  }
}

/** Why the message could not be drained; null when it could. */
async function faultOfDraining(body: unknown, bindings: Bindings, clock: Clock): Promise<string | null> {
  const isolate = isolateOf(bindings);
  const unpacked = unpackSpill(body);
  if (unpacked === null) return "a message is none of ours";
  const site = isolate.sites.find(({ region }) => region.name === unpacked.region);
  if (site === undefined) return `no region ${unpacked.region}`;
  const name = site.region.table;
  const table = { dynamo: site.dynamo, name, clock, limits: TABLE_LIMITS, budget: { left: 1_000 } };
  const outcome = await writeTable(table, workFor(name, unpacked));
  if (outcome.failure !== null) return outcome.failure.reason;
  const [refusal] = outcome.unwritable;
  if (refusal === undefined) return null;
  return `the table refused ${outcome.unwritable.length} for good: ${refusal.message}`;
}

/** Drains the spill queue. What never drains ends in the dead-letter queue, which loses nothing either. */
export async function drainQueue(batch: MessageBatch, bindings: Bindings, clock: Clock): Promise<void> {
  for (const message of batch.messages) {
    // What throws is not to keep the messages behind it, nor to take the delays from them all.
    const fault = await faultOfDraining(message.body, bindings, clock).catch(reasonOf);
    if (fault === null) {
      message.ack();
      continue;
    }
    log("queue", fault);
    message.retry({ delaySeconds: drainDelayS(message.attempts) });
  }
}
