/** A user is forgotten while the system runs: nothing of it is left, everything else is, and the log still adds up. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { openTargetStore, targetEnvironment } from "../../../cli/target.ts";
import { openChangelog } from "../../../reader/changelog.ts";
import type { Ended } from "../../support/varve.ts";
import { runVarve } from "../../support/varve.ts";
import type { RunningSystem } from "../../system/system.ts";
import { allRows, makeDataDir, post, settle, startSystem, verifySystem } from "../../system/system.ts";

const data = makeDataDir();
let system: RunningSystem;

beforeAll(async () => {
  system = await startSystem(data.dir, ["--flush", "500ms"]);
});
afterAll(async () => {
  await system.stop();
  data.remove();
});

const forget = (...args: string[]): Promise<Ended> =>
  runVarve(["forget", "--data", data.dir, "--json", ...args]);

async function sourceId(): Promise<string> {
  const [row] = await allRows(data.dir);
  return row?.source ?? "";
}

test("a user's items and rows go, another's stay, consumers are told, the sums hold", async () => {
  for (let round = 0; round < 4; round += 1) {
    const batch = ["gone", "kept"].flatMap((userId) => [
      {
        type: "identify",
        userId,
        anonymousId: `anon-${userId}`,
        traits: { name: `name of ${userId}`, round },
      },
      { type: "track", userId, event: "Bought", properties: { round } },
      { type: "page", anonymousId: `anon-${userId}`, name: "before login" },
      { type: "track", userId, properties: { rejected: "for want of a name" } },
    ]);
    const { status } = await post(system.running, "/v1/batch", { batch });
    expect(status).toBe(200);
    await settle(data.dir);
  }
  const before = await allRows(data.dir);
  const source = await sourceId();
  const args = ["--source", source, "--user", "gone", "--with-anonymous"];

  const dry = await forget(...args);
  expect(dry.code).toBe(0);
  expect(JSON.parse(dry.stdout)).toMatchObject({ done: false, items: { deleted: 0 }, anonymousIds: 1 });
  expect(await allRows(data.dir)).toHaveLength(before.length);

  const { code, stdout, stderr } = await forget(...args, "--yes", "--purge");
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const forgotten = JSON.parse(stdout) as { rows: { dropped: number }; items: { deleted: number } };
  expect(forgotten).toMatchObject({
    done: true,
    items: { left: 0 },
    rows: { left: 0 },
    deletesKept: 1,
    tableScanned: true,
  });
  // Four rounds of identify, track and page; the record; the rejected event, which is the same each time.
  expect(forgotten.items.deleted).toBe(4 * 3 + 2);

  const after = await allRows(data.dir);
  const mentions = after.filter((row) => JSON.stringify(row).includes("gone"));
  expect(mentions.map(({ op, image }) => ({ op, image }))).toEqual([{ op: "delete", image: null }]);
  const kept = (rows: typeof after) => rows.filter((row) => JSON.stringify(row).includes("kept")).length;
  expect(kept(after)).toBe(kept(before));
  expect((await verifySystem(data.dir)).problems).toEqual([]);

  const store = openTargetStore(targetEnvironment({}, data.dir));
  const { log, live } = await (await openChangelog(store)).snapshot();
  expect(log.expired.rows).toBe(0);
  expect(log.forgotten.rows).toBe(forgotten.rows.dropped);
  expect(log.committed.rows).toBe(live.rows + log.superseded.rows + log.forgotten.rows);
  const decoder = new TextDecoder();
  for await (const { key } of store.list("_delta_log/")) {
    const entry = decoder.decode((await store.get(key))?.body);
    if (entry.includes('"rewrite"')) expect(entry).not.toContain("gone");
  }
  store.close();
}, 120_000);

test("a second run finds nothing but the delete, which goes when asked", async () => {
  const source = await sourceId();
  const { stdout } = await forget("--source", source, "--user", "gone", "--yes", "--drop-deletes");
  expect(JSON.parse(stdout)).toMatchObject({ done: true, rows: { dropped: 1, left: 0 }, deletesKept: 0 });
  expect(JSON.stringify(await allRows(data.dir))).not.toContain("gone");
  expect((await verifySystem(data.dir)).problems).toEqual([]);
}, 60_000);

test("what is missing or wrong is said", async () => {
  expect((await forget("--source", "web")).stderr).toContain("needs --source and --user");
  expect((await forget("--source", "No!", "--user", "u")).stderr).toContain("not a source's id");
});
