import { expect, test } from "vitest";
import type { Rewrite } from "../../compactor/rewrite.ts";
import { commitRewrite, planRewrite } from "../../compactor/rewrite.ts";
import { putCommit } from "../../compactor/committer.ts";
import { planCommit, planCreate } from "../../compactor/plan.ts";
import { systemClock } from "../../shared/clock.ts";
import { loadSnapshot } from "../../shared/log.ts";
import type { DataFile, Snapshot } from "../../shared/snapshot.ts";
import type { ObjectStore } from "../../shared/store.ts";
import { change, logOf, row, seq, T0, uploaded } from "../fakes/changes.ts";
import { memoryStore } from "../fakes/store.ts";

const IDENTITY = { txnId: "t", nowMs: T0 + 100 };
const ADA = row({ id: "1", key: '{"pk":"e#shop#1"}', seq: seq(1) });
const BOB = row({ id: "2", key: '{"pk":"e#shop#2"}', seq: seq(2) });

function fileOf(snapshot: Snapshot, path: string): DataFile {
  const file = snapshot.files.get(path);
  if (file === undefined) throw new Error(`${path} is not live`);
  return file;
}

function written(): { readonly snapshot: Snapshot; readonly input: DataFile } {
  const file = uploaded(ADA, BOB);
  const snapshot = logOf(change({ files: [file] }));
  return { snapshot, input: fileOf(snapshot, file.path) };
}

const without = (input: DataFile): Rewrite => ({
  input,
  output: uploaded(BOB),
  dropped: uploaded(ADA).file.totals,
});

test("the rows that go are forgotten, those that stay are live, and no more are committed", () => {
  const { snapshot, input } = written();
  const plan = planRewrite(snapshot, [without(input)], IDENTITY);
  if (plan.kind === "stale") throw new Error(plan.why);
  const { next, commit } = plan;
  expect(next.live.rows).toBe(1);
  expect(next.log).toMatchObject({ committed: snapshot.log.committed, forgotten: { rows: 1 } });
  expect(next.log.changes).toBe(snapshot.log.changes);
  const touched = commit.actions.flatMap((action) =>
    "add" in action ? [action.add.dataChange] : "remove" in action ? [action.remove.dataChange] : [],
  );
  expect(touched).toEqual([false, false]);
});

test("a file of which nothing stays is taken out whole", () => {
  const { snapshot, input } = written();
  const plan = planRewrite(snapshot, [{ input, output: null, dropped: input.totals }], IDENTITY);
  if (plan.kind === "stale") throw new Error(plan.why);
  expect(plan.next.files.size).toBe(0);
  expect(plan.next.log.forgotten).toEqual(input.totals);
});

test("a file that was merged away meanwhile makes the plan stale", () => {
  const { snapshot, input } = written();
  expect(planRewrite({ ...snapshot, files: new Map() }, [without(input)], IDENTITY).kind).toBe("stale");
});

test("a row that is neither kept nor dropped stops it", () => {
  const { snapshot, input } = written();
  const dropped = uploaded(BOB).file.totals;
  expect(() => planRewrite(snapshot, [{ input, output: null, dropped }], IDENTITY)).toThrow("given up");
  expect(() => planRewrite(snapshot, [{ ...without(input), dropped }], IDENTITY)).toThrow("given up");
});

async function storedLog(): Promise<{ readonly store: ObjectStore; readonly input: DataFile }> {
  const store = memoryStore();
  const created = planCreate("table", { txnId: "t0", nowMs: T0 });
  const file = uploaded(ADA, BOB);
  const plan = planCommit(created.next, change({ files: [file] }), { txnId: "t1", nowMs: T0 + 1 });
  if (plan.kind === "stale") throw new Error(plan.why);
  for (const commit of [created.commit, plan.commit])
    await putCommit(store, commit, systemClock, systemClock.nowMs());
  return { store, input: fileOf(plan.next, file.path) };
}

test("a compactor that commits in between is followed", async () => {
  const { store, input } = await storedLog();
  let raced = false;
  const racing: ObjectStore = {
    ...store,
    put: async (key, body, condition, signal) => {
      if (!raced) {
        raced = true;
        const tip = await loadSnapshot(store);
        if (tip === null) throw new Error("no log");
        const other = planCommit(tip, change(), { txnId: "other", nowMs: T0 + 50 });
        if (other.kind === "commit") await putCommit(store, other.commit, systemClock, systemClock.nowMs());
      }
      return store.put(key, body, condition, signal);
    },
  };
  expect(await commitRewrite(racing, systemClock, [without(input)])).toBe("committed");
  const tip = await loadSnapshot(store);
  expect(tip).toMatchObject({ version: 3, live: { rows: 1 }, log: { forgotten: { rows: 1 } } });
});

test("an answer that is lost after the commit landed is not done twice", async () => {
  const { store, input } = await storedLog();
  let lost = false;
  const losing: ObjectStore = {
    ...store,
    put: async (key, body, condition, signal) => {
      const outcome = await store.put(key, body, condition, signal);
      if (lost) return outcome;
      lost = true;
      return { kind: "unknown", cause: new Error("the connection was lost") };
    },
  };
  expect(await commitRewrite(losing, systemClock, [without(input)])).toBe("committed");
  expect(await loadSnapshot(store)).toMatchObject({ version: 2, log: { forgotten: { rows: 1 } } });
  expect(await commitRewrite(store, systemClock, [without(input)])).toBe("stale");
});
