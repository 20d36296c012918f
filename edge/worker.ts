/** The routes. Everything under this file takes its clock, its bindings and its limits as arguments. */
import { Hono } from "hono";
import { systemClock } from "../shared/clock.ts";
import type { Clock } from "../shared/clock.ts";
import { VarveError } from "../shared/errors.ts";
import { EVENT_TYPES } from "../shared/event.ts";
import { answerJson, answerPreflight, answerRefused } from "./answer.ts";
import { findSource } from "./authority.ts";
import { drainBody } from "./body.ts";
import type { Bindings } from "./config.ts";
import { writeKeyOf } from "./credentials.ts";
import { checkBindings, drainQueue, handleCall } from "./gateway.ts";
import { refused } from "./ingest.ts";
import type { Call } from "./ingest.ts";
import { log, reasonOf } from "./log.ts";
import { openApi } from "./openapi.ts";
import type { Route } from "./openapi.ts";
import { rudderSourceConfig, segmentSettings } from "./settings.ts";
import type { Source } from "./sources.ts";

const SHORT = { track: "t", identify: "i", page: "p", screen: "s", group: "g", alias: "a" } as const;

const CALLS = new Map<string, Call>([
  ...EVENT_TYPES.flatMap((type): [string, Call][] => [
    [`/v1/${type}`, { kind: "single", type }],
    [`/v1/${SHORT[type]}`, { kind: "single", type }],
    [`/api/s/${type}`, { kind: "single", type }],
    [`/api/s/s2s/${type}`, { kind: "single", type }],
  ]),
  ["/v1/batch", { kind: "batch" }],
  ["/v1/import", { kind: "batch" }],
  ["/v1/b", { kind: "batch" }],
  ["/beacon/v1/batch", { kind: "batch" }],
  ["/api/s/batch", { kind: "batch" }],
  ["/api/s/s2s/batch", { kind: "batch" }],
  ["/v1/set", { kind: "set" }],
]);

/** SDKs' own telemetry: taken, so that they are content, and not kept. */
const TELEMETRY = ["/v1/m", "/rsaMetrics"];

type Reading = {
  readonly request: Request;
  readonly bindings: Bindings;
  readonly clock: Clock;
  /** What the path says. */
  readonly key: string | null;
};
type Read = Route & {
  readonly kind: "read";
  readonly answer: (reading: Reading) => Promise<Response> | Response;
};

/** Whole seconds, spread out. */
const retryAfterS = (clock: Clock): number => 1 + Math.floor(clock.random() * 5);

async function answerSettings(
  { request, bindings, clock, key }: Reading,
  settingsOf: (source: Source, writeKey: string) => object,
): Promise<Response> {
  const found = await findSource(key ?? writeKeyOf(request, null), bindings, clock);
  if (found.kind === "authorised") {
    return answerJson(request, 200, settingsOf(found.source, found.writeKey));
  }
  return answerRefused(request, found, found.status === 503 ? retryAfterS(clock) : undefined);
}

const answerSegment = (reading: Reading): Promise<Response> =>
  answerSettings(reading, (_, writeKey) => segmentSettings(writeKey, new URL(reading.request.url)));

/** What SDKs and people fetch; a variable of a path stands as `{name}`. */
const READS: readonly Read[] = [
  ...["/v1/projects/{key}/settings", "/projects/{key}/settings"].map((path): Read => ({
    kind: "read",
    path,
    summary: "Segment's settings",
    keyed: true,
    answer: answerSegment,
  })),
  {
    kind: "read",
    path: "/sourceConfig",
    summary: "RudderStack's source configuration",
    keyed: true,
    answer: (reading) => answerSettings(reading, rudderSourceConfig),
  },
  {
    kind: "read",
    path: "/healthz",
    summary: "Whether the worker is configured",
    keyed: false,
    answer: ({ request, bindings }) => {
      checkBindings(bindings);
      return answerJson(request, 200, { status: "ok" });
    },
  },
  {
    kind: "read",
    path: "/openapi.json",
    summary: "This document",
    keyed: false,
    answer: ({ request }) => answerJson(request, 200, openApi(ROUTES)),
  },
];

const ROUTES: readonly Route[] = [
  ...Array.from(CALLS, ([path, call]): Route => ({ kind: "call", path, call })),
  ...TELEMETRY.map((path): Route => ({ kind: "telemetry", path })),
  ...READS,
];

const ALLOWED = { GET: "GET, HEAD, OPTIONS", POST: "POST, OPTIONS" } as const;

async function answerWrongMethod(request: Request, method: keyof typeof ALLOWED): Promise<Response> {
  await drainBody(request);
  const fault = refused(405, "wrong_method", `this path takes ${method}`, `send it with ${method}`);
  const response = answerRefused(request, fault);
  response.headers.set("Allow", ALLOWED[method]);
  return response;
}

const unknownPath = refused(404, "unknown_path", "no such path", "see /openapi.json for those there are");
const failed = refused(503, "internal", "the gateway failed", "send it again; if it lasts, see its log");

type App = Hono<{ Bindings: Bindings }>;

function addReads(app: App, clock: Clock): void {
  for (const { path, answer } of READS) {
    const pattern = path.replaceAll(/\{(\w+)\}/g, ":$1");
    app.get(pattern, (c) =>
      answer({ request: c.req.raw, bindings: c.env, clock, key: c.req.param("key") ?? null }),
    );
    app.all(pattern, (c) => answerWrongMethod(c.req.raw, "GET"));
  }
}

function addCalls(app: App, clock: Clock): void {
  for (const [path, call] of CALLS) app.post(path, (c) => handleCall(call, c.req.raw, c.env, clock));
  for (const path of TELEMETRY) {
    app.post(path, async (c) => {
      await drainBody(c.req.raw);
      return answerJson(c.req.raw, 200, { success: true });
    });
  }
  for (const path of [...CALLS.keys(), ...TELEMETRY]) {
    app.all(path, (c) => answerWrongMethod(c.req.raw, "POST"));
  }
}

function createApp(clock: Clock): App {
  const app: App = new Hono<{ Bindings: Bindings }>({ strict: false });
  app.options("*", (c) => answerPreflight(c.req.raw));
  addCalls(app, clock);
  addReads(app, clock);
  app.notFound(async (c) => {
    await drainBody(c.req.raw);
    return answerRefused(c.req.raw, unknownPath);
  });
  app.onError((error, c) => {
    log("worker", reasonOf(error));
    if (error instanceof VarveError) {
      const fault = refused(503, error.code, error.message, error.fix);
      return answerRefused(c.req.raw, fault, 30);
    }
    return answerRefused(c.req.raw, failed, retryAfterS(clock));
  });
  return app;
}

const app = createApp(systemClock);

export default {
  fetch: app.fetch,
  queue: (batch: MessageBatch, bindings: Bindings): Promise<void> => drainQueue(batch, bindings, systemClock),
};
