/** The console as a server: what it answers, to whom, and what it asks of the store. */
import { createServer, request } from "node:http";
import type { IncomingHttpHeaders } from "node:http";
import { connect } from "node:net";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { layDown, object } from "../../bench/laid.ts";
import type { GivenRow } from "../../bench/laid.ts";
import { readAssets } from "../../console/assets.ts";
import type { ConsoleOptions } from "../../console/console.ts";
import { openConsole } from "../../console/console.ts";
import type { Events, State } from "../../console/state.ts";
import { writeCheckpoint } from "../../shared/checkpoint.ts";
import { systemClock } from "../../shared/clock.ts";
import type { Clock } from "../../shared/clock.ts";
import { VarveError } from "../../shared/errors.ts";
import { commitKey } from "../../shared/keys.ts";
import type { ObjectStore } from "../../shared/store.ts";
import { memoryStore } from "../fakes/store.ts";

const T0 = Date.UTC(2026, 10, 20, 12);
const TOKEN = "correct-horse-battery";

type Answer = { readonly status: number; readonly headers: IncomingHttpHeaders; readonly text: string };
type Opened = {
  readonly port: number;
  readonly ask: (path: string, headers?: Record<string, string>, method?: string) => Promise<Answer>;
  readonly state: () => Promise<State>;
  readonly events: (after?: number) => Promise<Events>;
  /** Lets time pass. */
  readonly wait: (ms: number) => void;
};

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

async function open(store: ObjectStore, some: Partial<ConsoleOptions> = {}): Promise<Opened> {
  let nowMs = T0 + 10_000;
  const clock: Clock = {
    ...systemClock,
    nowMs: () => nowMs,
    sleep: (ms, signal) =>
      new Promise((resolve) => {
        setTimeout(() => {
          if (signal?.aborted !== true) nowMs += ms;
          resolve();
        }, 50);
      }),
  };
  const view = await openConsole({
    listen: { host: "127.0.0.1", port: 0 },
    changelog: "s3://bucket/prefix/region/table",
    store,
    clock,
    ...some,
  });
  closers.push(view.close);
  const ask: Opened["ask"] = (path, headers = {}, method = "GET") =>
    new Promise((resolve, reject) => {
      const sent = request(
        `${view.url.replace(/\/$/, "")}${path}`,
        { method, headers, agent: false },
        (response) => {
          let text = "";
          response.setEncoding("utf8");
          response.on("data", (chunk: string) => (text += chunk));
          response.on("end", () =>
            resolve({ status: response.statusCode ?? 0, headers: response.headers, text }),
          );
        },
      );
      sent.on("error", reject);
      sent.end();
    });
  return {
    ask,
    port: Number(new URL(view.url).port),
    state: async () => JSON.parse((await ask("/api/state")).text) as State,
    events: async (after = 0) => JSON.parse((await ask(`/api/events?after=${after}`)).text) as Events,
    wait: (ms) => {
      nowMs += ms;
    },
  };
}

/** As it stands, which no client would send. */
const raw = (port: number, sent: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(sent));
    let text = "";
    socket.on("data", (chunk) => (text += chunk.toString()));
    socket.on("close", () => resolve(text));
    socket.on("error", reject);
  });

const track = (id: string, changedMs: number, kind: "event" | "rejected" = "event"): GivenRow => ({
  changedMs,
  key: `{"pk":"${kind}-${id}"}`,
  kind,
  collection: kind === "event" ? "tracks" : "rejected",
  id,
  event: kind === "event" ? "Paid" : null,
  image:
    kind === "event"
      ? `{"type":"track","event":"Paid","messageId":"${id}"}`
      : `{"reason":{"code":"missing_id","message":"no user"},"event":{"type":"track","event":"Lost"}}`,
});

/** Asks until it holds: rows are looked into beside the answers. */
async function until<T>(ask: () => Promise<T>, holds: (value: T) => boolean): Promise<T> {
  for (let attempt = 0; attempt < 400; attempt += 1) {
    const value = await ask();
    if (holds(value)) return value;
    await new Promise((resolve) => {
      setTimeout(resolve, 20);
    });
  }
  throw new Error("it never held");
}

/** A store that says what it was asked, cannot be written, and fails or hangs when told to. */
function observed(store: ObjectStore) {
  const calls: string[] = [];
  let mood: "well" | "down" | "silent" = "well";
  const through = async <T>(call: string, work: () => Promise<T>): Promise<T> => {
    calls.push(call);
    if (mood === "silent") await new Promise(() => undefined);
    if (mood === "down")
      throw new VarveError("store_unreadable", "GetObject failed: connection refused.", "Check S3_ENDPOINT.");
    return work();
  };
  const refuse = (): never => {
    throw new Error("the console writes");
  };
  const watched: ObjectStore = {
    get: (key, signal) => through(`get ${key}`, () => store.get(key, signal)),
    list: async function* (prefix, startAfter, signal) {
      await through(`list ${prefix}`, () => Promise.resolve());
      yield* store.list(prefix, startAfter, signal);
    },
    put: refuse,
    delete: refuse,
  };
  return {
    store: watched,
    calls,
    set: (next: typeof mood) => {
      mood = next;
    },
  };
}

async function laidStore() {
  const store = memoryStore();
  const laid = await layDown(store, T0);
  closers.push(laid.close);
  await laid.commit(
    [object("users", "u1", T0 + 1_000), track("m1", T0 + 1_500), track("r1", T0 + 2_000, "rejected")],
    T0 + 3_000,
  );
  return { store, laid };
}

describe("what it tells", () => {
  test("the log's state, and the rows of its commits", async () => {
    const { store } = await laidStore();
    const { state, events } = await open(store);
    const first = await state();
    expect(first).toMatchObject({
      changelog: "s3://bucket/prefix/region/table",
      problem: null,
      log: { version: 1, watermarkMs: T0 + 3_000, rowsCommitted: 3, rowsLive: 3, files: 1 },
      workers: null,
    });
    expect(first.commits.map(({ version, operation, rows }) => [version, operation, rows])).toEqual([
      [1, "WRITE", 3],
      [0, "CREATE TABLE", 0],
    ]);
    expect(first.lineage).toMatchObject({ open: 1, done: 0, lines: 1 });
    const { events: rows, last } = await until(events, ({ last: seen }) => seen === 3);
    expect(rows.map(({ status, type, name }) => `${status} ${type} ${name}`).toSorted()).toEqual([
      "accepted track Paid",
      "object object users/u1",
      "rejected track Lost",
    ]);
    expect((await events(last)).events).toEqual([]);
  });

  test("a commit more, and its rows alone", async () => {
    const { store, laid } = await laidStore();
    const { state, events, wait } = await open(store);
    await state();
    await until(events, ({ last }) => last === 3);
    await laid.commit([track("m2", T0 + 5_000)], T0 + 6_000);
    wait(2_000);
    expect((await state()).log?.version).toBe(2);
    const news = await until(
      () => events(3),
      ({ last }) => last === 4,
    );
    expect(news.events.map(({ id }) => id)).toEqual(["m2"]);
  });

  test("many accepted events do not push out a rejected one, and no more than 200 of a kind are kept", async () => {
    const { store, laid } = await laidStore();
    await laid.commit(
      Array.from({ length: 450 }, (_, at) => track(`n${at}`, T0 + 4_000 + at)),
      T0 + 9_000,
    );
    const { state, events } = await open(store);
    await state();
    const { events: rows, keptMax } = await until(events, ({ last }) => last >= 203);
    const of = (status: string) => rows.filter((row) => row.status === status);
    expect(keptMax).toBe(200);
    expect(of("accepted")).toHaveLength(200);
    expect(of("accepted").every(({ changedMs }) => changedMs >= T0 + 4_250)).toBe(true);
    expect(of("rejected").map(({ reason }) => reason?.code)).toEqual(["missing_id"]);
  });

  test("this process's counters, where it has any", async () => {
    const { store } = await laidStore();
    const metrics = async () =>
      'varve_workers 2\nvarve_requests_total{call="S3 GET"} 7\nvarve_requests_cost_dollars_total{call="S3 GET"} 0.5\n';
    const { workers, cost } = await (await open(store, { metrics })).state();
    expect(workers).toBe(2);
    expect(cost).toMatchObject({ callsUsd: 0.5, calls: [{ call: "S3 GET", times: 7 }] });
  });
});

describe("what it asks of the store", () => {
  test("nothing before somebody looks; then, while the log stands, one entry a look and nothing else", async () => {
    const { store } = await laidStore();
    const { calls, store: watched } = observed(store);
    const { state, events, ask, wait } = await open(watched);
    expect(calls).toEqual([]);
    const etag = (await ask("/api/state")).headers.etag ?? "";
    await until(events, ({ last }) => last === 3);
    await state();
    calls.length = 0;
    expect((await ask("/api/state", { "if-none-match": etag })).status).toBeGreaterThan(0);
    expect(calls).toEqual([]);
    wait(1_500);
    await state();
    await state();
    expect(calls).toEqual([`get ${commitKey(2)}`]);
  });

  test("what has not changed is not sent again", async () => {
    const { store } = await laidStore();
    const { ask, events } = await open(store);
    await ask("/api/state");
    await until(events, ({ last }) => last === 3);
    const { headers, status } = await ask("/api/state");
    expect(status).toBe(200);
    const again = await ask("/api/state", { "if-none-match": headers.etag ?? "" });
    expect(again).toMatchObject({ status: 304, text: "" });
    expect(Number(again.headers["varve-now"])).toBeGreaterThanOrEqual(T0);
  });
});

describe("when something is wrong, it says what, and goes on by itself", () => {
  test("there is no changelog yet", async () => {
    const store = memoryStore();
    const { ask, state, wait } = await open(store);
    expect((await ask("/")).status).toBe(200);
    expect((await state()).problem).toMatchObject({
      code: "no_changelog",
      fix: expect.stringContaining("compactor"),
    });
    const laid = await layDown(store, T0);
    closers.push(laid.close);
    wait(2_000);
    expect(await state()).toMatchObject({ problem: null, log: { version: 0 } });
  });

  test("the store fails", async () => {
    const { store, laid } = await laidStore();
    const { store: watched, set } = observed(store);
    const { state, wait } = await open(watched);
    await state();
    set("down");
    wait(2_000);
    const failing = await state();
    expect(failing).toMatchObject({
      problem: {
        code: "store_unreadable",
        message: expect.stringContaining("refused"),
        fix: "Check S3_ENDPOINT.",
      },
      log: { version: 1 },
    });
    wait(2_000);
    expect((await state()).problem?.sinceMs).toBe(failing.problem?.sinceMs);
    await laid.commit([track("m2", T0 + 5_000)], T0 + 6_000);
    set("well");
    wait(2_000);
    expect(await state()).toMatchObject({ problem: null, log: { version: 2 } });
  });

  test("the store does not answer: the page does", async () => {
    const { store } = await laidStore();
    const { store: watched, set } = observed(store);
    const { state, wait } = await open(watched);
    await state();
    set("silent");
    wait(2_000);
    await until(state, ({ problem }) => problem?.code === "store_slow");
    expect((await state()).log?.version).toBe(1);
  });

  test("the log breaks an invariant", async () => {
    const { store } = await laidStore();
    await store.put(commitKey(2), new TextEncoder().encode("{}\n"), { kind: "always" });
    const { state } = await open(store);
    expect((await state()).problem?.code).toBe("bad_log_entry");
  });

  test("a file that clean-up took is passed over", async () => {
    const { store, laid } = await laidStore();
    for (const path of laid.snapshot().files.keys()) await store.delete(path);
    await laid.commit([track("m2", T0 + 5_000)], T0 + 6_000);
    const { state, events } = await open(store);
    await state();
    const { events: rows } = await until(events, ({ last }) => last === 1);
    expect(rows.map(({ id }) => id)).toEqual(["m2"]);
  });

  test("clean-up went past what it knew while nobody looked", async () => {
    const { store, laid } = await laidStore();
    const { state, wait } = await open(store);
    expect((await state()).log?.version).toBe(1);
    for (let at = 0; at < 5; at += 1) await laid.commit([], T0 + 4_000 + at);
    await writeCheckpoint(store, laid.snapshot());
    for (let version = 0; version < 6; version += 1) await store.delete(commitKey(version));
    wait(90_000);
    const { problem, log, commits } = await until(state, (one) => one.log?.version === 6);
    expect(problem).toBeNull();
    expect(log?.rowsLive).toBe(3);
    expect(commits.map(({ version }) => version)).toEqual([6]);
  });

  test("its port is taken", async () => {
    const other = createServer();
    await new Promise<void>((resolve) => {
      other.listen(0, "127.0.0.1", resolve);
    });
    const { port } = other.address() as AddressInfo;
    await expect(open(memoryStore(), { listen: { host: "127.0.0.1", port } })).rejects.toMatchObject({
      code: "console_port",
      fix: expect.stringContaining("VARVE_CONSOLE"),
    });
    other.close();
  });
});

describe("who may ask, and how", () => {
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
});
