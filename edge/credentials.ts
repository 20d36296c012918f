/** Where SDKs put the write key: Basic auth's user name, the body, Bearer, or the query string. */
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

/**
 * Basic first; then the body, before Bearer, because an SDK that signs in with OAuth sends a token that is
 * no write key there.
 */
export function writeKeyOf(
  authorization: string | null,
  body: unknown,
  query: URLSearchParams,
): string | null {
  const [, scheme, value] = SCHEME.exec(authorization ?? "") ?? [];
  if (scheme?.toLowerCase() === "basic" && value !== undefined) {
    const user = basicUser(value);
    if (user !== null) return user;
  }
  const bearer = scheme?.toLowerCase() === "bearer" ? value : undefined;
  const inBody = isJsonObject(body) ? (body["writeKey"] ?? body["write_key"]) : undefined;
  for (const key of [inBody, bearer, query.get("writeKey")]) {
    if (typeof key === "string" && key !== "") return key;
  }
  return null;
}
