/** Who may ask the console, and how. */
import { connect } from "node:net";
import { afterEach, expect, test } from "vitest";
import { readAssets } from "../../console/assets.ts";
import { memoryStore } from "../fakes/store.ts";
import { open, laidStore, closeAll } from "./opened.ts";

const TOKEN = "correct-horse-battery";

afterEach(closeAll);

/** As it stands, which no client would send. */
const raw = (port: number, sent: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(sent));
    let text = "";
    socket.on("data", (chunk) => (text += chunk.toString()));
    socket.on("close", () => resolve(text));
    socket.on("error", reject);
  });

test.each(["POST", "PUT", "PATCH", "DELETE"])("%s is refused everywhere", async (method) => {
  const { ask } = await open(memoryStore());
  for (const path of ["/", "/api/state", "/api/events", "/nowhere"]) {
    expect(await ask(path, {}, method)).toMatchObject({ status: 405, headers: { allow: "GET, HEAD" } });
  }
});

test("what is not there is 404, and so is what lies beside the page", async () => {
  const { ask } = await open(memoryStore());
  for (const path of [
    "/nowhere",
    "/api",
    "/console.ts",
    "/index.html",
    "/../package.json",
    "/%2e%2e/package.json",
    "/tsconfig.json",
  ])
    expect((await ask(path)).status).toBe(404);
  expect(JSON.parse((await ask("/nowhere")).text)).toMatchObject({ code: "unknown_path" });
});

test.each([
  ["nothing but slashes", "//"],
  ["another host's path", "///evil.example"],
  ["half an escape", "/%"],
  ["an address that is none", "http://["],
  ["a star", "*"],
  ["a backslash", "/\\"],
  ["half an escape in the token", "/?token=%"],
  ["a very long path", `/${"a/".repeat(4_000)}`],
])("%s does no harm", async (_, path) => {
  const { ask, port } = await open(memoryStore());
  const text = await raw(port, `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n`);
  expect(text).toMatch(/^HTTP\/1\.1 (?:200|400|404) /);
  expect((await ask("/")).status).toBe(200);
});

test("HEAD is GET without the body", async () => {
  const { ask } = await open(memoryStore());
  const { status, text, headers } = await ask("/", {}, "HEAD");
  expect({ status, text }).toEqual({ status: 200, text: "" });
  expect(Number(headers["content-length"])).toBeGreaterThan(500);
});

test("only its own scripts may run, nothing may frame it, nothing of it is kept", async () => {
  const { ask } = await open(memoryStore());
  for (const path of ["/", "/app.js", "/api/state", "/nowhere"]) {
    const { headers } = await ask(path);
    const policy = String(headers["content-security-policy"]);
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("frame-ancestors 'none'");
    expect(policy).not.toContain("unsafe");
    expect(headers).toMatchObject({
      "x-content-type-options": "nosniff",
      "referrer-policy": "no-referrer",
    });
    expect(headers["access-control-allow-origin"]).toBeUndefined();
  }
  expect((await ask("/api/state")).headers["cache-control"]).toBe("no-store");
  expect((await ask("/app.js")).headers["cache-control"]).toBe("no-cache");
});

test("the page is small, whole, and refers to nothing elsewhere", async () => {
  const { ask } = await open(memoryStore());
  let bytes = 0;
  for (const [path, asset] of readAssets()) {
    bytes += asset.body.byteLength;
    if (path.endsWith(".html")) continue;
    expect(await ask(path)).toMatchObject({ status: 200, headers: { "content-type": asset.type } });
  }
  expect(bytes).toBeLessThan(200_000);
  const page = (await ask("/")).text;
  for (const [, href = ""] of page.matchAll(/(?:src|href)="([^"#][^"]*)"/g))
    expect(readAssets().has(href)).toBe(true);
  expect(page).not.toMatch(/<style|<script>|\son\w+=|style=/);
});

test("a name that was made to point here is refused", async () => {
  const { ask } = await open(memoryStore());
  for (const path of ["/", "/api/state"])
    expect(await ask(path, { host: "evil.example:9463" })).toMatchObject({ status: 403 });
});

test("with a token: a page to sign in, the cookie, and the header for programs", async () => {
  const { store } = await laidStore();
  const { ask } = await open(store, { token: TOKEN });
  const refused = await ask("/");
  expect(refused).toMatchObject({ status: 401, headers: { "cache-control": "no-store" } });
  expect(refused.text).toContain("VARVE_CONSOLE_TOKEN");
  for (const path of ["/api/state", "/api/events", "/app.js"]) expect((await ask(path)).status).toBe(401);
  expect((await ask("/style.css")).status).toBe(200);
  expect((await ask("/style.css", {}, "POST")).status).toBe(405);
  expect(await ask("/?token=wrong-horse-battery")).toMatchObject({ status: 401 });

  const signedIn = await ask(`/?token=${TOKEN}`);
  expect(signedIn).toMatchObject({ status: 303, headers: { location: "/" } });
  expect((await ask(`/.//evil.example?token=${TOKEN}`)).headers.location).toBe("/");
  const [cookie = ""] = signedIn.headers["set-cookie"] ?? [];
  expect(cookie).toMatch(/HttpOnly; SameSite=Strict/);
  const carried = { cookie: cookie.split(";")[0] ?? "" };
  expect((await ask("/", carried)).text).toContain("Flow now");
  expect((await ask("/api/state", carried)).status).toBe(200);
  expect((await ask("/api/state", { authorization: `Bearer ${TOKEN}` })).status).toBe(200);
});

test("on all addresses it does not start without one", async () => {
  await expect(open(memoryStore(), { listen: { host: "0.0.0.0", port: 0 } })).rejects.toMatchObject({
    code: "console_needs_token",
    fix: expect.stringContaining("VARVE_CONSOLE_TOKEN"),
  });
});
