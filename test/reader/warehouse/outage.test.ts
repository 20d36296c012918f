/** A warehouse or a store that goes away while it is followed is waited for; what does not pass by itself is an error. */
import { once } from "node:events";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { TestPostgres } from "../../../bench/postgres.ts";
import { startPostgres } from "../../../bench/postgres.ts";
import { isOutage, waitMs } from "../../../reader/warehouse/outage.ts";
import { failure } from "../../../reader/warehouse/postgres.ts";
import type { Outage, SyncProgress } from "../../../reader/warehouse/sync.ts";
import { VarveError } from "../../../shared/errors.ts";
import type { ObjectStore } from "../../../shared/store.ts";
import type { World } from "./world.ts";
import { makeWorld, track } from "./world.ts";

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(async () => {
  await postgres.stop();
});

test.each([
  ["warehouse_unreachable", { code: "ECONNREFUSED" }, true],
  ["warehouse_unreachable", { code: "57P01" }, true],
  ["warehouse_unreachable", { code: "57P03" }, true],
  ["warehouse_unreachable", { code: "53300" }, true],
  ["warehouse_unreachable", new Error("Connection terminated unexpectedly"), true],
  ["warehouse_unreachable", { code: "28P01" }, false],
  ["warehouse_unreachable", { code: "3D000" }, false],
  ["warehouse_refused", { code: "42501" }, false],
  ["store_unreadable", { code: "ECONNREFUSED" }, true],
  ["store_unreadable", { $metadata: { httpStatusCode: 503 } }, true],
  ["store_unreadable", { $metadata: { httpStatusCode: 429 } }, true],
  ["store_unreadable", { $metadata: { httpStatusCode: 403 } }, false],
  ["store_unreadable", { $metadata: { httpStatusCode: 404 } }, false],
  ["behind_retention", undefined, false],
])("%s with %j passes by itself: %s", (code, cause, passes) => {
  expect(isOutage(new VarveError(code, "", "", cause))).toBe(passes);
});

test.each([
  [
    "a socket that broke",
    Object.assign(new Error("write EPIPE"), { code: "EPIPE" }),
    "warehouse_unreachable",
  ],
  ["a server that ends", refusal("57P01"), "warehouse_unreachable"],
  ["a right that is missing", refusal("42501"), "warehouse_refused"],
])("%s is told apart from what the server refuses", (_, error, code) => {
  expect(failure("postgres://host/db", error)).toMatchObject({ code, cause: error });
});

function refusal(code: string): Error {
  return Object.assign(new pg.DatabaseError("no", 2, "error"), { code });
}

test("the waits grow, up to half a minute", () => {
  expect([0, 1, 2, 6, 100].map(waitMs)).toEqual([500, 1000, 2000, 30_000, 30_000]);
});

/** A sync that follows until `stop`, and what it said meanwhile. */
function follow(world: World, store?: ObjectStore) {
  const stopping = new AbortController();
  const said: Outage[] = [];
  const heard = new EventTarget();
  const options = {
    follow: true,
    signal: stopping.signal,
    applied: (progress: SyncProgress) => heard.dispatchEvent(new Event(`version ${progress.cursor.version}`)),
    outage: (outage: Outage) => {
      said.push(outage);
      heard.dispatchEvent(new Event(outage.kind));
    },
  };
  const done = world.sync(options, store);
  done.catch(() => undefined);
  const hear = (what: string): Promise<unknown> => Promise.race([once(heard, what), done]);
  return {
    said,
    done,
    hear,
    stop: async (): Promise<SyncProgress> => {
      stopping.abort();
      return done;
    },
  };
}

test("PostgreSQL goes away and comes back: nothing is lost or twice", async () => {
  const world = await makeWorld("postgres", postgres);
  try {
    const following = follow(world);
    const first = following.hear("version 1");
    await world.log.commit([track("m1", "Seen", { n: 1 })]);
    await first;
    const waiting = following.hear("waiting");
    await postgres.down();
    await world.log.commit([track("m2", "Seen", { n: 2 })]);
    await waiting;
    const third = following.hear("version 2");
    const over = following.hear("over");
    await postgres.up();
    await Promise.all([third, over]);
    const done = await following.stop();
    expect(done.counts.events).toBe(2);
    expect(following.said.at(-1)).toEqual({ kind: "over", version: 2 });
    expect(await world.query("SELECT id, n FROM shop.seen ORDER BY id")).toEqual([
      { id: "m1", n: 1 },
      { id: "m2", n: 2 },
    ]);
  } finally {
    await world.close();
  }
});

test("a database that is gone for good ends it", async () => {
  const world = await makeWorld("postgres", postgres);
  const admin = new pg.Client({ connectionString: await postgres.database() });
  await admin.connect();
  try {
    const following = follow(world);
    const first = following.hear("version 1");
    await world.log.commit([track("m1", "Seen", {})]);
    await first;
    const name = new URL(world.target).pathname.slice(1);
    await admin.query(`DROP DATABASE ${name} WITH (FORCE)`);
    await world.log.commit([track("m2", "Seen", {})]);
    await expect(following.done).rejects.toMatchObject({
      code: "warehouse_unreachable",
      message: expect.stringContaining("does not exist") as string,
    });
  } finally {
    await admin.end();
    await world.close();
  }
});

test("a store that was never there is an error at once", async () => {
  const world = await makeWorld("duckdb", postgres);
  try {
    const store: ObjectStore = { ...world.store, list: () => unreachable(), get: () => unreachable() };
    await expect(world.sync({ follow: true }, store)).rejects.toMatchObject({ code: "store_unreadable" });
  } finally {
    await world.close();
  }
});

function unreachable(): never {
  throw new VarveError("store_unreadable", "GET failed", "Check it.", new Error("connect ECONNREFUSED"));
}

test("the store is away for a while", async () => {
  const world = await makeWorld("duckdb", postgres);
  try {
    let isAway = false;
    const store: ObjectStore = {
      ...world.store,
      get: (...call) => (isAway ? unreachable() : world.store.get(...call)),
      list: (...call) => (isAway ? unreachable() : world.store.list(...call)),
    };
    const following = follow(world, store);
    const first = following.hear("version 1");
    await world.log.commit([track("m1", "Seen", { n: 1 })]);
    await first;
    const waiting = following.hear("waiting");
    isAway = true;
    await world.log.commit([track("m2", "Seen", { n: 2 })]);
    await waiting;
    const second = following.hear("version 2");
    isAway = false;
    await second;
    const done = await following.stop();
    expect(done).toMatchObject({ counts: { events: 2 }, cursor: { version: 2 } });
    expect(await world.query("SELECT count(*) AS n FROM shop.seen")).toEqual([{ n: 2 }]);
  } finally {
    await world.close();
  }
});
