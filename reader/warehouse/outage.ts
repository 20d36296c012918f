/** Whether a failure passes by itself: a server that is away, not a password that is wrong. Pure. */
import { VarveError } from "../../shared/errors.ts";

const WAIT_MS_MIN = 500;
const WAIT_MS_MAX = 30_000;

/** Between the nth failure in a row and the next try, ms. */
export const waitMs = (nth: number): number => Math.min(WAIT_MS_MAX, WAIT_MS_MIN * 2 ** Math.min(nth, 10));

export function isOutage(error: unknown): error is VarveError {
  if (!(error instanceof VarveError)) return false;
  if (error.code === "warehouse_unreachable") return isPostgresAway(error.cause);
  return error.code === "store_unreadable" && isStoreAway(error.cause);
}

/** No such role or a wrong password (28), no such database (3D): SQLSTATE. */
function isPostgresAway(cause: unknown): boolean {
  const code = (cause as { readonly code?: unknown } | undefined)?.code;
  return !(typeof code === "string" && /^(?:28|3D)[0-9A-Z]{3}$/.test(code));
}

/** An answer of 4xx is meant, but for those that ask for patience. */
function isStoreAway(cause: unknown): boolean {
  const status = (cause as { readonly $metadata?: { readonly httpStatusCode?: unknown } } | undefined)
    ?.$metadata?.httpStatusCode;
  if (typeof status !== "number") return true;
  return status < 400 || status >= 500 || status === 408 || status === 429;
}
