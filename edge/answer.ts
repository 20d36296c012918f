/** Answers: always a JSON object, always with CORS headers. */
import type { Refused, Rejection } from "./ingest.ts";

const PREFLIGHT_MAX_AGE_S = 86_400;

/**
 * `*` does not cover Authorization, so what a preflight asks for is echoed. A beacon, and an SDK that is told to, sends
 * cookies along, which a browser refuses unless they are allowed by name; here nobody reads them.
 */
function corsHeaders(request: Request): Record<string, string> {
  const origin = request.headers.get("Origin");
  const allowed: Record<string, string> =
    origin === null
      ? { "Access-Control-Allow-Origin": "*" }
      : { "Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true" };
  return {
    ...allowed,
    "Content-Type": "application/json; charset=utf-8",
    "Access-Control-Expose-Headers": "Retry-After, X-RateLimit-Reset",
    "Cache-Control": "no-store",
    Vary: "Origin",
  };
}

export function answerJson(request: Request, status: number, body: object): Response {
  return new Response(JSON.stringify(body), { status, headers: corsHeaders(request) });
}

export function answerPreflight(request: Request): Response {
  const headers = new Headers(corsHeaders(request));
  headers.delete("Content-Type");
  headers.set("Access-Control-Allow-Methods", "GET, POST, OPTIONS");
  headers.set("Access-Control-Max-Age", String(PREFLIGHT_MAX_AGE_S));
  const asked = request.headers.get("Access-Control-Request-Headers");
  if (asked !== null) headers.set("Access-Control-Allow-Headers", asked);
  return new Response(null, { status: 204, headers });
}

export function answerRefused(request: Request, refusal: Refused, retryAfterS?: number): Response {
  const { status, code, message, fix } = refusal;
  const response = answerJson(request, status, { error: TITLES[status], code, message, fix });
  // Most SDKs read whole seconds only.
  if (retryAfterS !== undefined)
    response.headers.set("Retry-After", String(Math.max(1, Math.ceil(retryAfterS))));
  return response;
}

const TITLES: Readonly<Record<Refused["status"], string>> = {
  400: "bad request",
  401: "unauthorized",
  403: "forbidden",
  404: "not found",
  405: "method not allowed",
  429: "too many requests",
  503: "unavailable",
};

export function answerAccepted(
  request: Request,
  accepted: number,
  rejected: readonly Omit<Rejection, "event">[],
): Response {
  if (rejected.length === 0) return answerJson(request, 200, { success: true });
  return answerJson(request, 200, {
    success: true,
    accepted,
    rejected: rejected.map(({ index, messageId, code, message }) => ({ index, messageId, code, message })),
  });
}
