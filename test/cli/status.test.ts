/** How a system stands that has only just begun. */
import { expect, test } from "vitest";
import { statusCommand } from "../../cli/status.ts";
import { planCommit, planCreate } from "../../compactor/plan.ts";
import { encodeCommit } from "../../shared/delta.ts";
import { commitKey } from "../../shared/keys.ts";
import { T0, change, position } from "../fakes/changes.ts";
import { memoryStore } from "../fakes/store.ts";

async function statusOf(atMs: number, json: boolean, workerMs?: number): Promise<string> {
  const store = memoryStore(() => workerMs ?? T0);
  if (workerMs !== undefined) await store.put("workers/w1.json", new Uint8Array([1]), { kind: "always" });
  const created = planCreate("table", { txnId: "t0", nowMs: T0 });
  const positions = new Map([["s1", position({ at: atMs })]]);
  const plan = planCommit(created.next, change({ positions, discoveredMs: atMs }), {
    txnId: "t1",
    nowMs: T0 + 1,
  });
  if (plan.kind === "stale") throw new Error(plan.why);
  for (const commit of [created.commit, plan.commit]) {
    const entry = new TextEncoder().encode(encodeCommit(commit));
    await store.put(commitKey(commit.version), entry, { kind: "if-absent" });
  }
  const lines: string[] = [];
  const output = { line: async (text: string) => void lines.push(text), note: () => {}, progress: () => {} };
  await statusCommand(store, "s3://bucket", json, output, T0 + 5000);
  return lines.join("\n");
}

test("a shard that was not read yet is behind by no time", async () => {
  const text = await statusOf(0, false);
  expect(text).toContain("watermark  none yet");
  expect(text).toContain("shards     1 open, the furthest not read yet; 0 done");
  expect(JSON.parse(await statusOf(0, true))).toMatchObject({
    watermark: null,
    furthest_behind_seconds: null,
  });
});

test("no worker is alive: when the last one was", async () => {
  expect(await statusOf(T0, false)).toContain("workers    none alive: start `varve compactor`");
  const text = await statusOf(T0, false, T0 - 60_000);
  expect(text).toContain(
    `workers    none alive, the last was seen at ${new Date(T0 - 60_000).toISOString()}: start`,
  );
});

test("a changelog that is far behind says where to look", async () => {
  expect(await statusOf(T0 - 894_000, false)).toMatch(/watermark {2}\S+, 14 min 59 s behind$/m);
  expect(await statusOf(T0 - 8_100_000, false)).toMatch(
    /watermark {2}\S+, 2 h 15 min behind: docs\/alerts\.md, VarveWatermarkBehind$/m,
  );
});

test("one that was read is", async () => {
  expect(await statusOf(T0 + 1000, false)).toContain("1 open, the furthest 4.0 s behind; 0 done");
});
