/** What comes before any call: credentials, the clock, and whether the edge answers. */
import type { Check, Finding } from "./check.ts";
import { fail, ok, skipped, warn } from "./check.ts";

export type EnvironmentChecksDeps = {
  readonly credentials: () => Promise<{
    readonly accessKeyId: string;
    readonly expiration?: Date | undefined;
  }>;
  /** Where a Date header can be had. */
  readonly endpoints: readonly string[];
  readonly edge: string | undefined;
  readonly nowMs: () => number;
  readonly fetch: typeof fetch;
};

const TIMEOUT_MS = 10_000;
/** AWS refuses signatures that are off by more than five minutes, S3 by more than fifteen. */
const SKEW_FAIL_MS = 240_000;
const SKEW_WARN_MS = 5_000;
const EXPIRES_SOON_MS = 15 * 60_000;

export function environmentChecks(deps: EnvironmentChecksDeps): readonly Check[] {
  const { credentials, endpoints, edge, nowMs } = deps;
  const checks: Check[] = [
    {
      id: "credentials",
      title: "there are credentials",
      fix: "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run with a role.",
      run: async () => {
        const { accessKeyId, expiration } = await credentials();
        const key = `access key …${accessKeyId.slice(-4)}`;
        if (expiration === undefined) return ok(key);
        const leftMs = expiration.getTime() - nowMs();
        return leftMs > EXPIRES_SOON_MS
          ? ok(`${key}, until ${expiration.toISOString()}`)
          : warn(`${key} expires ${expiration.toISOString()}`, "Take new ones: sign in again.");
      },
    },
    {
      id: "clock",
      title: "this machine's clock",
      fix: REACH,
      run: async () => {
        for (const endpoint of endpoints) {
          const askedMs = nowMs();
          const answer = await ask(deps, endpoint);
          if (answer instanceof Error) return unanswered(endpoint, answer, REACH);
          await answer.arrayBuffer();
          const date = Date.parse(answer.headers.get("date") ?? "");
          if (Number.isNaN(date)) continue;
          return clockFinding(skewMs(date, askedMs, nowMs()), new URL(endpoint).host);
        }
        return skipped("no endpoint gives a Date header");
      },
    },
  ];
  if (edge === undefined) return checks;
  return [
    ...checks,
    {
      id: "edge",
      title: "the edge answers",
      fix: DEPLOY,
      run: async () => {
        const answer = await ask(deps, new URL("/healthz", edge));
        if (answer instanceof Error) return unanswered(edge, answer, DEPLOY);
        return answer.ok
          ? ok(`${edge}: ${answer.status}`)
          : fail(
              `${edge}/healthz answered ${answer.status}`,
              "`npx wrangler tail --env production` shows why.",
            );
      },
    },
  ];
}

const REACH = "Check the network, S3_ENDPOINT and DYNAMODB_ENDPOINT.";
const DEPLOY = "Deploy the worker (docs/deploy.md), or correct --edge.";

/** The answer, or why there is none. */
const ask = ({ fetch }: EnvironmentChecksDeps, url: string | URL): Promise<Response | Error> =>
  fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) }).catch((error: Error) =>
    error.cause instanceof Error ? error.cause : error,
  );

const unanswered = (url: string, { message }: Error, fix: string): Finding =>
  fail(`${url} does not answer: ${message}`, fix);

/** How far off the clock is, ms: 0 while the header, a whole second, fits between asking and the answer. */
export function skewMs(dateMs: number, askedMs: number, answeredMs: number): number {
  if (askedMs >= dateMs + 1000) return askedMs - (dateMs + 999);
  return answeredMs < dateMs ? answeredMs - dateMs : 0;
}

function clockFinding(offMs: number, host: string): Finding {
  const off = `${Math.abs(offMs) / 1000} s ${offMs > 0 ? "ahead of" : "behind"} ${host}`;
  const fix = "Let it follow NTP: timedatectl set-ntp true.";
  if (Math.abs(offMs) >= SKEW_FAIL_MS) return fail(`${off}: signatures will be refused`, fix);
  if (Math.abs(offMs) >= SKEW_WARN_MS) return warn(off, fix);
  return ok(`agrees with ${host}${offMs === 0 ? "" : ` within ${Math.abs(offMs)} ms`}`);
}
