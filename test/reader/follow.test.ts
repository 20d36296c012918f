import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import type { Laid } from "../../bench/laid.ts";
import { layDown, object } from "../../bench/laid.ts";
import type { FollowOptions } from "../../reader/changelog.ts";
import { openChangelog } from "../../reader/changelog.ts";
import { writeCheckpoint } from "../../shared/checkpoint.ts";
import { commitKey } from "../../shared/keys.ts";
import type { ObjectStore } from "../../shared/store.ts";
import { T0 } from "../fakes/changes.ts";
import { memoryStore } from "../fakes/store.ts";

const dir = await mkdtemp(join(tmpdir(), "varve-follow-"));
const laids: Laid[] = [];
afterAll(async () => {
  await Promise.all(laids.map((laid) => laid.close()));
  await rm(dir, { recursive: true, force: true });
});

/** Versions 1 to `commits`, each of one row `u<version>`. */
async function changelogOf(commits: number): Promise<{ store: ObjectStore; laid: Laid }> {
  const store = memoryStore();
  const laid = await layDown(store, T0);
  laids.push(laid);
  for (let version = 1; version <= commits; version += 1)
    await laid.commit([object("users", `u${version}`, T0 + version * 1000)], T0 + version * 1000);
  return { store, laid };
}

type Told = { readonly version: number; readonly kind: string; readonly ids: readonly (string | null)[] };

/** Batches up to the tip; stops for good after `most`. */
async function follow(store: ObjectStore, options: FollowOptions = {}, most = Infinity): Promise<Told[]> {
  const changelog = await openChangelog(store);
  const told: Told[] = [];
  for await (const { version, kind, rows } of changelog.follow({ wait: false, ...options })) {
    told.push({ version, kind, ids: (await Array.fromAsync(rows)).map(({ id }) => id) });
    if (told.length === most) break;
  }
  return told;
}

describe("follow", () => {
  test("gives commit by commit after a version", async () => {
    const { store } = await changelogOf(3);
    expect(await follow(store, { since: "1" })).toEqual([
      { version: 2, kind: "commit", ids: ["u2"] },
      { version: 3, kind: "commit", ids: ["u3"] },
    ]);
  });

  test("without a place to begin, gives all that is live first; with a time, what is live after it", async () => {
    const { store, laid } = await changelogOf(2);
    expect(await follow(store)).toEqual([{ version: 2, kind: "snapshot", ids: ["u1", "u2"] }]);
    // A row beyond the watermark is in the snapshot too: the commits that follow do not bring it again.
    await laid.commit([object("users", "u3", T0 + 9000)], T0 + 2500);
    const since = { kind: "time", ms: T0 + 1000 } as const;
    expect(await follow(store, { since })).toEqual([{ version: 3, kind: "snapshot", ids: ["u2", "u3"] }]);
  });

  test("passes over commits without data, with none for the filter, and those that only merge", async () => {
    const { store, laid } = await changelogOf(2);
    await laid.commit([], T0 + 300_000);
    await laid.merge();
    await laid.commit([object("orders", "o1", T0 + 301_000)], T0 + 301_000);
    await laid.commit([object("users", "u9", T0 + 302_000)], T0 + 302_000);
    expect(await follow(store, { since: "2", collection: "users" })).toEqual([
      { version: 6, kind: "commit", ids: ["u9"] },
    ]);
    // The merged-away files are still in the store: an old version is told as it was.
    expect((await follow(store, { since: "0" })).map(({ version }) => version)).toEqual([1, 2, 5, 6]);
  });

  test("waits for what comes", async () => {
    const { store, laid } = await changelogOf(1);
    const changelog = await openChangelog(store);
    const controller = new AbortController();
    const seen: number[] = [];
    const following = (async () => {
      for await (const { version } of changelog.follow({
        since: "1",
        pollMs: 10,
        signal: controller.signal,
      })) {
        seen.push(version);
        if (version === 3) controller.abort();
      }
    })();
    await laid.commit([object("users", "u2", T0 + 2000)], T0 + 2000);
    await laid.commit([object("users", "u3", T0 + 3000)], T0 + 3000);
    await following;
    expect(seen).toEqual([2, 3]);
  });
});

describe.each(["cursor", "consumer"] as const)("a %s", (kind) => {
  const options = (name: string): FollowOptions =>
    kind === "cursor" ? { cursor: join(dir, `${name}.json`) } : { consumer: name };

  test("goes on where it came to; what was not asked beyond is given again", async () => {
    const { store, laid } = await changelogOf(3);
    const versions = async (most?: number) =>
      (await follow(store, options("a"), most)).map(({ version }) => version);
    expect(await versions(1)).toEqual([3]);
    expect(await versions()).toEqual([3]);
    expect(await versions()).toEqual([]);
    for (const version of [4, 5])
      await laid.commit([object("users", `u${version}`, T0 + version * 1000)], T0 + version * 1000);
    expect(await versions(1)).toEqual([4]);
    expect(await versions(2)).toEqual([4, 5]);
    expect(await versions()).toEqual([5]);
    expect(await versions()).toEqual([]);
  });

  test("is moved at once by acknowledge, and left by fromSnapshot", async () => {
    const { store } = await changelogOf(2);
    const changelog = await openChangelog(store);
    for await (const { acknowledge } of changelog.follow({ since: "0", ...options("b") })) {
      await acknowledge();
      break;
    }
    expect((await follow(store, options("b"))).map(({ version }) => version)).toEqual([2]);
    const again = await follow(store, { ...options("b"), fromSnapshot: true });
    expect(again).toEqual([{ version: 2, kind: "snapshot", ids: ["u1", "u2"] }]);
  });

  test("of another changelog, or that is none, is refused", async () => {
    const { store } = await changelogOf(1);
    const text = JSON.stringify({ version: 7, changelog: "another" });
    for (const body of [text, "nonsense"]) {
      if (kind === "cursor") await writeFile(join(dir, "c.json"), body);
      else await store.put("consumers/c.json", new TextEncoder().encode(body), { kind: "always" });
      await expect(follow(store, options("c"))).rejects.toMatchObject({ code: "bad_cursor" });
    }
  });
});

describe("a consumer", () => {
  test("is one program's at a time", async () => {
    const { store } = await changelogOf(2);
    const changelog = await openChangelog(store);
    const one = changelog.follow({ since: "0", consumer: "shared" })[Symbol.asyncIterator]();
    await one.next();
    await follow(store, { since: "0", consumer: "shared" });
    await expect(one.next()).rejects.toMatchObject({ code: "consumer_taken" });
  });

  test("stands in the changelog root", async () => {
    const { store } = await changelogOf(2);
    await follow(store, { consumer: "etl" });
    const object_ = await store.get("consumers/etl.json");
    expect(JSON.parse(new TextDecoder().decode(object_?.body))).toEqual({ version: 2, changelog: "laid" });
    await expect(follow(store, { consumer: "../x" })).rejects.toMatchObject({ code: "bad_consumer" });
  });
});

test("a cursor file is whole at any moment", async () => {
  const { store } = await changelogOf(1);
  const path = join(dir, "whole.json");
  await follow(store, { cursor: path });
  expect(JSON.parse(await readFile(path, "utf8"))).toEqual({ version: 1, changelog: "laid" });
});

test("a cursor file that cannot be written is named", async () => {
  const { store } = await changelogOf(1);
  await expect(follow(store, { cursor: join(dir, "none/cursor.json") })).rejects.toMatchObject({
    code: "bad_cursor",
    message: expect.stringContaining("cannot be written"),
  });
});

describe("behind the log's retention", () => {
  test.each([
    ["the next entry is gone", (store: ObjectStore) => store.delete(commitKey(2))],
    [
      "a file that it names is gone",
      async (store: ObjectStore) => {
        for await (const { key } of store.list("data/")) if (key.includes("-f2.")) await store.delete(key);
      },
    ],
  ])("%s", async (_, lose) => {
    const { store, laid } = await changelogOf(3);
    await writeCheckpoint(store, laid.snapshot());
    await lose(store);
    await expect(follow(store, { since: "1" })).rejects.toMatchObject({
      code: "behind_retention",
      message: expect.stringContaining("version 1 is behind"),
      fix: expect.stringContaining("--from-snapshot"),
    });
    const changelog = await openChangelog(store);
    const read = async () => Array.fromAsync((await changelog.changesSince("1")).rows);
    await expect(read()).rejects.toMatchObject({ code: "behind_retention" });
  });

  test("a reader that slept while the log went on without it", async () => {
    const { store, laid } = await changelogOf(1);
    let nowMs = T0;
    const changelog = await openChangelog(store, {
      clock: {
        nowMs: () => nowMs,
        random: () => 0,
        uuid: () => "0",
        sleep: async () => {
          nowMs += 60_000;
          if (laid.snapshot().version > 1) return;
          await laid.commit([object("users", "u2", T0 + 2000)], T0 + 2000);
          await laid.commit([object("users", "u3", T0 + 3000)], T0 + 3000);
          await writeCheckpoint(store, laid.snapshot());
          await store.delete(commitKey(2));
        },
      },
    });
    const following = Array.fromAsync(changelog.follow({ since: "1" }));
    await expect(following).rejects.toMatchObject({ code: "behind_retention" });
  });
});
