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
import type { Call, Refused } from "./ingest.ts";
import { log, reasonOf } from "./log.ts";
import { openApi } from "./openapi.ts";
import { rudderSourceConfig, segmentSettings } from "./settings.ts";

const SHORT = { track: "t", identify: "i", page: "p", screen: "s", group: "g", alias: "a" } as const;

const CALLS = new Map<string, Call>([
  ...EVENT_TYPES.flatMap((type): [string, Call][] => [
    [`/v1/${type}`, { kind: "single", type }],
    [`/v1/${SHORT[type]}`, { kind: "single", type }],
  ]),
  ["/v1/batch", { kind: "batch" }],
  ["/v1/import", { kind: "batch" }],
  ["/v1/b", { kind: "batch" }],
  ["/beacon/v1/batch", { kind: "batch" }],
  ["/v1/set", { kind: "set" }],
]);

/** SDKs' own telemetry: taken, so that they are content, and not kept. */
const TELEMETRY = ["/v1/m", "/rsaMetrics"];

const wrongMethod = (allowed: string): Refused =>
  refused(405, "wrong_method", `this path takes ${allowed}`, `send it with ${allowed}`);
const unknownPath = refused(404, "unknown_path", "no such path", "see /openapi.json for those there are");
const failed = refused(503, "internal", "the gateway failed", "send it again; if it lasts, see its log");

type App = Hono<{ Bindings: Bindings }>;

async function settingsAnswer(
  request: Request,
  writeKey: string | null,
  bindings: Bindings,
  clock: Clock,
  kind: "segment" | "rudder",
): Promise<Response> {
  const found = await findSource(writeKey, bindings, clock);
  if (found.kind === "refused") return answerRefused(request, found);
  if (kind === "rudder") return answerJson(request, 200, rudderSourceConfig(found.source, found.writeKey));
  return answerJson(request, 200, segmentSettings(found.writeKey, new URL(request.url)));
}

function addReads(app: App, clock: Clock): void {
  for (const path of ["/v1/projects/:key/settings", "/projects/:key/settings"]) {
    app.get(path, (c) => settingsAnswer(c.req.raw, c.req.param("key") ?? null, c.env, clock, "segment"));
  }
  app.get("/sourceConfig", (c) =>
    settingsAnswer(c.req.raw, writeKeyOf(c.req.raw, null), c.env, clock, "rudder"),
  );
  app.get("/healthz", (c) => {
    checkBindings(c.env);
    return answerJson(c.req.raw, 200, { status: "ok" });
  });
  app.get("/openapi.json", (c) => answerJson(c.req.raw, 200, openApi([...CALLS])));
  for (const path of [
    "/v1/projects/:key/settings",
    "/projects/:key/settings",
    "/sourceConfig",
    "/healthz",
    "/openapi.json",
  ]) {
    app.all(path, async (c) => {
      await drainBody(c.req.raw);
      return answerRefused(c.req.raw, wrongMethod("GET"));
    });
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
    app.all(path, async (c) => {
      await drainBody(c.req.raw);
      return answerRefused(c.req.raw, wrongMethod("POST"));
    });
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
    return answerRefused(c.req.raw, failed, 1 + Math.floor(clock.random() * 5));
  });
  return app;
}

const app = createApp(systemClock);

export default {
  fetch: app.fetch,
  queue: (batch: MessageBatch, bindings: Bindings): Promise<void> => drainQueue(batch, bindings, systemClock),
};
