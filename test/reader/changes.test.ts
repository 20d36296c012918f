import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { expiredFiles, planExpire } from "../../compactor/levels.ts";
import type { Changelog, ChangesOptions, SinceLike } from "../../reader/changelog.ts";
import { openChangelog } from "../../reader/changelog.ts";
import { systemClock } from "../../shared/clock.ts";
import { openDirectoryStore } from "../../shared/directory.ts";
import type { ObjectStore } from "../../shared/store.ts";
import { T0 } from "../fakes/changes.ts";
import type { Asked } from "../fakes/counting.ts";
import { countingStore } from "../fakes/counting.ts";
import { memoryStore } from "../fakes/store.ts";
import type { Laid } from "../../bench/laid.ts";
import { layDown, object } from "../../bench/laid.ts";

const MINUTE = 60_000;
const at = (minutes: number, ms = 0): number => T0 + minutes * MINUTE + ms;
const clockAt = (nowMs: number) => ({ ...systemClock, nowMs: () => nowMs });
const open = (store: ObjectStore, nowMs = at(100)): Promise<Changelog> =>
  openChangelog(store, { clock: clockAt(nowMs) });
const time = (ms: number): SinceLike => ({ kind: "time", ms });

const dir = await mkdtemp(join(tmpdir(), "varve-changes-"));
let laid: Laid;
let store: ObjectStore & { readonly asked: Asked[] };

beforeAll(async () => {
  const inner = openDirectoryStore(dir);
  laid = await layDown(inner, T0);
  await laid.commit([object("users", "u1", at(1)), object("users", "u2", at(2))], at(3));
  await laid.commit(
    [object("users", "u1", at(11), { op: "update" }), object("orders", "o1", at(12))],
    at(13),
  );
  await laid.commit([object("orders", "o1", at(21), { op: "delete", image: null })], at(22));
  await laid.commit(
    [{ changedMs: at(31), kind: "rejected", collection: "rejected", id: "r1", key: '{"pk":"r#shop#r1"}' }],
    at(32),
  );
  // Known to the log, but beyond the watermark.
  await laid.commit([object("users", "u3", at(41))], at(40));
  store = countingStore(inner);
});
afterAll(async () => {
  await laid.close();
  await rm(dir, { recursive: true, force: true });
});

async function told(since: SinceLike, options: ChangesOptions = {}): Promise<string[]> {
  const changelog = await open(store);
  const { rows } = await changelog.changesSince(since, options);
  return (await Array.fromAsync(rows)).map(({ op, collection, id }) => `${op} ${collection}/${id}`);
}

describe("changesSince a time", () => {
  test("gives (T, W], in time order, and W as the next T", async () => {
    const changelog = await open(store);
    const { rows, next, since } = await changelog.changesSince(time(at(2)));
    const ids = (await Array.fromAsync(rows)).map(({ id }) => id);
    expect(ids).toEqual(["u1", "o1", "o1", "r1"]);
    expect(since).toEqual({ kind: "time", ms: at(2) });
    expect(next).toEqual({ kind: "time", ms: at(40) });
    const after = await changelog.changesSince(next);
    expect(await Array.fromAsync(after.rows)).toEqual([]);
    expect(after.next).toEqual(next);
  });

  test("every way to say T", async () => {
    const all = await told(time(at(12)));
    expect(await told(new Date(at(12)))).toEqual(all);
    expect(await told(new Date(at(12)).toISOString())).toEqual(all);
    expect(await told("88m")).toEqual(all);
    expect(all).toEqual(["delete orders/o1", "insert rejected/r1"]);
  });

  test.each([
    ["collection", { collection: "users" }, ["insert users/u1", "insert users/u2", "update users/u1"]],
    ["id", { collection: "users", id: "u1" }, ["insert users/u1", "update users/u1"]],
    ["op", { op: "delete" }, ["delete orders/o1"]],
    ["kind", { kind: "rejected" }, ["insert rejected/r1"]],
    ["source", { source: "other" }, []],
    ["until", { until: time(at(11)) }, ["insert users/u1", "insert users/u2", "update users/u1"]],
  ] as const)("by %s", async (_, options, rows) => {
    expect(await told(time(0), options)).toEqual(rows);
  });

  test("opens only files that are not ruled out, and says how many", async () => {
    const changelog = await open(store);
    store.asked.length = 0;
    const { rows, counts } = await changelog.changesSince(time(at(3)), { collection: "orders" });
    await Array.fromAsync(rows);
    const data = store.asked.filter(({ key }) => key.startsWith("data/"));
    expect(data).toHaveLength(2);
    expect(counts.read).toEqual({
      files: 2,
      requests: 2,
      bytes: data.reduce((sum, { bytes }) => sum + bytes, 0),
    });
    expect(counts.live.files).toBe(5);
  });

  test("gives only the columns that are asked for", async () => {
    const changelog = await open(store);
    const { rows } = await changelog.changesSince(time(at(20)), { columns: ["id"] });
    expect((await Array.fromAsync(rows))[0]).toMatchObject({ id: "o1", changedMs: at(21), collection: null });
  });

  test("a signal ends it with its reason", async () => {
    const changelog = await open(store);
    const { rows } = await changelog.changesSince(time(0), {
      signal: AbortSignal.abort(new Error("enough")),
    });
    await expect(Array.fromAsync(rows)).rejects.toThrow("enough");
  });
});

describe("changesSince says", () => {
  test.each([
    ["in_future", time(at(101)), {}],
    ["empty_range", time(at(5)), { until: time(at(4)) }],
    ["mixed_range", time(at(5)), { until: "3" }],
    ["bad_since", "yesterday", {}],
    ["beyond_tip", "99", {}],
  ] as const)("%s", async (code, since, options) => {
    const changelog = await open(store);
    await expect(changelog.changesSince(since, options)).rejects.toMatchObject({ code });
  });

  test.each([
    ["before_first_commit", at(-1), undefined],
    ["not_complete_yet", at(50), undefined],
    ["until_not_complete", at(5), at(60)],
    ["until_inside_window", at(5), at(11, 30_000)],
  ] as const)("%s, and answers", async (code, sinceMs, untilMs) => {
    const changelog = await open(store);
    const { notices, rows } = await changelog.changesSince(
      time(sinceMs),
      untilMs === undefined ? {} : { until: time(untilMs) },
    );
    expect(notices.map((notice) => notice.code)).toEqual([code]);
    await Array.fromAsync(rows);
  });

  test("there is no changelog", async () => {
    await expect(openChangelog(memoryStore())).rejects.toMatchObject({ code: "no_changelog" });
    await expect(openChangelog(pathToFileURL(join(dir, "none")).href)).rejects.toMatchObject({
      code: "no_changelog",
    });
    await expect(openChangelog("ftp://x")).rejects.toMatchObject({ code: "bad_address" });
  });

  test("which call failed, and why", async () => {
    const unreadable = {
      s3: { endpoint: "http://127.0.0.1:9", credentials: { accessKeyId: "a", secretAccessKey: "b" } },
    };
    await expect(openChangelog("s3://bucket/x", unreadable)).rejects.toMatchObject({
      code: "store_unreadable",
      message: expect.stringMatching(/GET s3:\/\/bucket\/x\/_delta_log\/.*ECONNREFUSED/),
    });
    await writeFile(join(dir, "file"), "");
    const changelog = await openChangelog(pathToFileURL(dir).href);
    changelog.close();
  });
});

describe("changesSince a version", () => {
  test("gives the rows of the commits above it", async () => {
    expect(await told("2")).toEqual(["delete orders/o1", "insert rejected/r1", "insert users/u3"]);
    expect(await told("2", { until: "3" })).toEqual(["delete orders/o1"]);
    const changelog = await open(store);
    expect((await changelog.changesSince("2")).next).toEqual({ kind: "version", version: 5 });
  });
});

describe("get", () => {
  test.each([
    [{ source: "shop", collection: "users", id: "u1" }, at(11)],
    ['{"pk":"o#shop#users#u1"}', at(11)],
    ["o#shop#users#u2", at(2)],
    ["o#shop#users#u3", at(41)],
  ])("%j is the key's latest row", async (key, changedMs) => {
    const changelog = await open(store);
    expect(await changelog.get(key)).toMatchObject({ changedMs });
  });

  test("a deleted key's row says so, an unknown key has none", async () => {
    const changelog = await open(store);
    expect(await changelog.get("o#shop#orders#o1")).toMatchObject({ op: "delete", image: null });
    expect(await changelog.get("o#shop#orders#o2")).toBeNull();
    await expect(changelog.get("{nonsense")).rejects.toMatchObject({ code: "bad_key" });
  });
});

test("since a time that retention has taken is refused, and from there on is not", async () => {
  const kept = memoryStore();
  const some = await layDown(kept, T0);
  try {
    await some.commit([object("users", "u1", at(1))], at(2));
    await some.commit([object("users", "u2", at(31))], at(60));
    const identity = { txnId: "expire", nowMs: at(61) };
    const plan = planExpire(some.snapshot(), expiredFiles(some.snapshot(), 40 * MINUTE), identity);
    if (plan.kind === "stale") throw new Error(plan.why);
    await some.put(plan.commit, plan.next);
    const changelog = await open(kept);
    // The expired window is [T0, T0 + 5 min).
    const refused = changelog.changesSince(time(at(4)));
    await expect(refused).rejects.toMatchObject({
      code: "past_retention",
      message: expect.stringContaining("expired"),
    });
    const { rows } = await changelog.changesSince(time(at(5)));
    expect((await Array.fromAsync(rows)).map(({ id }) => id)).toEqual(["u2"]);
  } finally {
    await some.close();
  }
});

test("more rows than are sorted at a time come in order all the same, each once", async () => {
  const many = memoryStore();
  const some = await layDown(many, T0);
  try {
    const count = 420_000;
    await some.commitQuery({
      count,
      watermarkMs: T0 + 299_000,
      columns: {
        // Far from even: half of them at one moment.
        changedMs: `${T0 + 1} + CASE WHEN i % 2 = 0 THEN 1000 ELSE i % 200000 END`,
        collection: "'users'",
        id: "hash(i)::VARCHAR",
        image: "'{}'",
      },
    });
    const changelog = await open(many);
    const { rows } = await changelog.changesSince(time(0), { columns: [] });
    let [given, before] = [0, ""];
    for await (const { changedMs, seq } of rows) {
      const place = `${changedMs} ${seq}`;
      if (place <= before) throw new Error(`${place} after ${before}`);
      before = place;
      given += 1;
    }
    expect(given).toBe(count);
  } finally {
    await some.close();
  }
});

test("of a large file it reads the row groups and columns that are needed, and gives the same rows", async () => {
  const home = await mkdtemp(join(tmpdir(), "varve-large-"));
  const large = countingStore(openDirectoryStore(home));
  const big = await layDown(large, T0);
  try {
    const { files } = await big.commitQuery({
      count: 30_000,
      rowGroupRows: 4096,
      watermarkMs: T0 + 200_000,
      columns: {
        changedMs: `${T0 + 1} + i`,
        collection: "['accounts', 'orders', 'users'][i % 3 + 1]",
        id: "md5(i::VARCHAR)",
        image: `'{"text":"' || md5('a' || i) || md5('b' || i) || '"}'`,
      },
    });
    const [file] = [...files.values()];
    const changelog = await open(large);
    const read = async (source: Changelog, options: ChangesOptions) => {
      const { rows: some, counts } = await source.changesSince(time(0), options);
      return { ids: (await Array.fromAsync(some)).map(({ id, image }) => `${id}${image}`), ...counts.read };
    };
    const options = { collection: "users", id: "c81e728d9d4c2f636f067f89cc14862c" };
    const part = await read(changelog, options);
    const { getRange: _, ...wholeOnly } = large;
    const whole = await read(await open(wholeOnly), options);
    expect(part.ids).toHaveLength(1);
    expect(part.ids).toEqual(whole.ids);
    expect(whole.bytes).toBe(file?.sizeBytes);
    expect(part.bytes).toBeLessThan((file?.sizeBytes ?? 0) / 2);
    // Without the image, less still.
    const { rows: bare, counts } = await changelog.changesSince(time(0), { columns: [] });
    expect(await Array.fromAsync(bare)).toHaveLength(30_000);
    expect(counts.read.bytes).toBeLessThan((file?.sizeBytes ?? 0) / 2);
  } finally {
    await big.close();
    await rm(home, { recursive: true, force: true });
  }
});
