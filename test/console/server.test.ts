/** The console as a server: what it answers, and what it asks of the store. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { layDown } from "../../bench/laid.ts";
import { writeCheckpoint } from "../../shared/checkpoint.ts";
import { VarveError } from "../../shared/errors.ts";
import { commitKey } from "../../shared/keys.ts";
import type { ObjectStore } from "../../shared/store.ts";
import { memoryStore } from "../fakes/store.ts";
import { T0, open, track, closers, laidStore, closeAll } from "./opened.ts";

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

afterEach(closeAll);

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
