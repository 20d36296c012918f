/**
 * Who may look. Pure.
 *
 * - On loopback without a token, only under a name of this machine: a page elsewhere whose name is made to point
 *   here (DNS rebinding) sends its own name as Host.
 * - With a token, whoever knows it: as `Authorization: Bearer`, as the cookie that signing in sets, or once as
 *   `?token=`, which signs in.
 * - Only GET and HEAD, whatever the path.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { VarveError } from "../shared/errors.ts";

export type Asked = {
  readonly method: string;
  readonly host: string | undefined;
  readonly authorization: string | undefined;
  readonly cookie: string | undefined;
  /** Of the address's query. */
  readonly token: string | null;
  /** Sec-Fetch-Site, where the browser says it. */
  readonly site: string | undefined;
  /** False for the page itself, which may be linked to from elsewhere. */
  readonly isData: boolean;
};

export type Admission =
  | { readonly kind: "admitted" }
  /** The token is right: give this cookie, and go on without the token in the address. */
  | { readonly kind: "signed-in"; readonly cookie: string }
  | {
      readonly kind: "refused";
      readonly status: 401 | 403 | 405;
      readonly code: string;
      readonly message: string;
      readonly fix: string;
    };

export type Rules = { readonly token: string | undefined; readonly port: number };

export const isLoopback = (host: string): boolean =>
  /^(?:localhost|\[?::1\]?|127(?:\.\d{1,3}){3})$/i.test(host);

/** Throws `console_needs_token` where anyone who can connect could look. */
export function checkExposure(host: string, token: string | undefined): void {
  if (isLoopback(host) || token !== undefined) return;
  throw new VarveError(
    "console_needs_token",
    `the console would listen on ${host} for whoever can reach it, without a token.`,
    "Set VARVE_CONSOLE_TOKEN (such as the output of `openssl rand -hex 24`), or let it listen on 127.0.0.1 by giving VARVE_CONSOLE only a port.",
  );
}

export function admit(asked: Asked, { token, port }: Rules): Admission {
  if (asked.method !== "GET" && asked.method !== "HEAD") {
    return refused(405, "read_only", "the console only shows: it takes GET and HEAD", "Use GET.");
  }
  if (asked.isData && asked.site !== undefined && !["same-origin", "none"].includes(asked.site)) {
    return refused(403, "cross_site", "another site asked for this", "Open the console itself.");
  }
  if (token === undefined) {
    if (isLoopback(hostName(asked.host))) return { kind: "admitted" };
    return refused(
      403,
      "wrong_host",
      "the console on this machine answers only to localhost and 127.0.0.1",
      "Open it under that name, or give it a token: VARVE_CONSOLE_TOKEN.",
    );
  }
  const bearer = /^Bearer +(\S+)$/i.exec(asked.authorization ?? "")?.[1];
  if (bearer !== undefined && isEqual(bearer, token)) return { kind: "admitted" };
  const shown = cookieOf(asked.cookie, cookieName(port));
  if (shown !== null && isEqual(shown, pass(token))) return { kind: "admitted" };
  if (asked.token !== null && isEqual(asked.token, token)) {
    return {
      kind: "signed-in",
      cookie: `${cookieName(port)}=${pass(token)}; Path=/; HttpOnly; SameSite=Strict`,
    };
  }
  return refused(
    401,
    "token_needed",
    asked.token === null && bearer === undefined
      ? "the console needs its token"
      : "that is not the console's token",
    "Give VARVE_CONSOLE_TOKEN's value: as `Authorization: Bearer <token>`, or on the console's page.",
  );
}

const refused = (
  status: 401 | 403 | 405,
  code: string,
  message: string,
  fix: string,
): Extract<Admission, { kind: "refused" }> => ({ kind: "refused", status, code, message, fix });

/** Cookies do not tell ports of one host apart. */
const cookieName = (port: number): string => `varve_console_${port}`;

/** What the cookie holds: the token cannot be had from it. */
const pass = (token: string): string => createHash("sha256").update(`varve console ${token}`).digest("hex");

/** In a time that does not tell how much of it is right. */
function isEqual(given: string, wanted: string): boolean {
  const digest = (text: string): Buffer => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(given), digest(wanted));
}

const hostName = (host: string | undefined): string => (host ?? "").replace(/:\d+$/, "");

function cookieOf(header: string | undefined, name: string): string | null {
  for (const pair of (header ?? "").split(";")) {
    const [key, value] = pair.trim().split("=", 2);
    if (key === name && value !== undefined) return value;
  }
  return null;
}
