/** A changelog of a day, at each stage of its upkeep: real files and real commits, without a running system. */
import { expiredFiles, planExpire } from "../../compactor/levels.ts";
import { cleanLog } from "../../compactor/upkeep.ts";
import { vacuum } from "../../compactor/vacuum.ts";
import type { GivenRow, Laid } from "../../bench/laid.ts";
import { layDown } from "../../bench/laid.ts";
import { writeCheckpoint } from "../../shared/checkpoint.ts";
import { openDirectoryStore } from "../../shared/directory.ts";
import type { Level } from "../../shared/window.ts";
import { LEVEL_MS, windowStartMs } from "../../shared/window.ts";

const DAY_MS = LEVEL_MS[3];
const HOUR_MS = LEVEL_MS[2];
const MINUTE_MS = 60_000;
const OBJECTS = 40;

/** Calls `check` with the name of each stage once the changelog in `root` has come to it. */
export async function passStages(root: string, check: (stage: string) => Promise<void>): Promise<void> {
  const store = openDirectoryStore(root);
  const startMs = windowStartMs(3, Date.now() - 3 * DAY_MS);
  const laid = await layDown(store, startMs);
  const stage = async (name: string, levels: readonly Level[]): Promise<void> => {
    const found = new Set([...laid.snapshot().files.values()].map(({ level }) => level));
    if (!levels.every((level) => found.has(level)))
      throw new Error(`${name}: there are files of the levels ${[...found].join(", ")}`);
    await writeCheckpoint(store, laid.snapshot(), { forgetBeforeMs: 0 });
    await check(name);
  };
  try {
    await flush(laid, startMs, 4 * MINUTE_MS, MINUTE_MS);
    await stage("as flushed", [0]);
    await flush(laid, startMs + 4 * MINUTE_MS, 20 * MINUTE_MS, MINUTE_MS);
    await laid.merge();
    await stage("merged by five minutes", [1]);
    await flush(laid, startMs + 24 * MINUTE_MS, 2 * HOUR_MS, 8 * MINUTE_MS);
    await laid.merge();
    await stage("merged by the hour", [2]);
    await flush(laid, startMs + 24 * MINUTE_MS + 2 * HOUR_MS, DAY_MS, HOUR_MS);
    await laid.merge();
    await stage("merged by the day", [3]);
    await cleanLog(store, Date.now() + 1);
    await vacuum(store, laid.snapshot(), { removedBeforeMs: Infinity, orphanBeforeMs: 0, dryRun: false });
    await check("with old log entries and merged files gone");
    const expired = expiredFiles(laid.snapshot(), 2 * HOUR_MS);
    if (expired.length === 0) throw new Error("no file has expired");
    const plan = planExpire(laid.snapshot(), expired, identityOf(laid));
    if (plan.kind === "stale") throw new Error(plan.why);
    await laid.put(plan.commit, plan.next);
    await stage("with its first day expired", [0]);
  } finally {
    await laid.close();
  }
}

/** A commit every `everyMs`: an event, and changes of objects, some deleted and made again. */
async function flush(laid: Laid, fromMs: number, spanMs: number, everyMs: number): Promise<void> {
  for (let atMs = fromMs; atMs < fromMs + spanMs; atMs += everyMs) {
    const nth = laid.snapshot().version;
    const objects = Array.from({ length: 5 }, (_, index): GivenRow => {
      const id = `user-${(nth * 7 + index * 11) % OBJECTS}`;
      const op = (nth + index) % 9 === 0 ? "delete" : "update";
      return {
        changedMs: atMs + 1 + index,
        key: JSON.stringify({ pk: `o#shop#users#${id}` }),
        op,
        kind: "object",
        source: "shop",
        collection: "users",
        id,
        image: op === "delete" ? null : JSON.stringify({ nth, index, name: "Größe ✓" }),
      };
    });
    const key = JSON.stringify({ pk: `e#shop#m${nth}` });
    await laid.commit([...objects, { changedMs: atMs + 9, key, image: `{"n":${nth}}` }], atMs + everyMs);
  }
}

const identityOf = (laid: Laid) => ({
  txnId: `t${laid.snapshot().version + 1}`,
  nowMs: laid.snapshot().log.committedMs + 1,
});
