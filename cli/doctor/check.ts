/**
 * A check: one thing that must hold before first use, and what to do when it does not. Checks run in order; one
 * whose ground has failed is passed over, so that a report names causes and not their consequences.
 */
import { describeError, VarveError } from "../../shared/errors.ts";

/** `warn`: it works, but not as it should; `skipped`: its ground has failed, or there is no such thing here. */
export type Status = "ok" | "warn" | "fail" | "skipped";

export type Finding = {
  readonly status: Status;
  /** What was found. */
  readonly found: string;
  readonly fix?: string | undefined;
};

export type Check = {
  readonly id: string;
  readonly title: string;
  /** Ids of the checks that must not have failed. */
  readonly needs?: readonly string[];
  /** What it throws is a failure. */
  readonly run: () => Promise<Finding>;
  /** What to do when it throws, and the error does not say more. */
  readonly fix: string;
};

export type Result = Finding & { readonly id: string; readonly title: string };

export const ok = (found: string): Finding => ({ status: "ok", found });
export const warn = (found: string, fix: string): Finding => ({ status: "warn", found, fix });
export const fail = (found: string, fix: string): Finding => ({ status: "fail", found, fix });
export const skipped = (found: string): Finding => ({ status: "skipped", found });

export async function runChecks(
  checks: readonly Check[],
  onResult: (result: Result) => Promise<void>,
): Promise<readonly Result[]> {
  const results: Result[] = [];
  /** The titles of those that were not met, by id. */
  const unmet = new Map<string, string>();
  for (const { id, title, needs = [], run, fix } of checks) {
    const ground = needs.map((need) => unmet.get(need)).find((one) => one !== undefined);
    const finding =
      ground === undefined
        ? await run().catch((error: unknown) => fail(firstLine(describeError(error)), fixOf(error, fix)))
        : skipped(`waits for: ${ground}`);
    if (ground !== undefined || finding.status === "fail") unmet.set(id, title.replace(CALLS, ""));
    const result = { id, title, ...finding };
    results.push(result);
    await onResult(result);
  }
  return results;
}

/** What a title says in brackets of the calls that are made. */
const CALLS = / \([^()]*\)$/;

const firstLine = (text: string): string => text.split("\n")[0] ?? text;

/** Not allowed: that is the check's own matter. */
const DENIED = new Set(["AccessDenied", "AccessDeniedException"]);
const BAD_CREDENTIALS = new Set([
  "UnrecognizedClientException",
  "InvalidSignatureException",
  "ExpiredTokenException",
  "IncompleteSignatureException",
]);

const PASSING = new Set(["ThrottlingException", "LimitExceededException", "RequestLimitExceeded"]);

function fixOf(error: unknown, fix: string): string {
  const cause = error instanceof VarveError ? error.cause : error;
  if (!(cause instanceof Error) || DENIED.has(cause.name)) return fix;
  if (error instanceof VarveError) return error.fix;
  if (BAD_CREDENTIALS.has(cause.name))
    return "The credentials are wrong or no longer valid: check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.";
  if (cause.name === "TimeoutError" || ("code" in cause && typeof cause.code === "string"))
    return "It does not answer: check the network, AWS_REGION and DYNAMODB_ENDPOINT.";
  if (PASSING.has(cause.name) || ("$fault" in cause && cause.$fault === "server"))
    return "That is the service's own trouble, and passes: run this again in a minute.";
  return fix;
}
