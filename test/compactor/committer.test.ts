import { describe, expect, test } from "vitest";
import type { CommitOutcome } from "../../compactor/committer.ts";
import { putCommit } from "../../compactor/committer.ts";
import { planCreate } from "../../compactor/plan.ts";
import { encodeCommit } from "../../shared/delta.ts";
import { LAST_CHECKPOINT_KEY, commitKey } from "../../shared/keys.ts";
import { readCommit } from "../../shared/log.ts";
import type { ObjectStore } from "../../shared/store.ts";
import { T0 } from "../fakes/changes.ts";
import { virtualClock, virtualTime } from "../fakes/clock.ts";
import type { StoreFault } from "../fakes/store.ts";
import { faultyStore, memoryStore } from "../fakes/store.ts";

const commitOf = (txnId: string) => planCreate(txnId, { txnId, nowMs: T0 }).commit;
const MINE = commitOf("mine");
const THEIRS = commitOf("theirs");

type Case = {
  /** One a call of the store, in turn; then none. */
  readonly faults?: readonly (StoreFault | null)[];
  readonly standing?: boolean;
  readonly stopAfterMs?: number;
};

async function commit({ faults = [], standing = false, stopAfterMs }: Case) {
  const time = virtualTime(T0);
  const disk = memoryStore();
  if (standing) {
    await disk.put(commitKey(0), new TextEncoder().encode(encodeCommit(THEIRS)), { kind: "always" });
  }
  let calls = 0;
  const store: ObjectStore = faultyStore(disk, { next: () => faults[calls++] ?? null, sleep: time.sleep });
  const stop = new AbortController();
  if (stopAfterMs !== undefined) void time.sleep(stopAfterMs).then(() => stop.abort());
  let outcome: CommitOutcome | undefined;
  void putCommit(store, MINE, virtualClock(time), T0, stop.signal).then((settled) => (outcome = settled));
  await time.run(() => outcome !== undefined, 600_000);
  return { outcome, stands: (await readCommit(disk, 0))?.info.txnId, tookMs: time.nowMs() - T0 };
}

const LOST: StoreFault = { kind: "lost" };
const OUTAGE: readonly StoreFault[] = Array.from({ length: 100 }, () => LOST);

describe("a commit is", () => {
  test.each<[string, Case, CommitOutcome["kind"], string | undefined]>([
    ["committed when it is stored", {}, "committed", "mine"],
    [
      "committed when it was stored and the answer was lost",
      { faults: [{ kind: "unanswered" }] },
      "committed",
      "mine",
    ],
    ["committed when its own resend is refused", { faults: [{ kind: "resent" }] }, "committed", "mine"],
    ["committed when it was lost once", { faults: [LOST] }, "committed", "mine"],
    [
      "committed when it arrives late, before its second sending",
      { faults: [{ kind: "late", afterMs: 1 }] },
      "committed",
      "mine",
    ],
    [
      "committed when reading it back fails once",
      { faults: [{ kind: "unanswered" }, LOST] },
      "committed",
      "mine",
    ],
    ["conflicted when another stands there", { standing: true }, "conflicted", "theirs"],
    [
      "conflicted when another stands there and the answer was lost",
      { standing: true, faults: [LOST] },
      "conflicted",
      "theirs",
    ],
    ["unknown when the store does not answer", { faults: OUTAGE }, "unknown", undefined],
  ])("%s", async (_, some, kind, stands) => {
    const settled = await commit(some);
    expect(settled.outcome?.kind).toBe(kind);
    expect(settled.stands).toBe(stands);
  });

  test("given up when there is no more time", async () => {
    const settled = await commit({ faults: OUTAGE, stopAfterMs: 50 });
    expect(settled).toMatchObject({ outcome: { kind: "unknown" }, tookMs: 50 });
  });
});

test("a conflict names the entry that stands", async () => {
  const { outcome } = await commit({ standing: true });
  expect(outcome).toMatchObject({ kind: "conflicted", by: { info: { txnId: "theirs" } } });
});

describe("a writer that stood still for long", () => {
  const VERSION = 5;
  const next = { ...MINE, version: VERSION };

  /** @param entries that are in the log when its put arrives, beside which `checkpoint` is the last one. */
  async function late(entries: readonly number[], checkpoint: number | null) {
    const time = virtualTime(T0);
    const disk = memoryStore();
    const text = (some: string): Uint8Array => new TextEncoder().encode(some);
    for (const version of entries) {
      await disk.put(commitKey(version), text(encodeCommit(THEIRS)), { kind: "always" });
    }
    const last = JSON.stringify({ version: checkpoint, size: 1 });
    if (checkpoint !== null) await disk.put(LAST_CHECKPOINT_KEY, text(last), { kind: "always" });
    const tipReadMs = T0 - 600_000;
    const { kind } = await putCommit(disk, next, virtualClock(time), tipReadMs);
    return { kind, stands: (await readCommit(disk, VERSION))?.info.txnId };
  }

  test("commits when the log still ends there", async () => {
    expect(await late([3, 4], 3)).toEqual({ kind: "committed", stands: "mine" });
    expect(await late([3, 4], null)).toEqual({ kind: "committed", stands: "mine" });
  });

  test("takes back an entry that clean-up had deleted", async () => {
    expect(await late([30, 31], 30)).toEqual({ kind: "fenced", stands: undefined });
  });

  test("leaves its entry where others have built on it since", async () => {
    expect(await late([3, 4, 6, 7], 7)).toEqual({ kind: "committed", stands: "mine" });
  });
});
