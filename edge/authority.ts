/** Whether a request may write: its key, its source, its origin, its signature, its rate. */
import { within } from "../shared/clock.ts";
import type { Clock } from "../shared/clock.ts";
import type { Bindings } from "./config.ts";
import { writeKeyOf } from "./credentials.ts";
import { refused } from "./ingest.ts";
import type { Refused } from "./ingest.ts";
import { createRateLimiter } from "./rate.ts";
import type { CompiledSource } from "./rules.ts";
import { checkSignature, SIGNATURE_WINDOW_S } from "./signature.ts";
import type { SignatureCheck } from "./signature.ts";
import { createSourceCache } from "./sources.ts";
import type { Source } from "./sources.ts";

export type Authorised = {
  readonly kind: "authorised";
  readonly source: Source;
  readonly rulesOf: CompiledSource;
  readonly writeKey: string;
};

const sources = createSourceCache();
const limiter = createRateLimiter();

const noKey = refused(
  401,
  "no_write_key",
  "the request carries no write key",
  "send it as the user name of Basic auth, or as writeKey in the body",
);
const unknownKey = refused(
  401,
  "unknown_write_key",
  "no source has this write key",
  "check the key: varve sources list shows each source's keys",
);
const disabled = refused(
  401,
  "source_disabled",
  "the source of this write key is disabled",
  "enable it: varve sources enable",
);
const unreadable = refused(
  503,
  "source_unreadable",
  "the source's record in KV cannot be read",
  "write it again with varve sources",
);
const foreignOrigin = refused(
  403,
  "origin_not_allowed",
  "this source does not take events from this web origin",
  "name it among the source's: varve sources add <id> --origins <all of them>",
);

const SIGNATURE_FAULTS: Readonly<Record<Exclude<SignatureCheck, "valid">, string>> = {
  absent: "the request carries no signature, and its source wants one",
  stale: `the signature's time is more than ${SIGNATURE_WINDOW_S} s off`,
  wrong: "the signature is not of this body under this source's secret",
};

const badSignature = (check: Exclude<SignatureCheck, "valid">): Refused =>
  refused(
    401,
    `signature_${check}`,
    SIGNATURE_FAULTS[check],
    "send X-Varve-Signature: t=<unix seconds>,v1=<hex HMAC-SHA256 of t.body>",
  );

/** The secret's name: HMAC_ and the source's id in capitals, `-` as `_`. */
const signingSecretName = (sourceId: string): string => `HMAC_${sourceId.toUpperCase().replaceAll("-", "_")}`;

async function signatureFault(
  request: Request,
  sent: Uint8Array,
  source: Source,
  bindings: Bindings,
  nowMs: number,
): Promise<Refused | null> {
  const name = signingSecretName(source.id);
  const secret = bindings[name];
  if (typeof secret !== "string" || secret === "") {
    const message = "the source wants signatures and has no secret";
    return refused(503, "no_signing_secret", message, `npx wrangler secret put ${name}`);
  }
  const check = await checkSignature(request.headers.get("X-Varve-Signature"), secret, sent, nowMs);
  return check === "valid" ? null : badSignature(check);
}

/** By the key alone: what an SDK's settings need. */
export async function findSource(
  writeKey: string | null,
  bindings: Bindings,
  clock: Clock,
): Promise<Authorised | Refused> {
  if (writeKey === null) return noKey;
  const lookup = await sources.find(bindings.SOURCES, writeKey, clock);
  if (lookup.kind === "unknown") return unknownKey;
  if (lookup.kind === "unreadable") return unreadable;
  const { source, rulesOf } = lookup;
  return source.enabled ? { kind: "authorised", source, rulesOf, writeKey } : disabled;
}

export async function authorise(
  request: Request,
  body: unknown,
  sent: Uint8Array,
  bindings: Bindings,
  clock: Clock,
): Promise<Authorised | Refused> {
  const found = await findSource(writeKeyOf(request, body), bindings, clock);
  if (found.kind === "refused") return found;
  const { source } = found;
  const origin = request.headers.get("Origin");
  if (origin !== null && source.origins.length > 0 && !source.origins.includes(origin)) return foreignOrigin;
  if (!source.signed) return found;
  return (await signatureFault(request, sent, source, bindings, clock.nowMs())) ?? found;
}

export type Limited = { readonly kind: "passed" } | { readonly kind: "limited"; readonly waitMs: number };

const PASSED: Limited = { kind: "passed" };
/** The platform's limiter counts in periods of 10 s or 60 s, and does not say how much is left of one. */
const LIMITER_WAIT_MS = 10_000;
/** What a limiter that does not answer may cost a request. */
const LIMITER_MS = 1_000;

/**
 * The source's own limit, of events in this isolate; then the platform's, of requests in this location, where
 * it is configured. A limiter that fails or does not answer lets all through: it is there to protect, and an outage does not.
 */
export async function limitRate(
  { source, writeKey }: Authorised,
  events: number,
  bindings: Bindings,
  clock: Clock,
): Promise<Limited> {
  if (source.rateLimit !== undefined) {
    const take = limiter.take(source.id, source.rateLimit, events, clock.nowMs());
    if (take.kind === "empty") return { kind: "limited", waitMs: take.waitMs };
  }
  if (bindings.LIMITER === undefined) return PASSED;
  const limiting = within(bindings.LIMITER.limit({ key: writeKey }), LIMITER_MS, clock);
  const { success } = await limiting.catch(() => ({ success: true }));
  return success ? PASSED : { kind: "limited", waitMs: LIMITER_WAIT_MS };
}
