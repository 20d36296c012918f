/** kill -9 of `varve sync --follow` at random moments, while commits come in: each change is there, once. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { TestPostgres } from "../../../bench/postgres.ts";
import { startPostgres } from "../../../bench/postgres.ts";
import type { World } from "./world.ts";
import { KINDS, makeWorld, object, track } from "./world.ts";

const CLI = join(import.meta.dirname, "../../../cli/main.ts");
const KILLS = 8;

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(async () => {
  await postgres.stop();
});

const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms);
  });

function startSync(kind: string, { target, changelog }: World, options: readonly string[]) {
  const child = spawn(process.execPath, [CLI, "sync", kind, target, "--json", ...options], {
    env: { ...process.env, VARVE_CHANGELOG: changelog },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [out, err] = ["", ""];
  child.stdout.on("data", (chunk: Buffer) => {
    out += chunk.toString();
  });
  child.stderr.on("data", (chunk: Buffer) => {
    err += chunk.toString();
  });
  const exited = once(child, "exit");
  return { child, exited, said: () => ({ out, err }) };
}

test.each(KINDS)(
  "%s",
  async (kind) => {
    const world = await makeWorld(kind, postgres);
    const events = new Map<string, number>();
    const objects = new Map<string, number>();
    const writing = new AbortController();
    const writer = (async () => {
      for (let at = 0; !writing.signal.aborted; at += 1) {
        const changes = Array.from({ length: 40 }, (_, index) => {
          const id = `${at}-${index}`;
          events.set(id, at);
          return track(id, `Event ${index % 3}`, { nth: at, mixed: index % 10 === 0 ? "text" : index });
        });
        const key = `u${at % 7}`;
        const gone = at % 5 === 4;
        if (gone) objects.delete(key);
        else objects.set(key, at);
        await world.log.commit([...changes, object("users", key, { nth: at }, gone ? "delete" : "update")]);
        await pause(40);
      }
    })();
    try {
      for (let kill = 0; kill < KILLS; kill += 1) {
        const { child, exited } = startSync(kind, world, ["--follow"]);
        await pause(300 + Math.random() * 3000);
        child.kill("SIGKILL");
        await exited;
      }
      writing.abort();
      await writer;
      const last = startSync(kind, world, []);
      const [code] = (await last.exited) as [number];
      expect({ code, ...last.said() }).toMatchObject({ code: 0, err: "" });
      expect(JSON.parse(last.said().out)).toMatchObject({ version: world.log.snapshot().version });

      const tracks = await world.query("SELECT count(*) AS n, count(DISTINCT id) AS ids FROM shop.tracks");
      expect(tracks).toEqual([{ n: events.size, ids: events.size }]);
      const own = await world.query(
        "SELECT count(*) AS n, count(DISTINCT id) AS ids, sum(nth) AS nth FROM (SELECT id, nth FROM shop.event_0 UNION ALL SELECT id, nth FROM shop.event_1 UNION ALL SELECT id, nth FROM shop.event_2) AS e",
      );
      const sum = [...events.values()].reduce((total, at) => total + at, 0);
      expect(own).toEqual([{ n: events.size, ids: events.size, nth: sum }]);
      const discards = await world.query(
        "SELECT count(*) AS n, count(DISTINCT id) AS ids FROM shop.discards",
      );
      expect(discards[0]?.["n"]).toBe(discards[0]?.["ids"]);
      const users = await world.query("SELECT id, nth FROM shop.users ORDER BY id");
      expect(users).toEqual(
        [...objects].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([id, nth]) => ({ id, nth })),
      );
    } finally {
      writing.abort();
      await writer.catch(() => undefined);
      await world.close();
    }
  },
  180_000,
);
