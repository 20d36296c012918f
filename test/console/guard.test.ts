/** Who may look at the console. */
import { describe, expect, test } from "vitest";
import type { Asked } from "../../console/guard.ts";
import { admit, checkExposure, isLoopback } from "../../console/guard.ts";

const TOKEN = "correct-horse-battery";
const asked = (some: Partial<Asked> = {}): Asked => ({
  method: "GET",
  host: "127.0.0.1:9463",
  authorization: undefined,
  cookie: undefined,
  token: null,
  site: undefined,
  isData: false,
  ...some,
});
const open = { token: undefined, port: 9463 };
const closed = { token: TOKEN, port: 9463 };

describe("without a token", () => {
  test.each(["127.0.0.1:9463", "localhost", "LOCALHOST:1", "[::1]:9463", "127.8.9.1"])(
    "%s is this machine",
    (host) => {
      expect(admit(asked({ host }), open)).toEqual({ kind: "admitted" });
    },
  );

  test.each([
    "evil.example",
    "evil.example:9463",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "10.0.0.7:9463",
    "",
    undefined,
  ])("a request for %s is refused: its name may have been made to point here", (host) => {
    expect(admit(asked({ host }), open)).toMatchObject({ kind: "refused", status: 403, code: "wrong_host" });
  });
});

describe("with a token", () => {
  test.each([
    ["Bearer", asked({ authorization: `Bearer ${TOKEN}` }), "admitted"],
    ["another host's name", asked({ authorization: `bearer ${TOKEN}`, host: "console.example" }), "admitted"],
    ["none", asked(), "refused"],
    ["a wrong one", asked({ authorization: "Bearer correct-horse-batterx" }), "refused"],
    ["the beginning of it", asked({ authorization: "Bearer correct" }), "refused"],
    ["Basic", asked({ authorization: `Basic ${TOKEN}` }), "refused"],
    ["the token itself as cookie", asked({ cookie: `varve_console_9463=${TOKEN}` }), "refused"],
    ["a wrong one in the address", asked({ token: "nonsense" }), "refused"],
    ["an empty one", asked({ token: "", authorization: "Bearer " }), "refused"],
  ])("%s", (_, request, kind) => {
    expect(admit(request, closed).kind).toBe(kind);
  });

  test("in the address it becomes a cookie that scripts cannot read, nor other sites send", () => {
    const admission = admit(asked({ token: TOKEN }), closed);
    if (admission.kind !== "signed-in") throw new Error(admission.kind);
    expect(admission.cookie).toMatch(/^varve_console_9463=[0-9a-f]{64}; Path=\/; HttpOnly; SameSite=Strict$/);
    expect(admission.cookie).not.toContain(TOKEN);
    const cookie = `other=1; ${admission.cookie.split(";")[0]}`;
    expect(admit(asked({ cookie }), closed)).toEqual({ kind: "admitted" });
    expect(admit(asked({ cookie }), { token: `${TOKEN}2`, port: 9463 }).kind).toBe("refused");
    expect(admit(asked({ cookie }), { token: TOKEN, port: 9464 }).kind).toBe("refused");
  });
});

test.each(["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])("%s is refused before anything else", (method) => {
  const refused = { kind: "refused", status: 405, code: "read_only" };
  expect(admit(asked({ method }), open)).toMatchObject(refused);
  expect(admit(asked({ method, authorization: `Bearer ${TOKEN}` }), closed)).toMatchObject(refused);
});

test("data is not for other sites; the page may be linked to", () => {
  expect(admit(asked({ isData: true, site: "cross-site" }), open)).toMatchObject({
    status: 403,
    code: "cross_site",
  });
  expect(admit(asked({ isData: true, site: "same-site" }), open)).toMatchObject({ status: 403 });
  expect(admit(asked({ isData: true, site: "same-origin" }), open).kind).toBe("admitted");
  expect(admit(asked({ isData: false, site: "cross-site" }), open).kind).toBe("admitted");
});

test("beyond loopback there is no console without a token", () => {
  expect(() => checkExposure("0.0.0.0", undefined)).toThrow(
    expect.objectContaining({ code: "console_needs_token" }),
  );
  expect(() => checkExposure("::", undefined)).toThrow(/without a token/);
  expect(() => checkExposure("0.0.0.0", TOKEN)).not.toThrow();
  for (const host of ["127.0.0.1", "localhost", "::1", "[::1]"]) expect(isLoopback(host)).toBe(true);
});
