/** Where SDKs put the write key: Basic auth's user name, a header, the body, Bearer or the query string. */
import { isJsonObject } from "../shared/json.ts";

function basicUser(encoded: string): string | null {
  try {
    const [user] = atob(encoded).split(":", 1);
    return user === undefined || user === "" ? null : user;
  } catch {
    return null;
  }
}

const SCHEME = /^(basic|bearer)\s+(\S+)\s*$/i;

/** `?writeKey=` without parsing every request's URL, which most do not need. */
function queryKey(url: string): string | null {
  if (!url.includes("writeKey=") && !url.includes("write_key=")) return null;
  const query = new URL(url).searchParams;
  return firstKey(query.get("writeKey"), query.get("write_key"));
}

/** An empty key is none. */
const firstKey = (...keys: readonly unknown[]): string | null =>
  keys.find((key): key is string => typeof key === "string" && key !== "") ?? null;

/**
 * Basic first. The header before the body, where Jitsu's SDK sends the key with its secret masked; the body before
 * Bearer, because an SDK that signs in with OAuth sends a token that is no write key there.
 */
export function writeKeyOf(request: Request, body: unknown): string | null {
  const [, scheme, value] = SCHEME.exec(request.headers.get("Authorization") ?? "") ?? [];
  if (scheme?.toLowerCase() === "basic" && value !== undefined) {
    const user = basicUser(value);
    if (user !== null) return user;
  }
  const sent = isJsonObject(body) ? [body["writeKey"], body["write_key"]] : [];
  const told = firstKey(request.headers.get("X-Write-Key"), ...sent);
  if (told !== null) return told;
  if (scheme?.toLowerCase() === "bearer" && value !== undefined) return value;
  return queryKey(request.url);
}
